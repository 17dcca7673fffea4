"""`stdserve cgi` from the outside: scripts in sh, Python and Perl, their processes, and git over HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.serving import Serve, ask
from support.waiting import until

#: Makes a script of the folder: name, text, mode.
Script = Callable[..., Path]

#: The head of an answer, in sh.
HEAD = "printf 'Content-Type: text/plain\\n\\n'"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for scripts, and a secret beside it."""
    folder = tmp_path / "cgi-bin"
    folder.mkdir()
    (tmp_path / "secret").write_text("SECRET")
    return folder


@pytest.fixture
def script(root: Path) -> Script:
    """Write a script of sh, or of another language with its own first line."""

    def write(name: str, text: str, mode: int = 0o755) -> Path:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
        path.chmod(mode)
        return path

    return write


def variables(text: str) -> dict[str, str]:
    """What env(1) prints."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_scripts_in_three_languages(serve: Serve, script: Script, root: Path) -> None:
    """Each says its own `#!` line, or has an interpreter by its extension."""
    script("a.cgi", f"{HEAD}; echo from sh: $PATH_INFO; cat")
    script(
        "b.py",
        "#! ignored\nimport os, sys\nprint('Status: 201 Made\\nContent-Type: text/plain\\n')\n"
        "print('from Python', os.environ['QUERY_STRING'], sys.stdin.read())",
        0o644,
    )
    if shutil.which("perl"):
        script("c.cgi", f'#!{shutil.which("perl")}\nprint "Content-Type: text/plain\\n\\nfrom Perl"')
    server = serve(None, "cgi", str(root), interpreter=f".py={sys.executable} -I")
    assert ask(server, "/a.cgi/more/info", "POST", b"body").text == "from sh: /more/info\nbody"
    response = ask(server, "/b.py?a=b", "POST", b"body")
    assert (response.status, response.reason, response.text) == (201, b"Made", "from Python a=b body\n")
    if shutil.which("perl"):
        assert ask(server, "/c.cgi").text == "from Perl"


def test_what_a_script_is_told(serve: Serve, script: Script, root: Path) -> None:
    """The variables of RFC 3875, those that the options name, and none of the server's own."""
    script("env", f"{HEAD}; exec env")
    server = serve(
        None,
        "cgi",
        str(root),
        cgi_env=["OWN=1", "B=c d"],
        cgi_pass_env="PASSED",
        env={"PASSED": "yes", "PRIVATE": "no", "HTTP_PROXY": "http://own:1"},
    )
    found = variables(ask(server, "/env/x?y", X_One="1").text)
    expected = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/env",
        "PATH_INFO": "/x",
        "PATH_TRANSLATED": f"{root}/x",
        "SCRIPT_FILENAME": f"{root}/env",
        "QUERY_STRING": "y",
        "SERVER_PORT": str(server.port),
        "HTTP_X_ONE": "1",
        "OWN": "1",
        "B": "c d",
        "PASSED": "yes",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert not {"PRIVATE", "HTTP_PROXY"} & set(found)


def test_cve_2016_1000111_no_proxy_from_a_request(serve: Serve, script: Script, root: Path) -> None:
    """httpoxy: a `Proxy` field never becomes HTTP_PROXY."""
    script("env", f"{HEAD}; exec env")
    text = ask(serve(None, "cgi", str(root)), "/env", Proxy="http://evil:1").text
    assert "evil" not in text
    assert not any("PROXY" in name.upper() for name in variables(text))


@pytest.mark.parametrize(
    "target",
    [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/.%00./secret",
        "/link",
        "/up/secret",
        "//../secret",
        "/a.cgi/../../secret",
        "/plain.py",
        "//plain.py",
        "/%2fplain.py",
        "/./plain.py/",
        "/.hidden",
    ],
)
def test_cve_2011_1015_neither_sources_nor_what_is_outside(
    serve: Serve, script: Script, root: Path, target: str
) -> None:
    """What is no script beneath the folder is refused, whatever its path looks like."""
    script("a.cgi", f"{HEAD}; echo fine")
    script("plain.py", "SECRET", 0o644)
    script(".hidden", f"{HEAD}; echo SECRET")
    (root / "link").symlink_to("../secret")
    (root / "up").symlink_to("..")
    response = ask(serve(None, "cgi", str(root)), target)
    assert response.status in (400, 403, 404)
    assert b"SECRET" not in response.body


def test_scripts_on_a_listener_with_others(serve: Serve, script: Script, root: Path) -> None:
    """With `stdserve up`: SCRIPT_NAME begins with the mount, and redirects lead back to it."""
    script("sub/index.cgi", f"{HEAD}; echo $SCRIPT_NAME,$PATH_INFO")
    script("go", "printf 'Location: /scripts/sub/\\n\\n'")
    script("away", "printf 'Location: /page.txt\\n\\n'")
    public = root.parent / "public"
    public.mkdir()
    (public / "page.txt").write_text("a page")
    toml = '[services.scripts]\ncgi = "cgi-bin"\nmount = "/scripts"\n[services.rest]\nfiles = "public"\n'
    (root.parent / "stdserve.toml").write_text(toml)
    server = serve(None, "up", cwd=root.parent)
    assert ask(server, "/scripts/sub/").text == "/scripts/sub/index.cgi,\n"
    assert ask(server, "/scripts/sub").get("Location") == "/scripts/sub/"
    assert ask(server, "/scripts").get("Location") == "/scripts/"
    assert ask(server, "/scripts/go").text == "/scripts/sub/index.cgi,\n"
    response = ask(server, "/scripts/away")
    assert (response.status, response.get("Location")) == (302, "/page.txt")
    assert ask(server, "/page.txt").text == "a page"


def test_what_goes_wrong_is_in_the_log(serve: Serve, script: Script, root: Path) -> None:
    """Standard error, an answer that is none, a script that takes too long."""
    script("noisy", f"echo 'something \033 odd' >&2; {HEAD}; exit 3")
    script("bad", "echo hello")
    script("slow", "sleep 60")
    server = serve(None, "cgi", str(root))
    assert ask(server, "/noisy").status == 200
    assert ask(server, "/bad").status == 502
    server.log.wait(r"cgi: /noisy: something \\u\{1b\} odd")
    server.log.wait("cgi: /noisy: it ended with code 3")
    server.log.wait('cgi: /bad: a line of its head is not "Name: value"')
    hurried = serve(None, "cgi", str(root), cgi_head_timeout="300ms")
    assert ask(hurried, "/slow").status == 504
    hurried.log.wait("cgi: /slow: it took too long to answer")


def test_no_more_processes_than_allowed(serve: Serve, script: Script, root: Path) -> None:
    """Past the bound a request waits, and is answered 503 at the end of its time."""
    script("hold", f"touch began; while [ ! -e go ]; do sleep 0.02; done; {HEAD}; echo held")
    server = serve(None, "cgi", str(root), cgi_processes=1, cgi_queue_timeout="100ms")
    with server.client() as first:
        first.send(b"GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
        until((root / "began").exists, "the script begins")
        response = ask(server, "/hold")
        assert (response.status, response.get("Retry-After")) == (503, "5")
        (root / "go").touch()
        assert first.read().text == "held\n"
    # Its place is free a moment after its answer.
    until(lambda: ask(server, "/hold").text == "held\n", "the next one is run")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_scripts_end_with_the_server(serve: Serve, script: Script, root: Path, stop: int) -> None:
    """With all that they have started, even those that ignore SIGTERM."""
    script("stuck", "trap '' TERM; sleep 1000 & echo $$ $! >new; mv new pids; wait; sleep 1000")
    server = serve(None, "cgi", str(root), graceful_timeout="300ms", cgi_grace="200ms")
    with server.client() as client:
        client.send(b"GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n")
        until((root / "pids").exists, "the script begins")
        pids = [int(pid) for pid in (root / "pids").read_text().split()]
        server.signal(stop)
        server.wait_exit()
        for pid in pids:
            until(partial(gone, pid), f"process {pid} ends")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_scripts_run_as_another_user(serve: Serve, script: Script, root: Path) -> None:
    """With its group, and bounded."""
    script("who", f"{HEAD}; id -u; id -g; ulimit -n; ulimit -v")
    for folder in [root, *root.parents]:
        if folder.stat().st_mode & 0o5 != 0o5:
            folder.chmod(0o755)
    server = serve(
        None,
        "cgi",
        str(root),
        cgi_user="12345",
        cgi_group="54321",
        cgi_rlimit_files=99,
        cgi_rlimit_memory="1GiB",
    )
    assert ask(server, "/who").text == "12345\n54321\n99\n1048576\n"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("buffered", [None, True])
def test_git_clones_fetches_and_pushes(
    serve: Serve, script: Script, root: Path, tmp_path: Path, buffered: bool | None
) -> None:
    """Through `git http-backend`, with packs that git sends in chunks."""
    script("git", f"export GIT_PROJECT_ROOT={tmp_path}/repos GIT_HTTP_EXPORT_ALL=1; exec git http-backend")
    server = serve(
        None, "cgi", str(root), cgi_env=f"HOME={tmp_path}", cgi_buffer_bodies=buffered, access_logfile="-"
    )
    (tmp_path / "repos").mkdir()
    (tmp_path / ".gitconfig").write_text(
        "[user]\nname=t\nemail=t@t\n[safe]\ndirectory=*\n[http]\npostBuffer=65536\n"
    )

    def git(folder: Path, *arguments: str) -> str:
        ended = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    git(tmp_path, "init", "--quiet", "--bare", "repos/a.git")
    git(tmp_path / "repos/a.git", "config", "http.receivepack", "true")
    one, two = tmp_path / "one", tmp_path / "two"
    git(tmp_path, "clone", "--quiet", f"{server.url}/git/a.git", str(one))
    for number in range(2):
        (one / "large").write_bytes(os.urandom(2_000_000))
        git(one, "add", "large")
        git(one, "commit", "--quiet", "--message", "more")
        git(one, "push", "--quiet", "origin", "HEAD:refs/heads/main")
        if number == 0:
            git(tmp_path, "clone", "--quiet", "--branch", "main", f"{server.url}/git/a.git", str(two))
        else:
            git(two, "pull", "--quiet", "origin", "main")
        assert (two / "large").read_bytes() == (one / "large").read_bytes()
    git(two, "fsck", "--strict")
    assert git(one, "rev-parse", "HEAD") == git(two, "rev-parse", "HEAD")
