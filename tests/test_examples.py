"""The examples, each used as its text says."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xmlrpc.client import Fault, ServerProxy

import pytest

from support.examples import EXAMPLES, call, running
from support.serving import Serve, ask
from support.waiting import PATIENCE

Address = tuple[str, int] | str


def connected(address: Address) -> socket.socket:
    """A connection to an address, or to the path of a Unix socket."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(PATIENCE)
    client.connect(address)
    return client


def said(client: socket.socket, data: bytes) -> bytes:
    """What comes back for it."""
    client.sendall(data)
    return rest(client, len(data))


def rest(client: socket.socket, length: int) -> bytes:
    """So many bytes, or all until the end."""
    found = b""
    while len(found) < length and (piece := client.recv(length - len(found))):
        found += piece
    return found


# all of them


def test_every_example_is_in_the_table() -> None:
    """examples/README.md names each, and how it is started; each says itself how it is run."""
    table = (EXAMPLES / "README.md").read_text()
    own = {"README.md", "mypy.ini"}
    names = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__"))} - own
    assert names == set(re.findall(r"^\| \[([\w.]+)\]", table, re.MULTILINE))
    for link in re.findall(r"\]\(([^)]+)\)", table):
        assert (EXAMPLES / link).exists(), link
    for program in EXAMPLES.rglob("*.py"):
        text = program.read_text()
        assert re.match(r'""".+\n\n(?s:.)*?    (?:\$ )?(?:python|cd|stdserve) ', text), program


PROGRAMS = ["echo/echo.py", "selectors_server.py", "tasks_echo.py", "xmlrpc_service.py", "find_robots.py"]
#: Those that listen, with what they need besides an address.
LISTENING = [("echo/echo.py", "serial"), ("selectors_server.py",), ("tasks_echo.py",), ("xmlrpc_service.py",)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_wrong_usage_is_told(name: str) -> None:
    """By an example's own words, with exit code 2."""
    done = call(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    done = call(name, "--no-such-option")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


@pytest.mark.parametrize("program", LISTENING, ids=lambda program: program[0])
def test_an_address_that_cannot_be_had_is_told(program: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = call(*program, "--bind", address)
    assert done.returncode == 1
    assert re.fullmatch(rf"cannot listen on {address}: .*Address already in use.*\n", done.stderr)
    done = call(*program, "--bind", "127.0.0.1:99999")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    done = call(*program, "--bind", "7000")
    assert done.returncode == 2
    assert "7000 is no HOST:PORT" in done.stderr


# examples/echo/echo.py


@pytest.mark.parametrize("model", ["serial", "threads", "pool", "forks"])
def test_echo(model: str) -> None:
    """examples/echo/echo.py: a second connection is answered, after the first or beside it."""
    with running("echo/echo.py", model, "--bind", "127.0.0.1:0") as example:
        with connected(example.address) as first, connected(example.address) as second:
            assert said(first, b"hello\n") == b"hello\n"
            second.sendall(b"me too\n")
            if model == "serial":
                first.close()
            assert rest(second, 7) == b"me too\n"
            if model != "serial":
                assert said(first, b"again\n") == b"again\n"
            # Ctrl-C while clients are connected.
            assert example.interrupt().endswith("ended\n")


def test_echo_in_a_pool_of_four() -> None:
    """examples/echo/echo.py: the fifth connection is answered when one of four has ended."""
    with running("echo/echo.py", "pool", "--bind", "127.0.0.1:0") as example, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(example.address)) for _ in range(5)]
        for number, client in enumerate(clients[:4]):
            assert said(client, b"%d\n" % number) == b"%d\n" % number
        clients[4].sendall(b"5\n")
        clients[2].close()
        assert rest(clients[4], 2) == b"5\n"


def test_echo_of_datagrams() -> None:
    """examples/echo/echo.py"""
    with running("echo/echo.py", "udp", "--bind", "127.0.0.1:0") as example:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            for word in (b"hello", b"", b"x" * 8000):
                client.sendto(word, example.address)
                assert client.recvfrom(9000) == (word, example.address)


def test_echo_at_a_unix_socket(short_path: Path) -> None:
    """examples/echo/echo.py: the socket is gone with the server, so that it can be started again."""
    path = short_path / "echo"
    for _ in range(2):
        with running("echo/echo.py", "unix", "--bind", str(path)) as example:
            example.log.wait(f"listening at {path}; try: nc -U {path}")
            with connected(str(path)) as client:
                assert said(client, b"hello\n") == b"hello\n"
        assert not path.exists()


@pytest.mark.parametrize("model", ["serial", "udp", "unix"])
def test_talk(model: str, short_path: Path) -> None:
    """examples/echo/talk.py, with a server, and without."""
    address = str(short_path / "echo") if model == "unix" else "127.0.0.1:0"
    options = ["--udp"] if model == "udp" else []
    with running("echo/echo.py", model, "--bind", address) as example:
        if model == "unix":
            example.log.wait("listening at ")
        else:
            address = "{}:{}".format(*example.address)
        done = call("echo/talk.py", address, *options, typed="one\ntwo\n")
        assert (done.stdout, done.returncode) == ("one\ntwo\n", 0), done.stderr
    done = call("echo/talk.py", address, *options, typed="one\n")
    assert (done.stdout, done.returncode, done.stderr.count("\n")) == ("", 1, 1)
    assert done.stderr.startswith(f"{address}: ")


@pytest.mark.parametrize("handlers", ["threads", "forks"])
def test_echo_under_the_command(serve: Serve, handlers: str) -> None:
    """examples/echo/echo.py, by stdserve tcp and udp."""
    server = serve("echo:Echo", "tcp", cwd=EXAMPLES / "echo", handlers=handlers)
    with connected(server.address) as first, connected(server.address) as second:
        assert said(second, b"one\n") == b"one\n"
        assert said(first, b"two\n") == b"two\n"
    server = serve("echo:EchoDatagram", "udp", cwd=EXAMPLES / "echo", handlers=handlers)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"hello", server.address)
        assert client.recv(100) == b"hello"


# examples/selectors_server.py


def test_selectors_server() -> None:
    """examples/selectors_server.py: neither a client that does not read nor one that resets is in the way."""
    with running("selectors_server.py", "--bind", "127.0.0.1:0") as example:
        with connected(example.address) as slow, connected(example.address) as quick:
            # Until the server takes no more, since its answers are not read.
            slow.setblocking(False)
            data = os.urandom(1 << 16)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while sent < 1 << 30:
                    sent += slow.send(data[sent % len(data) :])
            assert sent < 1 << 30
            assert said(quick, b"hello") == b"hello"
            slow.settimeout(PATIENCE)
            expected = data * (sent // len(data) + 1)
            assert rest(slow, sent) == expected[:sent]

            lost = connected(example.address)
            assert said(lost, b"x") == b"x"
            lost.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer = "{}:{}".format(*lost.getsockname())
            lost.close()
            example.log.wait(rf"^{peer} is lost: ")
            assert said(quick, b"still there") == b"still there"
            peer = "{}:{}".format(*quick.getsockname())
        example.log.wait(rf"^{peer} has connected$")
        example.log.wait(rf"^{peer} has ended$")


def test_a_listener_rests_when_no_descriptors_are_left() -> None:
    """examples/selectors_server.py: it stayed ready, so that the server did nothing but fail to accept."""
    with running("selectors_server.py", "--bind", "127.0.0.1:0") as example:
        with connected(example.address) as first:
            assert said(first, b"hello") == b"hello"
            most = len(os.listdir(f"/proc/{example.process.pid}/fd"))
            resource.prlimit(example.process.pid, resource.RLIMIT_NOFILE, (most, most))
            with connected(example.address) as late:
                example.log.wait("could not be accepted: Too many open files")
                for _ in range(200):
                    assert said(first, b"hello") == b"hello"
                first.close()
                assert said(late, b"hello") == b"hello"
        assert example.interrupt().count("could not be accepted") < 100


# examples/tasks_echo.py


def test_tasks_echo() -> None:
    """examples/tasks_echo.py: connections and the page about them share a thread and its figures."""
    with running("tasks_echo.py", "--bind", "127.0.0.1:0", "--page", "127.0.0.1:0") as example:
        page = example.log.wait(r"the page is at http://([0-9.]+):([0-9]+)")
        with connected(example.address) as one, connected(example.address) as other:
            assert said(one, b"hello") == b"hello"
            assert said(other, b"and more") == b"and more"
            with connected((page[1], int(page[2]))) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert b"2 connections, 13 bytes in " in rest(client, 1 << 16)
        assert example.interrupt().endswith("ended\n")


# examples/xmlrpc_service.py


def use_store(url: str) -> None:
    """Call all that there is, from several clients at once."""
    with ServerProxy(url, allow_none=True) as store:
        value = [1, 2.5, {"eggs": True}, "\u20ac", None]
        store.set("spam", value)
        assert store.get("spam") == value
        assert store.names() == ["spam"]
        assert store.delete("spam") is True
        assert store.delete("spam") is False
        with pytest.raises(Fault) as caught:
            store.get("spam")
        assert (caught.value.faultCode, caught.value.faultString) == (404, "nothing is kept under 'spam'")
        methods = store.system.listMethods()
        assert isinstance(methods, list)
        assert {"get", "set", "delete", "add", "names"} <= set(methods)
        assert "value of a name" in str(store.system.methodHelp("get"))

        def count(_: int) -> list[object]:
            with ServerProxy(url) as client:
                return [client.add("count", 1) for _ in range(20)]

        with ThreadPoolExecutor(5) as pool:
            sums = {one for counted in pool.map(count, range(5)) for one in counted}
            assert sums == set(range(1, 101))


def test_xmlrpc_service() -> None:
    """examples/xmlrpc_service.py, with the standard library's client."""
    with running("xmlrpc_service.py", "--bind", "127.0.0.1:0") as example:
        use_store("http://{}:{}".format(*example.address))
        assert '"POST /RPC2 HTTP/1.1" 200' in example.interrupt()


def test_xmlrpc_service_under_the_command(serve: Serve) -> None:
    """examples/xmlrpc_service.py, by stdserve rpc."""
    server = serve("xmlrpc_service:Store()", "rpc", cwd=EXAMPLES)
    use_store(server.url)
    body = b'{"jsonrpc": "2.0", "method": "add", "params": ["count", 5], "id": 1}'
    assert '"result":105' in ask(server, "/", "POST", body, Content_Type="application/json").text
    assert "The value of a name" in ask(server, "/").text


# examples/git


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git(serve: Serve, tmp_path: Path) -> None:
    """examples/git: made by new-repository, served by stdserve up; cloned, pushed, cloned again."""
    repositories = tmp_path / "repositories"
    (tmp_path / ".gitconfig").write_text("[user]\nname=t\nemail=t@t\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_PROJECT_ROOT": str(repositories),
    }

    def run(*command: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    new = EXAMPLES / "git/new-repository"
    assert f"made {repositories}/hello.git; " in run(new, "hello")
    run(new, "hello", code=1)
    for wrong in ([], ["a", "b"], ["../a"], [".a"], [""]):
        run(new, *wrong, code=2)

    server = serve(None, "up", cwd=EXAMPLES / "git", env=environment)
    url = f"{server.url}/git/hello.git"
    run("git", "clone", "--quiet", url, "one")
    (tmp_path / "one/file").write_bytes(os.urandom(3_000_000))
    run("git", "-C", "one", "add", "file")
    run("git", "-C", "one", "commit", "--quiet", "--message", "A file")
    run("git", "-C", "one", "push", "--quiet", "origin", "HEAD:main")
    run("git", "clone", "--quiet", url, "two")
    assert (tmp_path / "two/file").read_bytes() == (tmp_path / "one/file").read_bytes()
    run("git", "clone", "--quiet", f"{server.url}/git/nothing.git", code=128)


# examples/static_site


@pytest.mark.parametrize("by_file", [True, False])
def test_static_site(serve: Serve, by_file: bool) -> None:
    """examples/static_site: the page from the application, its files from the server; by either command."""
    folder = EXAMPLES / "static_site"
    server = (
        serve(None, "up", cwd=folder) if by_file else serve("app:app", cwd=folder, static="/static=public")
    )
    page = ask(server, "/")
    assert page.status == 200
    for link in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        response = ask(server, link)
        assert response.body == (folder / "public" / Path(link).name).read_bytes()
        tag = response.get("ETag")
        assert tag is not None
        assert ask(server, link, If_None_Match=tag).status == 304

    form = b"line=%3Cb%3E+%26+I"
    signed = ask(server, "/", "POST", form, Content_Type="application/x-www-form-urlencoded")
    assert (signed.status, signed.get("Location")) == (303, "/")
    assert "<li>&lt;b&gt; &amp; I</li>\n<li>The server was started.</li>" in ask(server, "/").text
    assert ask(server, "/", "POST", b"line=" + b"x" * 5000).status == 413
    assert ask(server, "/", "PUT", b"x").status == 405
    for target in ("/nothing", "/static/nothing", "/static/app.py"):
        assert ask(server, target).status == 404


# examples/find_robots.py


def test_find_robots(tmp_path: Path) -> None:
    """examples/find_robots.py: the same hosts as by a loop over all lines, of which Python sees a few."""
    logs = tmp_path / "logs"
    first = call("find_robots.py", "--sample", str(logs))
    expected, mentions = set(), 0
    for log in logs.iterdir():
        for line in gzip.decompress(log.read_bytes()).decode().splitlines():
            mentions += "/robots.txt" in line
            fields = line.split()
            if fields[6] == "/robots.txt":
                expected.add(fields[0])
    assert 5 < len(expected) < mentions < 100
    assert first.stdout.splitlines() == sorted(expected)
    assert first.stderr == f"{len(expected)} hosts; {mentions} lines of 3 files mention /robots.txt\n"

    # A plain log of today beside them, with a query, a host by name, and rubbish.
    (logs / "access.log").write_text(
        'host.example - - [21/Nov/2026:13:00:00 +0000] "GET /robots.txt?x HTTP/1.1" 200 1\n/robots.txt\n'
    )
    assert call("find_robots.py", str(logs)).stdout.splitlines() == sorted([*expected, "host.example"])

    (logs / "access.log.4.gz").write_bytes((logs / "access.log.3.gz").read_bytes()[:-5])
    done = call("find_robots.py", str(logs))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"error: {logs}/access.log.4.gz: gzip data cut off at byte \d+\n", done.stderr)

    done = call("find_robots.py", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stderr.startswith("no files access.log* in ")) == (1, True)
