"""`stdserve tcp` and `stdserve udp`: handler classes that know nothing of stdserve, by the real command."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import proc
from support.gate import Gate
from support.serving import Serve, Served
from support.waiting import PATIENCE, until

MODELS = ["threads", "forks"]


@contextlib.contextmanager
def connected(address: tuple[str, int] | str) -> Iterator[socket.socket]:
    """A connection to a server."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        client.settimeout(PATIENCE)
        client.connect(address)
        yield client


def rest(client: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            found += data
    return found


def ask(server: Served, word: str) -> str:
    """Sends one line and reads what is answered."""
    with connected(server.address) as client:
        client.sendall(word.encode() + b"\n")
        client.shutdown(socket.SHUT_WR)
        return rest(client).decode().strip()


@contextlib.contextmanager
def datagrams() -> Iterator[socket.socket]:
    """A socket for datagrams, with an address of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind(("127.0.0.1", 0))
        yield client


@pytest.mark.parametrize("handlers", MODELS)
def test_connections_are_handled(serve: Serve, handlers: str) -> None:
    server = serve("handlers:Echo", "tcp", handlers=handlers)
    with connected(server.address) as one, connected(server.address) as other:
        for client in (other, one, other):
            client.sendall(b"hello\n")
            assert client.recv(100) == b"HELLO\n"
        one.sendall(b"last\n")
        one.shutdown(socket.SHUT_WR)
        assert rest(one) == b"LAST\n"


@pytest.mark.parametrize("handlers", MODELS)
def test_connections_of_a_unix_socket_are_handled(serve: Serve, short_path: Path, handlers: str) -> None:
    path = str(short_path / "socket")
    server = serve("handlers:Tell", "tcp", bind=f"unix:{path}", handlers=handlers)
    server.log.wait("is ready")
    for word, answer in (("server", path), ("client", ""), ("family", "AF_UNIX")):
        with connected(path) as client:
            client.sendall(word.encode() + b"\n")
            assert rest(client).decode().strip() == answer


@pytest.mark.parametrize("handlers", MODELS)
def test_a_handler_finds_what_socketserver_gives_it(serve: Serve, handlers: str) -> None:
    server = serve("handlers:Tell", "tcp", handlers=handlers, request_timeout="90s")
    assert ask(server, "server") == str(server.address)
    assert ask(server, "class") == "Tell"
    assert ask(server, "kind") == "TCPServer"
    assert ask(server, "timeout") == "90.0"
    with connected(server.address) as client:
        client.sendall(b"client\n")
        assert rest(client).decode().strip() == str(client.getsockname())


def test_without_a_request_timeout_the_socket_has_none(serve: Serve) -> None:
    server = serve("handlers:Tell", "tcp", request_timeout="none")
    assert ask(server, "timeout") == "None"


def test_threads_handle_in_the_worker_and_forks_in_a_child_of_it(serve: Serve) -> None:
    server = serve("handlers:Tell", "tcp")
    assert ask(server, "process") == str(server.workers()[0])
    server = serve("handlers:Tell", "tcp", handlers="forks")
    assert ask(server, "parent") == str(server.workers()[0])
    assert ask(server, "process") != ask(server, "process")
    assert ask(server, "mask") == "0"


@pytest.mark.parametrize("handlers", MODELS)
def test_a_handler_that_fails_is_told_to_the_log_and_nothing_else_suffers(
    serve: Serve, handlers: str
) -> None:
    server = serve("handlers:Failing", "tcp", handlers=handlers)
    assert ask(server, "raise") == ""
    server.log.wait("ValueError: what went wrong")
    assert ask(server, "exit") == ""
    assert ask(server, "") == "fine"
    assert len(server.workers()) == 1


def test_a_forked_handler_that_dies_is_told_to_the_log(serve: Serve) -> None:
    server = serve("handlers:Failing", "tcp", handlers="forks")
    worker = server.wait_workers(1)
    assert ask(server, "kill") == ""
    server.log.wait("was ended by SIGSEGV")
    assert ask(server, "") == "fine"
    assert server.workers() == worker


def test_shutdown_by_a_handler_replaces_the_worker(serve: Serve) -> None:
    server = serve("handlers:Failing", "tcp")
    before = server.wait_workers(1)
    assert ask(server, "shutdown") == "fine"
    until(lambda: (now := server.workers()) and now != before, "another worker")
    assert ask(server, "") == "fine"


def test_as_many_connections_are_handled_at_once_as_there_are_threads(serve: Serve, gate: Gate) -> None:
    server = serve("handlers:Waiting", "tcp", threads=3)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server.address)) for _ in range(7)]
        for _ in range(3):
            gate.wait("handler")
        assert gate.count("handler") == 0
        gate.open("handler")
        assert [rest(client) for client in clients] == [b"done\n"] * 7


def test_no_more_children_run_than_max_children(serve: Serve, gate: Gate) -> None:
    server = serve("handlers:Waiting", "tcp", handlers="forks", max_children=2)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server.address)) for _ in range(5)]
        guests = [gate.wait("handler") for _ in range(2)]
        worker = server.workers()[0]
        assert {guest.pid for guest in guests} == {one.pid for one in proc.descendants(worker)}
        gate.open("handler")
        assert [rest(client) for client in clients] == [b"done\n"] * 5
    until(lambda: not proc.zombies(worker) and not proc.descendants(worker), "the children to be gone")


@pytest.mark.parametrize("handlers", MODELS)
def test_what_is_handled_is_finished_at_the_end(serve: Serve, gate: Gate, handlers: str) -> None:
    server = serve("handlers:Waiting", "tcp", handlers=handlers)
    with connected(server.address) as client:
        guest = gate.wait("handler")
        server.signal(signal.SIGTERM)
        server.log.wait("ending")
        guest.release()
        assert rest(client) == b"done\n"
    assert server.wait_exit() == 0


@pytest.mark.parametrize("handlers", MODELS)
def test_what_does_not_finish_in_time_is_cut_at_the_end(serve: Serve, gate: Gate, handlers: str) -> None:
    server = serve("handlers:Waiting", "tcp", handlers=handlers, graceful_timeout="100ms")
    with connected(server.address) as client:
        gate.wait("handler")
        server.signal(signal.SIGTERM)
        assert rest(client) == b""
    server.wait_exit()
    until(lambda: not server.left_behind(), "its processes to be gone")


@pytest.mark.parametrize("handlers", MODELS)
def test_datagrams_are_handled(serve: Serve, handlers: str) -> None:
    server = serve("handlers:Upper", "udp", bind="127.0.0.1:0", handlers=handlers)
    with datagrams() as client:
        for number in range(5):
            client.sendto(b"hello %d" % number, server.address)
            assert client.recvfrom(100) == (b"HELLO %d" % number, server.address)
        client.sendto(b"", server.address)
        assert client.recv(100) == b""


@pytest.mark.parametrize("handlers", MODELS)
def test_many_datagrams_are_all_answered(serve: Serve, handlers: str) -> None:
    server = serve("handlers:Upper", "udp", bind="127.0.0.1:0", handlers=handlers, threads=4)
    with datagrams() as client:
        for number in range(40):
            client.sendto(b"x%d" % number, server.address)
        assert {client.recv(100) for _ in range(40)} == {b"X%d" % number for number in range(40)}


def test_a_datagram_handler_may_use_the_socket_itself(serve: Serve) -> None:
    server = serve("handlers:Plain", "udp", bind="127.0.0.1:0", max_packet_size="100")
    with datagrams() as client:
        client.sendto(bytes(101), server.address)
        told = client.recv(1000).decode()
        assert told.startswith(f"100 {client.getsockname()}")


def test_a_datagram_handler_that_fails_is_told_to_the_log(serve: Serve) -> None:
    server = serve("handlers:Plain", "udp", bind="127.0.0.1:0")
    with datagrams() as client:
        client.sendto(b"raise", server.address)
        server.log.wait("ValueError: what went wrong")
        client.sendto(b"more", server.address)
        assert client.recv(1000).startswith(b"4 ")


def test_datagrams_of_a_unix_socket_are_handled(serve: Serve, short_path: Path) -> None:
    path = str(short_path / "socket")
    server = serve("handlers:Upper", "udp", bind=f"unixgram:{path}")
    server.log.wait("is ready")
    for own in (str(short_path / "client"), "\0" + os.urandom(8).hex()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.bind(own)
            client.sendto(b"hello", path)
            assert client.recv(100) == b"HELLO"


def test_a_reload_takes_no_connection_away(serve: Serve, gate: Gate) -> None:
    server = serve("handlers:Waiting", "tcp")
    before = server.wait_workers(1)
    with connected(server.address) as client:
        guest = gate.wait("handler")
        server.signal(signal.SIGHUP)
        until(lambda: set(server.workers()) - set(before), "another worker")
        gate.open("handler")
        with connected(server.address) as other:
            assert rest(other) == b"done\n"
        guest.release()
        assert rest(client) == b"done\n"


def test_many_clients_at_once(serve: Serve) -> None:
    server = serve("handlers:Echo", "tcp", threads=4, workers=2)
    failed: list[int] = []

    def client(number: int) -> None:
        if ask(server, f"hello {number}") != f"HELLO {number}":
            failed.append(number)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failed


def test_what_is_no_handler_class_is_refused(serve: Serve) -> None:
    server = serve("handlers:NOTHING", "tcp")
    assert server.wait_exit() != 0
    assert "int is no handler class" in server.log.wait_end()


@pytest.mark.parametrize(
    ("name", "verb", "why"),
    [
        ("nothing", "tcp", "it cannot be called with a request, the client's address and a server"),
        (
            "Upper",
            "tcp",
            "it is a DatagramRequestHandler, which handles datagrams; serve it with stdserve udp",
        ),
        (
            "Echo",
            "udp",
            "it is a StreamRequestHandler, which handles connections; serve it with stdserve tcp",
        ),
    ],
)
def test_a_handler_that_could_handle_nothing_is_refused(serve: Serve, name: str, verb: str, why: str) -> None:
    """Every connection, or datagram, would end in the same traceback."""
    server = serve(f"handlers:{name}", verb)
    assert server.wait_exit() != 0
    assert why in server.log.wait_end()
