"""`stdserve up`: several services from one file, with workers of their own or shared."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path

import pytest

from support.serving import Serve, Served, run_command
from support.waiting import PATIENCE, until
from support.wire import Client, Response

#: Applications and folders, each on a listener of its own.
APART = """
workers = 1
threads = 2

[services.shop]
app = "shapes:app"
bind = "shop=127.0.0.1:0"

[services.static]
files = "public"
bind = "static=127.0.0.1:0"
workers = 2

[services.local]
app = "shapes:app"
bind = "unix:local.sock"
"""

#: Services on one listener, told apart by path and host.
TOGETHER = """
bind = "127.0.0.1:0"
workers = 1

[services.shop]
app = "shapes:app"
static = { "/media" = "public" }

[services.static]
files = "public"
mount = ["/static", "/deep/er"]
header = { X-Service = "static" }

[services.admin]
app = "seen:app"
host = ["admin.example", "localhost.example"]
mount = "/admin"

[services.pages]
files = "public"
host = "admin.example"
header = { X-Service = "pages" }

[services.stock]
rpc = "calls:Shop()"
mount = "/stock"
"""

#: One of each kind, under one supervisor; TCP and UDP may have the same port.
EVERY_KIND = """
workers = 1

[services.web]
app = "shapes:app"
bind = "web=127.0.0.1:0"

[services.echo]
tcp = "handlers:Echo"
bind = "unix:echo.sock"

[services.forked]
tcp = "handlers:Echo"
handlers = "forks"
bind = "unix:forked.sock"

[services.upper]
udp = "handlers:Upper"
bind = "unixgram:upper.sock"

[services.scripts]
cgi = "scripts"
bind = "scripts=127.0.0.1:0"
"""

Start = Callable[..., Served]


@pytest.fixture
def up(serve: Serve, short_path: Path) -> Start:
    """Start `stdserve up` in a folder with this file, and with something to serve."""

    def start(text: str, *arguments: str, env: dict[str, str] | None = None) -> Served:
        folder(short_path, text)
        return serve(None, "up", *arguments, bind=None, cwd=short_path, env=env, workers=None)

    return start


def folder(at: Path, text: str) -> Path:
    """A folder with the file, and with something to serve."""
    (at / "stdserve.toml").write_text(text)
    (at / "public").mkdir(exist_ok=True)
    (at / "public" / "name.txt").write_text("from a file")
    (at / "scripts").mkdir(exist_ok=True)
    script = at / "scripts" / "hello"
    script.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfrom a script'\n")
    script.chmod(0o755)
    return at


def port(server: Served, group: str) -> int:
    """Where a worker group listens, by the start-up lines."""
    lines = rf"^{re.escape(group)}\n  Address +http://127\.0\.0\.1:(\d+)$"
    return int(server.log.wait(lines)[1])


def ask(server: Served, group: str, target: str, host: str = "localhost") -> Response:
    """One request to a worker group."""
    with Client(("127.0.0.1", port(server, group))) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return client.read()


def test_services_with_listeners_of_their_own_have_workers_of_their_own(up: Start) -> None:
    """Four workers for three services; each answers what is its own."""
    server = up(APART)
    assert ask(server, "shop", "/hello").text == "hello "
    assert ask(server, "static", "/name.txt").text == "from a file"
    assert ask(server, "shop", "/name.txt").status == 404
    assert len(server.wait_workers(4)) == 4
    server.log.wait("http\\+unix|local.sock")
    assert server.stop() == 0


def test_services_on_one_listener_are_told_apart_by_path_and_host(up: Start) -> None:
    """The host before any host, the longer path first; the rest is for the service without a mount."""
    server = up(TOGETHER)
    group = "shop+static+admin+pages+stock"
    address = server.address

    def ask_for(target: str, host: str) -> Response:
        with Client(address) as client:
            client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return client.read()

    assert ask_for("/hello", "any.example").text == "hello "
    for target in ("/static/name.txt", "/deep/er/name.txt", "/deep/%65r/name.txt"):
        response = ask_for(target, "any.example")
        assert (response.text, response.all("x-service")) == ("from a file", ["static"])
    response = ask_for("/deep/%65r?q", "any.example")
    assert (response.status, response.all("location")) == (301, ["/deep/%65r/?q"])
    assert ask_for("/media/name.txt", "any.example").text == "from a file"
    # Beneath means beneath: neither what only begins alike nor what leads out again.
    assert ask_for("/statics/name.txt", "any.example").status == 404
    assert ask_for("/name.txt", "any.example").status == 404
    assert ask_for("/static/../public/name.txt", "any.example").status in (400, 404)
    for host in ("admin.example", "ADMIN.example:8000"):
        response = ask_for("/name.txt", host)
        assert (response.text, response.all("x-service")) == ("from a file", ["pages"])
        # The host is the stronger word: the folder for any host is not asked.
        assert ask_for("/static/name.txt", host).status == 404
    assert len(server.wait_workers(1)) == 1
    assert group not in server.log.text  # a group alone needs no heading


def test_a_mounted_application_finds_its_mount_in_script_name(up: Start) -> None:
    """As PEP 3333 has it: SCRIPT_NAME and PATH_INFO make the path together."""
    server = up(TOGETHER)
    with server.client() as client:
        client.send(b"GET /admin/a%20b?q HTTP/1.1\r\nHost: localhost.example\r\n\r\n")
        seen = json.loads(client.read().body)["environ"]
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/admin", "/a b", "q")


def test_every_kind_under_one_supervisor(up: Start, short_path: Path) -> None:
    """HTTP, connections and datagrams, with and without Python, each with a worker of its own."""
    server = up(EVERY_KIND)
    assert ask(server, "web", "/hello").text == "hello "
    assert ask(server, "scripts", "/hello").text == "from a script"
    for name in ("echo", "forked"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(short_path / f"{name}.sock"))
            client.sendall(b"hello\n")
            assert client.recv(100) == b"HELLO\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind(str(short_path / "client.sock"))
        client.sendto(b"hello", str(short_path / "upper.sock"))
        assert client.recv(100) == b"HELLO"
    assert len(server.wait_workers(5)) == 5
    assert server.stop() == 0


def test_remote_calls_stand_beneath_a_mount(up: Start) -> None:
    """Their paths are those behind it."""
    server = up(TOGETHER)
    with xmlrpc.client.ServerProxy(f"{server.url}/stock/RPC2") as stock:
        assert stock.add(2, 3) == 5
    with (
        xmlrpc.client.ServerProxy(f"{server.url}/RPC2") as elsewhere,
        pytest.raises(xmlrpc.client.ProtocolError),
    ):
        elsewhere.add(2, 3)


def test_a_worker_that_dies_does_not_disturb_the_other_services(up: Start) -> None:
    """It is replaced, and the other groups keep theirs."""
    server = up(APART)
    port(server, "shop")
    before = set(server.wait_workers(4))
    victim = int(ask(server, "shop", "/process").text)
    assert victim in before
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in server.workers() and len(server.workers()) == 4, "a new worker")
    assert before - {victim} <= set(server.workers())
    assert ask(server, "static", "/name.txt").status == 200
    until(lambda: ask(server, "shop", "/hello").status == 200, "the service again")


def test_only_some_of_them(up: Start) -> None:
    """`--only` starts these alone."""
    server = up(APART, "--only", "static")
    assert server.get("/name.txt").text == "from a file"
    assert len(server.wait_workers(2)) == 2
    assert "shapes:app" not in server.log.text


def test_what_is_said_to_all_comes_from_the_command_line_too(up: Start) -> None:
    """The access log is the server's; a service's table counts before the environment."""
    server = up(APART, "--access-logfile=-", env={"STDSERVE_WORKERS": "3"})
    assert ask(server, "shop", "/hello?n=logged").status == 200
    server.log.wait(r'"GET /hello\?n=logged HTTP/1.1" 200')
    assert len(server.wait_workers(8)) == 8


def test_an_application_that_cannot_be_loaded_ends_all(up: Start) -> None:
    """Exit code 4, as for one application alone."""
    server = up(APART.replace("shapes:app", "broken_import", 1))
    assert server.wait_exit() == 4
    assert "broken_import" in server.log.wait_end()


def test_check_config_loads_every_service(short_path: Path) -> None:
    """And says of each that it can be served."""
    ended = run_command("up", "--check-config", cwd=folder(short_path, APART))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "shapes:app can be served",
        "public can be served",
        "shapes:app can be served",
    ]
    ended = run_command(
        "up", "--check-config", cwd=folder(short_path, APART.replace('files = "public"', 'files = "missing"'))
    )
    assert ended.returncode == 2
    assert "missing" in ended.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[services.a]\napp = "shapes:app"\n[services.b]\nfiles = "public"\n',
            "error: stdserve.toml:3: services.b: `b` and `a` both answer /\n  Give one of them a mount",
        ),
        (
            '[services.a]\napp = "shapes:app"\n[services.b]\ntcp = "x:H"\n',
            "error: stdserve.toml:3: services.b: `b` shares tcp://127.0.0.1:8000 with `a`, but a tcp service",
        ),
        (
            '[services.a]\napp = "shapes:app"\ncolor = "never"\n',
            "error: stdserve.toml:3: services.a.color: is an option of the server as a whole\n  Write it",
        ),
        ("workers = 2\n", "error: stdserve.toml has no services\n"),
    ],
)
def test_what_cannot_stand_together_is_refused(text: str, message: str, short_path: Path) -> None:
    """With the file, the line, the key and what to do; exit code 2."""
    ended = run_command("up", cwd=folder(short_path, text))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(message), ended.stderr


def test_print_config_can_be_used_as_the_file(short_path: Path) -> None:
    """What it prints says the same again."""
    first = run_command("up", "--print-config", cwd=folder(short_path, APART))
    second = run_command("up", "--print-config", cwd=folder(short_path, first.stdout))
    assert (first.returncode, second.returncode) == (0, 0)

    def values(text: str) -> list[str]:
        return [line.split("  # ")[0].rstrip() for line in text.splitlines() if not line.startswith("#")]

    assert values(first.stdout) == values(second.stdout)
    assert "[services.static]" in values(first.stdout)


def test_the_applications_are_found_as_ever() -> None:
    """A file in another folder names modules of the folder where the command is started."""
    settings = '[services.a]\napp = "shapes:app"\n'
    ended = run_command("up", "--check-config", "--config", "/dev/stdin", stdin=settings)
    assert (ended.returncode, ended.stdout) == (0, "shapes:app can be served\n")
