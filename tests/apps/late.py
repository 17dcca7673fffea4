"""Requests that take too long, each in its own way."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import stdserve
import steady_app

import gate

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
TEXT = [("Content-Type", "text/plain")]
#: Longer than any test waits: what sleeps so long does not come back by itself.
FOR_EVER = 600.0
LOCKS = (threading.Lock(), threading.Lock())
RELEASED = threading.Event()


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Finds the function named by the path."""
    shape: Callable[[Environ, Start], Iterable[bytes]] = globals()[environ["PATH_INFO"].strip("/")]
    return shape(environ, start_response)


def whole(start_response: Start, body: bytes) -> list[bytes]:
    """A complete response."""
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def echo(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answers as a steady load wants it."""
    return steady_app.app(environ, start_response)


def pid(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Which worker."""
    return whole(start_response, str(os.getpid()).encode())


def waits(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Waits for /release, here."""
    gate.tell("waits")
    RELEASED.wait()
    return whole(start_response, b"waited")


def waits_elsewhere(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Waits for /release, at another place."""
    gate.tell("waits elsewhere")
    RELEASED.wait()
    return whole(start_response, b"waited")


def release(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Lets those go on that wait."""
    RELEASED.set()
    return whole(start_response, b"released")


def hold(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Waits at the gate."""
    return whole(start_response, gate.arrive("hold").encode())


def hold_named(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Says its query, and waits at the gate under that name."""
    return whole(start_response, gate.arrive(environ["QUERY_STRING"]).encode())


def turns(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Computes for ever, in Python."""
    while True:
        for _ in range(1000):
            pass


def swallows(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Catches every Exception and goes on, as retry loops do; says how it ended."""
    try:
        while True:
            try:
                time.sleep(0.001)
            except Exception:  # what is shown
                continue
    except BaseException as error:
        gate.tell(f"ended by {type(error).__module__}.{type(error).__name__}: {error}")
        raise
    finally:
        gate.tell("finally")


def swallows_all(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Catches even the time-out, and answers as if nothing had been."""
    try:
        while True:
            time.sleep(0.001)
    except BaseException:
        return whole(start_response, b"swallowed")


def sleeps(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Is in C, and comes back when its time is long over; the exception comes then."""
    try:
        time.sleep(float(environ["QUERY_STRING"]))
        for _ in range(1000):  # somewhere the interpreter looks
            pass
    except stdserve.RequestTimeout:
        gate.tell("woke into the time-out")
        raise
    return whole(start_response, b"slept")


def holds_streaming(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Begins an answer, and waits for the test before it goes on."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    yield gate.arrive("hold").encode()


def streams(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Begins to answer, and does not go on."""
    start_response("200 OK", TEXT)
    yield b"begun"
    while True:
        time.sleep(0.001)


def closes(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answers, and does not come out of close()."""

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"whole"])

        def close(self) -> None:
            while True:
                time.sleep(0.001)

    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return Body()


def loops(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Runs an event loop that does not end."""

    async def wait() -> None:
        try:
            while True:
                await asyncio.sleep(0.001)
        finally:
            gate.tell("the task has ended")

    asyncio.run(wait())
    return whole(start_response, b"never")


def deadlock(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Two requests, each with a lock that the other wants."""
    first = int(environ["QUERY_STRING"])
    with LOCKS[first]:
        gate.arrive(f"lock {first}")
        with LOCKS[1 - first]:
            return whole(start_response, b"never")


def holds_the_lock_of_the_interpreter(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Calls C that never lets the interpreter's lock go."""
    gate.tell(f"holding {os.getpid()}")
    ctypes.PyDLL("libc.so.6").sleep(int(FOR_EVER))
    return whole(start_response, b"never")


def around(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Takes so long, in Python: about as long as it may."""
    end = time.monotonic() + float(environ["QUERY_STRING"])
    while time.monotonic() < end:
        time.sleep(0.0005)
    return whole(start_response, b"in time")


class Calls:
    """Remote calls."""

    def turns(self) -> None:
        """Does not end."""
        never_ends()


class Handler(socketserver.StreamRequestHandler):
    """A handler of connections."""

    def handle(self) -> None:
        never_ends()


def never_ends() -> None:
    """Runs until it is ended, and says by what."""
    try:
        while True:
            time.sleep(0.001)
    except BaseException as error:
        gate.tell(f"ended by {type(error).__name__}")
        raise
