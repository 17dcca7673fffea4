"""`stdserve up`: several services from one file, with workers of their own or shared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.serving import APPS, PANIC, Serve, Served, clean_environment, command
from support.waiting import until
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
    return at


def run(at: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in that folder, up to its own end."""
    ended = subprocess.run(
        [*command(), "up", *arguments],
        env=clean_environment(),
        cwd=at,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not PANIC.search(ended.stderr), ended.stderr
    return ended


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
    assert "http+unix" in server.log.text or "local.sock" in server.log.text
    assert server.stop() == 0


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
    assert "broken_import" in server.log.text


def test_check_config_loads_every_service(short_path: Path) -> None:
    """And says of each that it can be served."""
    ended = run(folder(short_path, APART), "--check-config")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "shapes:app can be served",
        "public can be served",
        "shapes:app can be served",
    ]
    ended = run(folder(short_path, APART.replace('files = "public"', 'files = "missing"')), "--check-config")
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
    ended = run(folder(short_path, text))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(message), ended.stderr


def test_print_config_can_be_used_as_the_file(short_path: Path) -> None:
    """What it prints says the same again."""
    first = run(folder(short_path, APART), "--print-config")
    second = run(folder(short_path, first.stdout), "--print-config")
    assert (first.returncode, second.returncode) == (0, 0)

    def values(text: str) -> list[str]:
        return [line.split("  # ")[0].rstrip() for line in text.splitlines() if not line.startswith("#")]

    assert values(first.stdout) == values(second.stdout)
    assert "[services.static]" in values(first.stdout)


def test_the_applications_are_found_as_ever() -> None:
    """A file in another folder names modules of the folder where the command is started."""
    ended = subprocess.run(
        [*command(), "up", "--check-config", "--config", "/dev/stdin"],
        env=clean_environment(),
        cwd=APPS,
        input='[services.a]\napp = "shapes:app"\n',
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, "shapes:app can be served\n")
