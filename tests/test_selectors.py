"""stdserve.selectors, beside the standard library's (see also test_cpython_suites.py)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import selectors as standard
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from stdserve import selectors

from support.signals import signalled
from support.waiting import PATIENCE

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Pairs of sockets in every state: quiet, readable, full, ended on one side or on both, reset."""
    made = [socket.socketpair() for _ in range(60)]
    for number, (one, other) in enumerate(made):
        match number % 6:
            case 1:
                other.send(b"x")
            case 2:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        one.send(bytes(65536))
            case 3:
                other.shutdown(socket.SHUT_WR)
            case 4:
                other.send(b"x")
                other.close()
            case 5:
                one.send(b"x")
                other.close()
    yield made
    for one, other in made:
        one.close()
        other.close()


@pytest.mark.parametrize("name", ["DefaultSelector", "SelectSelector", "PollSelector", "EpollSelector"])
def test_the_same_is_ready_as_with_the_standard_library(name: str, pairs: list[Pair]) -> None:
    masks = random.Random(1)
    with getattr(standard, name)() as theirs, getattr(selectors, name)() as ours:
        for one, _ in pairs:
            mask = masks.randint(1, 3)
            assert tuple(theirs.register(one, mask, data=one)) == tuple(ours.register(one, mask, data=one))
        for _ in range(3):
            found: list[dict[int, tuple[Any, int]]] = []
            for selector in (theirs, ours):
                ready = selector.select(0)
                assert all(key is selector.get_key(key.fd) for key, _ in ready)
                found.append({key.fd: (tuple(key), events) for key, events in ready})
            assert found[0] == found[1]
            assert found[0]
            for one, _ in masks.sample(pairs, 10):
                mask = masks.randint(1, 3)
                assert tuple(theirs.modify(one, mask)) == tuple(ours.modify(one, mask))
        for one, _ in pairs:
            assert tuple(theirs.unregister(one)) == tuple(ours.unregister(one))
        assert ours.select(0) == []


def test_what_is_not_there_on_linux_is_not_there() -> None:
    assert not hasattr(selectors, "KqueueSelector")
    assert not hasattr(selectors, "DevpollSelector")
    theirs = {name for name in dir(standard) if not name.startswith("_")}
    assert theirs - set(dir(selectors)) <= {"abstractmethod", "namedtuple", "sys", "math", "select"}


@pytest.mark.parametrize("timeout", [0, -1, -0.5, 0.0, 1e-9, True])
def test_time_outs_that_end(timeout: float) -> None:
    with selectors.DefaultSelector() as selector:
        assert selector.select(timeout) == []


@pytest.mark.parametrize(
    ("timeout", "error"), [(float("nan"), ValueError), (1e300, OverflowError), ("1", TypeError)]
)
def test_time_outs_that_are_none(timeout: Any, error: type[Exception]) -> None:
    with selectors.DefaultSelector() as selector, standard.DefaultSelector() as theirs:
        for each in (selector, theirs):
            with pytest.raises(error):
                each.select(timeout)


def test_a_closed_selector_says_so() -> None:
    selector = selectors.DefaultSelector()
    selector.close()
    with pytest.raises(ValueError, match="closed epoll"):
        selector.select(0)
    with pytest.raises(RuntimeError, match="closed"):
        selector.get_key(0)


def test_a_descriptor_that_was_closed_while_a_copy_is_open_is_passed_over() -> None:
    reading, writing = os.pipe()
    copy = os.dup(reading)
    os.write(writing, b"x")
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        os.close(reading)
        selector.unregister(reading)
        # The kernel still tells of it: the copy keeps it registered there.
        assert selector.select(0) == []
    os.close(copy)
    os.close(writing)


def test_a_signal_does_not_end_the_wait() -> None:
    reading, writing = os.pipe()
    came = []

    def on_signal() -> None:
        came.append(True)
        os.write(writing, b"x")

    with selectors.DefaultSelector() as selector, signalled(on_signal):
        selector.register(reading, selectors.EVENT_READ)
        assert [key.fd for key, _ in selector.select(PATIENCE)] == [reading]
    assert came == [True]
    os.close(reading)
    os.close(writing)


def test_it_drives_asyncio() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def ask(port: int, number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"%d\n" % number)
        answer = await reader.read()
        writer.close()
        return answer

    async def main() -> list[bytes]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            process = await asyncio.create_subprocess_exec("true")
            assert await process.wait() == 0
            return await asyncio.gather(*(ask(port, number) for number in range(50)))

    loop = asyncio.SelectorEventLoop(selectors.DefaultSelector())  # type: ignore[arg-type]
    try:
        assert loop.run_until_complete(main()) == [b"%d\n" % number for number in range(50)]
    finally:
        loop.close()
