"""Answers without an end: the application is told when its worker is to finish, and nothing has to wait."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import stdserve

from support.serving import Serve, Served
from support.waiting import PATIENCE
from support.wire import Client, request

#: Longer than any test may take: who is not told would be waited for until then.
GRACE: dict[str, Any] = {"graceful_timeout": "10m"}


class Listener:
    """A client in the middle of an answer that has no end of its own."""

    def __init__(self, server: Served | stdserve.Server, target: str = "/") -> None:
        assert isinstance(server.address, tuple)
        self.client = Client(server.address)
        self.client.send(request(target=target))
        assert self.client.head().status == 200
        self._chunks: Iterator[bytes] = iter(self.client.chunks())
        pid, self.told_before = next(self._chunks).decode().split()
        self.pid = int(pid)

    def end(self) -> bytes:
        """What else came, up to the orderly end."""
        rest = b"".join(self._chunks)
        self.client.close()
        return rest


@pytest.mark.parametrize("threads", [1, 4])
def test_term_ends_at_once_what_has_no_end(serve: Serve, threads: int) -> None:
    """Each listener's answer is whole; nobody waits for the time to drain."""
    server = serve("endless:app", threads=threads, **GRACE)
    listeners = [Listener(server) for _ in range(threads)]
    assert {one.told_before for one in listeners} == {"False"}
    server.signal(signal.SIGTERM)
    assert [one.end() for one in listeners] == [b"told True\n"] * threads
    assert server.wait_exit() == 0


def test_a_reload_is_not_held_up(serve: Serve) -> None:
    """The listener of the old worker comes to its end, and finds the new one."""
    server = serve("endless:app", **GRACE)
    listener = Listener(server)
    server.signal(signal.SIGHUP)
    assert listener.end() == b"told True\n"
    again = Listener(server)
    assert again.pid != listener.pid
    assert again.told_before == "False"
    server.wait_workers(1)


def test_all_services_of_a_worker_are_told(serve: Serve, tmp_path: Any) -> None:
    """Each by an object of its own."""
    file = tmp_path / "stdserve.toml"
    table = '[services.{0}]\napp = "endless:app"\nbind = "127.0.0.1:0"\nmount = "/{0}"\n'
    file.write_text(table.format("one") + table.format("two"))
    server = serve(None, "up", "--config", str(file), bind=None, threads=4, **GRACE)
    listeners = [Listener(server, target) for target in ("/one/", "/two/")]
    server.signal(signal.SIGTERM)
    assert [one.end() for one in listeners] == [b"told True\n"] * 2
    assert server.wait_exit() == 0


@pytest.mark.parametrize("handlers", ["threads", "forks"])
def test_handlers_are_told(serve: Serve, handlers: str) -> None:
    """Those in processes of their own too."""
    server = serve("endless:Stays", "tcp", handlers=handlers, **GRACE)
    with socket.create_connection(server.address, PATIENCE) as client, client.makefile() as lines:
        assert lines.readline() == "False\n"
        server.signal(signal.SIGTERM)
        assert lines.read() == "True\n"
    assert server.wait_exit() == 0


def test_a_server_in_the_process_tells_it_too() -> None:
    """`stop` drains; what was kept of it stays readable afterwards, and the next server has its own."""
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        kept.append(environ["stdserve.draining"])
        start_response("200 OK", [])
        yield b"1 listens\n"
        select.select([kept[-1]], [], [])
        yield b"told\n"

    for number in range(2):
        with stdserve.Server(app, bind="127.0.0.1:0", threads=2, graceful_timeout="10m") as server:
            listener = Listener(server)
            assert not kept[number].is_set()
            assert not select.select([kept[number]], [], [], 0)[0]
            assert repr(kept[number]) == "<stdserve serving>"
        assert listener.end() == b"told\n"
        assert kept[number].is_set()
        assert select.select([kept[number]], [], [], 0)[0]
        assert repr(kept[number]) == "<stdserve draining>"
