"""The application of most tests: one path, one behaviour."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import gate

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
PATHS: dict[str, Callable[[Environ, Start, dict[str, str]], Iterable[bytes]]] = {}
TEXT = [("Content-Type", "text/plain")]


def path(shape: Callable[[Environ, Start, dict[str, str]], Iterable[bytes]]) -> Any:
    """Serve this function under its name."""
    PATHS["/" + shape.__name__.strip("_").replace("_", "-")] = shape
    return shape


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Find the shape by the path, and hand it the query."""
    shape = PATHS.get(environ["PATH_INFO"])
    if shape is None:
        start_response("404 Not Found", [*TEXT, ("Content-Length", "0")])
        return []
    return shape(environ, start_response, dict(parse_qsl(environ["QUERY_STRING"])))


def whole(start_response: Start, body: bytes, status: str = "200 OK") -> list[bytes]:
    """A complete response."""
    start_response(status, [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


@path
def hello(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """The quick one; gives back `n`, so that a test knows whose answer it is."""
    return whole(start_response, ("hello " + query.get("n", "")).encode())


@path
def answer(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """With the status that is asked for."""
    return whole(start_response, b"", query["status"] + " As Asked")


@path
def echo(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """What the application was handed, as JSON."""
    body = environ["wsgi.input"].read()
    said = {key: value for key, value in environ.items() if isinstance(value, str | int | bool)}
    return whole(start_response, json.dumps({"environ": said, "body": body.hex()}).encode())


@path
def told(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Lets the test know that it ran, and how long its body was."""
    size = len(environ["wsgi.input"].read())
    gate.tell(query["name"])
    return whole(start_response, str(size).encode())


@path
def wait(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Waits at the gate, without the GIL."""
    return whole(start_response, gate.arrive(query["name"]).encode())


@path
def sleep(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Sleeps, without the GIL."""
    time.sleep(float(query["ms"]) / 1000)
    return whole(start_response, ("slept " + query.get("n", "")).encode())


@path
def hold_gil(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Waits at the gate, or sleeps, in C and keeps the GIL: a PyDLL function does not give it back."""
    if "seconds" not in query:
        gate.arrive_with_the_gil(query["name"])
        return whole(start_response, b"held")
    gate.tell(query["name"])
    ctypes.PyDLL(None).usleep(ctypes.c_uint(int(float(query["seconds"]) * 1_000_000)))
    return whole(start_response, b"held")


@path
def compute(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Computes in Python until the test lets it go (that is: until a helper thread has come back)."""
    done = threading.Event()

    def wait() -> None:
        gate.arrive(query["name"])
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    while not done.is_set():
        sum(range(1000))
    return whole(start_response, b"computed")


@path
def process(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Which worker."""
    return whole(start_response, str(os.getpid()).encode())


@path
def facts(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Facts about the worker and the thread."""
    body = {
        "pid": os.getpid(),
        "threads": threading.active_count(),
        "thread": threading.current_thread().name,
        "main": threading.current_thread() is threading.main_thread(),
        "multithread": environ["wsgi.multithread"],
        "multiprocess": environ["wsgi.multiprocess"],
    }
    return whole(start_response, json.dumps(body).encode())


@path
def large(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """A response of `size` bytes in one piece; lets the test know when the application has been left."""
    body = Leaving(query.get("name"), [b"x" * int(query["size"])])
    start_response("200 OK", [*TEXT, ("Content-Length", query["size"])])
    return body


@path
def stream(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """`count` pieces of `size` bytes, one after the other."""
    piece = b"y" * int(query.get("size", "1000"))
    start_response("200 OK", TEXT)
    return Leaving(query.get("name"), (piece for _ in range(int(query["count"]))))


@path
def steps(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterator[bytes]:
    """Each piece waits at the gate."""
    start_response("200 OK", TEXT)
    try:
        for number in range(int(query["count"])):
            yield f"step {number}\n".encode()
            gate.arrive(query["name"])
    finally:
        gate.tell(query["name"] + " closed")


class Leaving:
    """An iterable that lets the test know, by `close()`, that the server is through with it."""

    def __init__(self, name: str | None, blocks: Iterable[bytes]) -> None:
        self.name, self.blocks = name, blocks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)

    def close(self) -> None:
        if self.name:
            gate.tell(self.name)


@path
def slow_close(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """A complete response whose `close()` waits at the gate."""

    class Body(list[bytes]):
        def close(self) -> None:
            gate.arrive(query["name"])

    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return Body([b"quick"])


@path
def boom(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Fails."""
    raise RuntimeError("boom as asked")


@path
def die(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """The worker ends at once, as by a crash."""
    os.kill(os.getpid(), 9)
    return []


@path
def log(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterable[bytes]:
    """Writes a line to wsgi.errors and one to standard error."""
    environ["wsgi.errors"].write("to wsgi.errors\n")
    environ["wsgi.errors"].flush()
    print("to stderr", file=sys.stderr, flush=True)
    return whole(start_response, b"logged")
