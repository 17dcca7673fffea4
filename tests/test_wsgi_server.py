"""stdserve.Server: a server in the calling process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import stdserve

from support.waiting import until
from support.wire import Client


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Says which thread it runs on."""
    start_response("200 OK", [])
    return [threading.current_thread().name.encode()]


def test_context_manager_starts_and_stops() -> None:
    """On a port of the kernel's choice."""
    with stdserve.Server(hello, bind="127.0.0.1:0") as server:
        assert isinstance(server.address, tuple)
        host, port = server.address
        assert (host, server.url) == ("127.0.0.1", f"http://127.0.0.1:{port}")
        assert server.addresses == [server.address]
        with Client(server.address) as client:
            assert client.ask().body.startswith(b"stdserve-crew")
        assert "serving" in repr(server)
    assert "stopped" in repr(server)
    with pytest.raises(ConnectionRefusedError):
        Client(server.address)


def test_it_listens_before_it_serves() -> None:
    """Connections wait; start() serves them."""
    server = stdserve.Server(hello, bind="127.0.0.1:0")
    with Client(server.address) as client:
        assert not client.readable(0.05)
        server.start()
        assert client.ask().status == 200
    server.stop()


def test_states() -> None:
    """start() once; stop() as often as one likes; turn() only without start()."""
    server = stdserve.Server(hello, bind="127.0.0.1:0")
    server.start()
    with pytest.raises(RuntimeError, match="already"):
        server.start()
    with pytest.raises(RuntimeError, match="started"):
        server.turn(0)
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        server.start()
    assert server.turn(0) is False


def test_turn_runs_the_application_on_the_calling_thread() -> None:
    """A server without threads of its own."""
    server = stdserve.Server(hello, bind="127.0.0.1:0")
    answers: list[bytes] = []

    def ask() -> None:
        with Client(server.address) as client:
            answers.extend(client.ask().body for _ in range(3))

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        assert server.turn(0.05)
    assert answers == [threading.current_thread().name.encode()] * 3
    server.stop()


def test_stop_lets_requests_finish() -> None:
    """What runs is answered."""
    entered, go_on = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.set()
        assert go_on.wait(20)
        start_response("200 OK", [])
        return [b"finished"]

    server = stdserve.Server(app, bind="127.0.0.1:0")
    server.start()
    answers: list[bytes] = []

    def ask() -> None:
        with Client(server.address) as client:
            answers.append(client.ask().body)

    asking = threading.Thread(target=ask)
    asking.start()
    assert entered.wait(20)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    go_on.set()
    stopping.join(20)
    asking.join(20)
    assert answers == [b"finished"]


def test_stop_does_not_wait_for_ever() -> None:
    """After its time-out what runs is left behind."""
    entered, go_on, left = threading.Event(), threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        entered.set()
        go_on.wait()
        left.set()
        return []

    server = stdserve.Server(app, bind="127.0.0.1:0")
    server.start()
    with Client(server.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert entered.wait(20)
        server.stop(timeout=0.2)
        assert not left.is_set()
    go_on.set()
    assert left.wait(20)


def test_options_are_those_of_the_table() -> None:
    """With their checks."""
    with pytest.raises(ValueError, match="threads"):
        stdserve.Server(hello, threads=0)
    with pytest.raises(ValueError, match=r"^bnd=: .*\n.*bind"):
        stdserve.Server(hello, bnd="127.0.0.1:0")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="workers"):
        stdserve.Server(hello, workers=2)  # type: ignore[call-arg]
    with (
        stdserve.Server(hello, bind="127.0.0.1:0", max_body="1KiB") as server,
        Client(server.address) as client,
    ):
        assert client.ask("/", "POST", body=b"x" * 1025).status == 413


def test_address_in_use() -> None:
    """Is an OSError that names it."""
    with stdserve.Server(hello, bind="127.0.0.1:0") as server:
        assert isinstance(server.address, tuple)
        host, port = server.address
        with pytest.raises(OSError, match=str(port)):
            stdserve.Server(hello, bind=f"{host}:{port}")


def test_several_servers_in_one_process() -> None:
    """Nothing assumes that there is one."""
    servers = [stdserve.Server(hello, bind="127.0.0.1:0") for _ in range(3)]
    for server in servers:
        server.start()
    for server in servers:
        with Client(server.address) as client:
            assert client.ask().status == 200
    for server in servers:
        server.stop()


def test_a_server_that_is_let_go_ends() -> None:
    """Its port is free again."""
    server = stdserve.Server(hello, bind="127.0.0.1:0")
    server.start()
    address = server.address
    del server
    gc.collect()

    def refused() -> bool:
        try:
            Client(address).close()
        except OSError:
            return True
        return False

    until(refused, "its port is let go")


def test_unix_socket_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever made it."""
    monkeypatch.chdir(tmp_path)
    with stdserve.Server(hello, bind="unix:x.sock") as server:
        assert server.address == "x.sock"
        assert Path("x.sock").is_socket()
    assert not Path("x.sock").exists()


def test_one_thread_state_for_life() -> None:
    """threading.local lives as long as its thread, which threading knows."""
    local, seen = threading.local(), list[tuple[int, int, bool]]()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        local.count = getattr(local, "count", 0) + 1
        seen.append((threading.get_ident(), local.count, threading.current_thread().daemon))
        start_response("200 OK", [])
        return []

    with stdserve.Server(app, bind="127.0.0.1:0", threads=1) as server, Client(server.address) as client:
        for _ in range(5):
            client.ask()
    per_thread: dict[int, int] = {}
    for ident, count, daemon in seen:
        per_thread[ident] = per_thread.get(ident, 0) + 1
        assert (count, daemon) == (per_thread[ident], True)


def test_the_interpreter_ends_with_a_server_that_was_not_stopped() -> None:
    """No crash and no hang at exit."""
    code = (
        "import stdserve, urllib.request\n"
        "def app(e, s):\n    s('200 OK', [])\n    return [b'x']\n"
        "server = stdserve.Server(app, bind='127.0.0.1:0'); server.start()\n"
        "print(urllib.request.urlopen(server.url).read())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"b'x'\n", b"")


def test_run_is_for_the_main_thread() -> None:
    """It forks: a clear error elsewhere."""
    errors = []

    def elsewhere() -> None:
        try:
            stdserve.run(hello)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "main thread" in errors[0]


def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Fails."""
    raise ValueError("on purpose")


@pytest.mark.parametrize("turned", [False, True])
def test_the_logs_are_written_as_the_options_say(tmp_path: Path, turned: bool) -> None:
    """Whole when stop() has returned, in either way to serve."""
    access, errors = tmp_path / "access.log", tmp_path / "error.log"
    server = stdserve.Server(
        broken,
        bind="127.0.0.1:0",
        access_logfile=access,
        access_logformat='%(h)s "%(r)s" %(s)s',
        error_logfile=errors,
    )
    statuses: list[int] = []

    def ask() -> None:
        with Client(server.address) as client:
            statuses.append(client.ask("/x").status)

    asking = threading.Thread(target=ask)
    asking.start()
    if turned:
        while asking.is_alive():
            server.turn(0.05)
    else:
        server.start()
    asking.join()
    server.stop()
    assert statuses == [500]
    assert access.read_text() == '127.0.0.1 "GET /x HTTP/1.1" 500\n'
    assert "ValueError: on purpose" in errors.read_text()
    assert "GET /x" in errors.read_text()


def test_a_log_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    """And says which it is."""
    missing = tmp_path / "missing" / "access.log"
    with pytest.raises(OSError, match="access-logfile"):
        stdserve.Server(hello, bind="127.0.0.1:0", access_logfile=missing)
    with pytest.raises(OSError, match="error-logfile"):
        stdserve.Server(hello, bind="127.0.0.1:0", error_logfile=missing)
