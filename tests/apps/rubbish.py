"""Applications that break PEP 3333, each in its own way. The path names the way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

SHAPES: dict[str, Callable[[Any, Any], Any]] = {}
TEXT = [("Content-Type", "text/plain")]


def shape(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Serve this function under its name."""
    SHAPES[function.__name__] = function
    return function


def app(environ: Any, start_response: Any) -> Any:
    """Find the shape; `/` lists them."""
    name = environ["PATH_INFO"].strip("/")
    if not name:
        body = " ".join(SHAPES).encode()
        start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
        return [body]
    kind, _, number = name.partition("-")
    if kind in TABLES:
        return TABLES[kind][int(number)](environ, start_response)
    return SHAPES[name](environ, start_response)


def returns(value: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    """An application that starts well and returns this."""

    def run(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        return value()

    return run


def starts(*arguments: Any) -> Callable[[Any, Any], Any]:
    """An application that calls start_response like this, and goes on as if all were well."""

    def run(environ: Any, start_response: Any) -> Any:
        start_response(*arguments)
        return [b"body"]

    return run


class NoIter:
    """Has no way to be iterated over."""


class BadIter:
    """Fails when it is iterated over."""

    def __iter__(self) -> Any:
        raise RuntimeError("no iterator today")


class BadNext:
    """Fails in the middle, and in close()."""

    def __init__(self) -> None:
        self.count = 0

    def __iter__(self) -> BadNext:
        return self

    def __next__(self) -> bytes:
        self.count += 1
        if self.count > 2:
            raise RuntimeError("enough")
        return b"piece"

    def close(self) -> None:
        raise RuntimeError("close() fails too")


class LyingLength(list[bytes]):
    """Says that it is one thing and is another."""

    def __len__(self) -> int:
        return 1_000_000


class BadClose(list[bytes]):
    """`close` is there and cannot be called."""

    close = 42


RETURNS = [
    lambda: None,
    lambda: 42,
    lambda: 4.2,
    lambda: True,
    lambda: "text",
    lambda: ["text"],
    lambda: [None],
    lambda: [42],
    lambda: [[b"nested"]],
    lambda: {b"a": b"b"},
    lambda: {1: 2},
    lambda: object(),
    lambda: NoIter(),
    lambda: NoIter,
    lambda: BadIter(),
    lambda: BadNext(),
    lambda: LyingLength([b"x"]),
    lambda: BadClose([b"x"]),
    lambda: [b"fine", "not fine"],
    lambda: (piece for piece in [b"fine", 7]),
    lambda: [bytearray(b"array")],
    lambda: [memoryview(b"view")],
    lambda: b"bytes are an iterable of numbers",
    lambda: sys,
    lambda: Exception("returned, not raised"),
    lambda: NotImplemented,
    lambda: ...,
    lambda: range(10),
    lambda: iter([]),
    lambda: [b""],
    list,
]

STARTS: list[tuple[Any, ...]] = [
    (),
    ("200 OK",),
    ("200 OK", None),
    ("200 OK", 42),
    ("200 OK", {"Content-Type": "text/plain"}),
    ("200 OK", "Content-Type: text/plain"),
    ("200 OK", [("Content-Type",)]),
    ("200 OK", [("Content-Type", "text/plain", "more")]),
    ("200 OK", [["Content-Type", "text/plain"]]),
    ("200 OK", [("Content-Type", None)]),
    ("200 OK", [("Content-Type", 42)]),
    ("200 OK", [(42, "text/plain")]),
    ("200 OK", [(b"Content-Type", b"text/plain")]),
    ("200 OK", [("", "empty name")]),
    ("200 OK", [("Bad Name", "x")]),
    ("200 OK", [("Bad:Name", "x")]),
    ("200 OK", [("X-Evil", "a\r\nX-Injected: yes")]),
    ("200 OK", [("X-Evil", "a\nX-Injected: yes")]),
    ("200 OK", [("X-Evil", "a\rX-Injected: yes")]),
    ("200 OK", [("X-Evil", "nul\0")]),
    ("200 OK", [("X-Evil\r\nX-Injected: yes", "x")]),
    ("200 OK", [("X-Wide", "snow \u2603")]),
    ("200 OK", [("X-\u2603", "x")]),
    ("200 OK", [("X-Lone", "\udc80")]),
    ("200 OK", [("Connection", "close")]),
    ("200 OK", [("Transfer-Encoding", "chunked")]),
    ("200 OK", [("Content-Length", "4"), ("Content-Length", "5")]),
    ("200 OK", [("Content-Length", "four")]),
    ("200 OK", [("Content-Length", "-4")]),
    ("200 OK", [("Content-Length", "+4")]),
    ("200 OK", [("Content-Length", "4 ")]),
    ("200 OK", [("Content-Length", "99999999999999999999999999")]),
    ("200 OK\r\nX-Injected: yes", TEXT),
    ("200 OK\nX-Injected: yes", TEXT),
    ("", TEXT),
    ("OK", TEXT),
    ("20 OK", TEXT),
    ("2000 OK", TEXT),
    ("099 Low", TEXT),
    ("-20 OK", TEXT),
    ("100 Continue", TEXT),
    ("101 Switching Protocols", TEXT),
    ("999 High", TEXT),
    ("abc OK", TEXT),
    ("200 snow \u2603", TEXT),
    (200, TEXT),
    (b"200 OK", TEXT),
    (None, TEXT),
    ("200 OK", TEXT, "no exc_info"),
    ("200 OK", TEXT, None, "too many"),
]

TABLES: dict[str, list[Callable[[Any, Any], Any]]] = {
    "returns": [returns(value) for value in RETURNS],
    "starts": [starts(*arguments) for arguments in STARTS],
}


@shape
def no_start(environ: Any, start_response: Any) -> Any:
    """Never calls start_response."""
    return [b"body"]


@shape
def start_twice(environ: Any, start_response: Any) -> Any:
    """Calls it again without exc_info."""
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return [b"body"]


@shape
def start_too_late(environ: Any, start_response: Any) -> Any:
    """Yields before it starts."""
    yield b"body"
    start_response("200 OK", TEXT)


@shape
def write_rubbish(environ: Any, start_response: Any) -> Any:
    """write() of what is not bytes."""
    start_response("200 OK", TEXT)("text")
    return []


@shape
def too_short(environ: Any, start_response: Any) -> Any:
    """Less than Content-Length says."""
    start_response("200 OK", [*TEXT, ("Content-Length", "10")])
    return [b"short"]


@shape
def too_long(environ: Any, start_response: Any) -> Any:
    """More than Content-Length says."""
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    return [b"rather", b"long"]


@shape
def too_long_in_one(environ: Any, start_response: Any) -> Any:
    """More than Content-Length says, in one block."""
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    return [b"rather long"]


@shape
def too_long_in_pieces(environ: Any, start_response: Any) -> Any:
    """More than Content-Length says, yielded."""
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    yield b"rath"
    yield b"er long"


@shape
def body_of_204(environ: Any, start_response: Any) -> Any:
    """A body where there can be none."""
    start_response("204 No Content", TEXT)
    return [b"a body all the same"]


@shape
def spoilt_environ(environ: Any, start_response: Any) -> Any:
    """Leaves nothing of its environ."""
    environ.clear()
    environ["wsgi.input"] = environ["SERVER_PROTOCOL"] = 42
    start_response("200 OK", TEXT)
    return [b"body"]


@shape
def raises_an_odd_exception(environ: Any, start_response: Any) -> Any:
    """An exception whose text cannot be had."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    raise OddError


@shape
def raises_deeply(environ: Any, start_response: Any) -> Any:
    """Recursion without end."""
    return raises_deeply(environ, start_response)


@shape
def runs_out_of_memory(environ: Any, start_response: Any) -> Any:
    """MemoryError."""
    raise MemoryError
