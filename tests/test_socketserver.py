"""stdserve.socketserver: what it does beyond the standard library's (see also test_cpython_suites.py)."""

from __future__ import annotations

import contextlib
import contextvars
import errno
import inspect
import os
import socket
import socketserver as standard
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stdserve import socketserver

from support import proc
from support.waiting import PATIENCE, until

#: Longer than any test: what depends on it has not been woken.
NEVER = 3600.0


@contextlib.contextmanager
def serving(server: Any, poll_interval: float = NEVER) -> Iterator[Any]:
    """`serve_forever` in a thread on the plain path, ended by `shutdown`."""
    server.use_engine = False
    thread = threading.Thread(target=server.serve_forever, args=(poll_interval,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        server.server_close()


def handler(handle: Callable[[Any], object]) -> type[socketserver.StreamRequestHandler]:
    """A handler class of one function."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            handle(self)

    return Handler


def ask(address: Any) -> bytes:
    """What a server sends to a client that sends nothing."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        client.connect(address)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1000), b""))


class Inside:
    """Counts who is inside, and lets them go one by one."""

    def __init__(self) -> None:
        self.most = 0
        self.now = 0
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.lock = threading.Lock()

    def __call__(self, _: object) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.entered.release()
        assert self.leave.acquire(timeout=PATIENCE)
        with self.lock:
            self.now -= 1


@contextlib.contextmanager
def clients(address: Any, count: int) -> Iterator[None]:
    """Connections that wait to be closed by the server."""
    threads = [threading.Thread(target=ask, args=(address,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


STREAMS = ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"]
UNIX_STREAMS = ["UnixStreamServer", "ThreadingUnixStreamServer", "ForkingUnixStreamServer"]
UDP = ["UDPServer", "ThreadingUDPServer", "ForkingUDPServer"]
UNIX_DATAGRAMS = ["UnixDatagramServer", "ThreadingUnixDatagramServer", "ForkingUnixDatagramServer"]


@pytest.mark.parametrize("name", [*STREAMS, *UNIX_STREAMS])
def test_streams_are_served_by_every_kind_of_server(name: str, short_path: Path) -> None:
    address: Any = str(short_path / "socket") if name in UNIX_STREAMS else ("127.0.0.1", 0)
    kind = getattr(socketserver, name)
    with serving(kind(address, handler(lambda self: self.wfile.write(b"hello")))) as server:
        assert ask(server.server_address) == b"hello"


@pytest.mark.parametrize("name", [*UDP, *UNIX_DATAGRAMS])
def test_datagrams_are_served_by_every_kind_of_server(name: str, short_path: Path) -> None:
    class Upper(socketserver.DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.read().upper())

    is_unix = name in UNIX_DATAGRAMS
    address: Any = str(short_path / "socket") if is_unix else ("127.0.0.1", 0)
    with serving(getattr(socketserver, name)(address, Upper)) as server:
        with socket.socket(server.address_family, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.bind(str(short_path / "client") if is_unix else ("127.0.0.1", 0))
            client.sendto(b"hello", server.server_address)
            assert client.recv(100) == b"HELLO"


def test_every_public_name_of_the_standard_library_is_there() -> None:
    assert set(standard.__all__) <= set(socketserver.__all__)
    for name in standard.__all__:
        theirs, ours = getattr(standard, name), getattr(socketserver, name)
        assert ours.__module__ == "socketserver"
        for attribute in dir(theirs):
            if attribute.startswith("_"):
                continue
            their_value, our_value = getattr(theirs, attribute), getattr(ours, attribute)
            if inspect.isfunction(their_value):
                parameters = list(inspect.signature(their_value).parameters)
                assert list(inspect.signature(our_value).parameters) == parameters, attribute
            elif not isinstance(their_value, type):
                assert our_value == their_value, f"{name}.{attribute}"


# shutdown


def test_shutdown_does_not_wait_for_the_poll_interval() -> None:
    with serving(socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)) as server:
        until(lambda: server._stdserve_waiting, "the loop to run")


def test_shutdown_that_comes_first_is_not_lost() -> None:
    server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
    ended = threading.Thread(target=server.shutdown)
    ended.start()
    until(lambda: server._BaseServer__shutdown_request, "shutdown to be called")  # type: ignore[attr-defined]
    with server:
        server.serve_forever(NEVER)
    ended.join(PATIENCE)
    assert not ended.is_alive()


def test_shutdown_by_a_handler_ends_the_loop() -> None:
    kind = type("Server", (socketserver.ThreadingTCPServer,), {"daemon_threads": True})
    server = kind(("127.0.0.1", 0), handler(lambda self: self.server.shutdown()))
    serve = threading.Thread(target=server.serve_forever, args=(NEVER,))
    serve.start()
    ask(server.server_address)
    serve.join(PATIENCE)
    assert not serve.is_alive()
    server.server_close()


def test_nothing_is_left_open() -> None:
    before = proc.descriptors(os.getpid())
    for kind in (socketserver.ThreadingTCPServer, socketserver.ForkingTCPServer):
        with serving(kind(("127.0.0.1", 0), handler(lambda self: None))) as server:
            for _ in range(5):
                ask(server.server_address)
    assert not proc.opened_since(before)


@pytest.mark.parametrize("why", [errno.EMFILE, errno.ENOBUFS])
def test_the_loop_rests_while_nothing_can_be_accepted(why: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketserver, "_PAUSE_SECONDS", NEVER)
    tried = threading.Semaphore(0)

    class Server(socketserver.TCPServer):
        tries = 0

        def get_request(self) -> Any:
            self.tries += 1
            tried.release()
            raise OSError(why, os.strerror(why))

    with serving(Server(("127.0.0.1", 0), socketserver.BaseRequestHandler)) as server:
        with socket.create_connection(server.server_address):
            assert tried.acquire(timeout=PATIENCE)
    assert server.tries == 1


def test_request_timeout_ends_the_wait_for_a_client() -> None:
    failed: list[BaseException] = []
    seen = threading.Event()

    class Server(socketserver.ThreadingTCPServer):
        request_timeout = 0.01

        def handle_error(self, request: Any, client_address: Any) -> None:
            error = sys.exc_info()[1]
            assert error is not None
            failed.append(error)
            seen.set()

    with serving(Server(("127.0.0.1", 0), handler(lambda self: self.rfile.read(1)))) as server:
        with socket.create_connection(server.server_address):
            assert seen.wait(PATIENCE)
    assert [type(error) for error in failed] == [TimeoutError]


def test_allow_reuse_port_does_not_matter_to_unix_sockets(short_path: Path) -> None:
    kind = type("Server", (socketserver.UnixStreamServer,), {"allow_reuse_port": True})
    kind(str(short_path / "socket"), socketserver.BaseRequestHandler).server_close()


# threads


def test_no_more_threads_are_busy_than_max_threads() -> None:
    inside = Inside()
    kind = type("Server", (socketserver.ThreadingTCPServer,), {"max_threads": 2})
    with serving(kind(("127.0.0.1", 0), handler(inside))) as server, clients(server.server_address, 7):
        for _ in range(2):
            assert inside.entered.acquire(timeout=PATIENCE)
        inside.leave.release(7)
    assert inside.most == 2


def test_service_actions_and_shutdown_come_while_all_threads_are_busy() -> None:
    inside = Inside()
    acted = threading.Event()

    class Server(socketserver.ThreadingTCPServer):
        max_threads = 1

        def service_actions(self) -> None:
            if inside.now:
                acted.set()

    server = Server(("127.0.0.1", 0), handler(inside))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with clients(server.server_address, 1):
        assert inside.entered.acquire(timeout=PATIENCE)
        acted.clear()
        assert acted.wait(PATIENCE)
        server.shutdown()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        inside.leave.release()
    server.server_close()


def test_handle_request_waits_for_a_thread_too() -> None:
    inside = Inside()
    kind = type("Server", (socketserver.ThreadingTCPServer,), {"max_threads": 1})
    server = kind(("127.0.0.1", 0), handler(inside))
    with server, clients(server.server_address, 2):
        server.handle_request()
        assert inside.entered.acquire(timeout=PATIENCE)
        second = threading.Thread(target=server.handle_request)
        second.start()
        inside.leave.release()
        second.join(PATIENCE)
        assert not second.is_alive()
        inside.leave.release()
    assert inside.most == 1


def test_a_thread_is_used_again() -> None:
    seen = []
    kind = socketserver.ThreadingTCPServer
    with serving(kind(("127.0.0.1", 0), handler(lambda _: seen.append(threading.get_ident())))) as server:
        for _ in range(10):
            ask(server.server_address)
            until(lambda: server._stdserve_pool._resting, "the thread to rest")
    assert len(seen) == 10
    assert len(set(seen)) == 1


def test_a_resting_thread_ends_after_its_time() -> None:
    kind = type("Server", (socketserver.ThreadingTCPServer,), {"idle_thread_timeout": 0.01})
    with serving(kind(("127.0.0.1", 0), handler(lambda self: self.wfile.write(b"hello")))) as server:
        for _ in range(2):
            assert ask(server.server_address) == b"hello"
            until(lambda: not any(t.is_alive() for t in server._threads), "the thread to end")


def test_each_request_has_a_context_of_its_own() -> None:
    seen = []
    variable = contextvars.ContextVar("variable", default=0)

    def handle(_: object) -> None:
        seen.append(variable.get())
        variable.set(1)

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler(handle))) as server:
        for _ in range(2):
            ask(server.server_address)
            until(lambda: server._stdserve_pool._resting, "the thread to rest")
    assert seen == [0, 0]


def test_an_exit_in_a_handler_ends_its_thread_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: raised.append(what.exc_type))
    kind = type("Server", (socketserver.ThreadingTCPServer,), {"max_threads": 1})
    with serving(kind(("127.0.0.1", 0), handler(lambda self: sys.exit(1)))) as server:
        for _ in range(3):
            ask(server.server_address)
    assert raised == [SystemExit] * 3


def test_server_close_waits_for_busy_threads_unless_they_are_daemons() -> None:
    inside = Inside()
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler(inside))
    with clients(server.server_address, 1):
        server.handle_request()
        assert inside.entered.acquire(timeout=PATIENCE)
        closing = threading.Thread(target=server.server_close)
        closing.start()
        inside.leave.release()
        closing.join(PATIENCE)
        assert not closing.is_alive()
    assert inside.now == 0


def run(text: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, which must end by itself."""
    program = (
        "import os, socket, sys, threading, time\nfrom stdserve import socketserver\n" + textwrap.dedent(text)
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def test_resting_threads_do_not_hold_up_the_end_of_the_program() -> None:
    done = run(
        """
        class Server(socketserver.ThreadingTCPServer):
            idle_thread_timeout = 3600
        server = Server(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        socket.create_connection(server.server_address).close()
        server.handle_request()
        print("end")
        """
    )
    assert (done.stdout, done.returncode) == ("end\n", 0), done.stderr


@pytest.mark.parametrize("engine", [False, True])
def test_a_server_goes_on_in_its_thread_when_the_main_thread_has_ended(engine: bool) -> None:
    """CPython 3.12.1 makes no more threads by then."""
    done = run(
        f"""
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"hello")
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.use_engine = {engine}
        def client():
            threading.main_thread().join()
            for _ in range(3):
                with socket.create_connection(server.server_address) as connection:
                    print(connection.recv(100).decode())
            server.shutdown()
        threading.Thread(target=server.serve_forever, args=(3600,)).start()
        threading.Thread(target=client).start()
        """
    )
    assert (done.stdout, done.returncode) == ("hello\n" * 3, 0), done.stderr


def test_a_child_forked_by_a_handler_ends_when_the_handler_returns() -> None:
    done = run(
        """
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.server.child = os.fork()
                if self.server.child == 0:
                    self.server.socket.close()
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        with socket.create_connection(server.server_address) as connection:
            server.handle_request()
            connection.recv(1)
        server.server_close()
        print("in the child" if server.child == 0 else os.waitpid(server.child, 0)[1])
        """
    )
    assert done.stdout == "0\n", done.stderr


# processes


def test_no_more_children_run_than_max_children() -> None:
    reading, writing = os.pipe()
    running: list[int] = []

    class Server(socketserver.ForkingTCPServer):
        max_children = 2

        def service_actions(self) -> None:
            super().service_actions()
            running.append(len(self.active_children or ()))

    waits = handler(lambda _: os.read(reading, 1))
    with serving(Server(("127.0.0.1", 0), waits)) as server, clients(server.server_address, 6):
        until(lambda: server.active_children and len(server.active_children) == 2, "two children")
        os.write(writing, b"x" * 6)
    os.close(reading)
    os.close(writing)
    assert max(running) == 2
    assert not server.active_children


def test_an_ended_child_is_collected_without_waiting_for_the_poll_interval() -> None:
    # Those of earlier tests may be collected at any moment.
    before = set(proc.zombies(os.getpid()))
    with serving(socketserver.ForkingTCPServer(("127.0.0.1", 0), handler(lambda _: None))) as server:
        for _ in range(3):
            ask(server.server_address)
            until(lambda: server.active_children == set(), "the child to be collected")
    assert set(proc.zombies(os.getpid())) <= before


def test_children_of_others_are_left_alone_where_there_are_too_many() -> None:
    other = os.fork()
    if other == 0:
        os._exit(7)
    kind = type("Server", (socketserver.ForkingTCPServer,), {"max_children": 1})
    server = kind(("127.0.0.1", 0), handler(lambda _: None))
    with server, clients(server.server_address, 3):
        for _ in range(3):
            server.handle_request()
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 7


def test_shutdown_comes_while_all_children_are_busy() -> None:
    reading, writing = os.pipe()
    kind = type("Server", (socketserver.ForkingTCPServer,), {"max_children": 1})
    server = kind(("127.0.0.1", 0), handler(lambda _: os.read(reading, 1)))
    thread = threading.Thread(target=server.serve_forever, args=(NEVER,))
    thread.start()
    with clients(server.server_address, 1):
        until(lambda: server.active_children, "a child")
        server.shutdown()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        os.write(writing, b"x")
        server.server_close()
    os.close(reading)
    os.close(writing)
