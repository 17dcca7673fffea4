"""Applications without a framework: they cost next to nothing, so the server is measured."""

import json as json_module
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]

HELLO = b"Hello, world!\n"
MEBIBYTE = 1 << 20
TEN_HEADERS = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(HELLO))),
    ("Cache-Control", "private, max-age=0, must-revalidate"),
    ("ETag", '"5f3c-1a2b3c4d5e6f"'),
    ("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT"),
    ("Vary", "Accept-Encoding, Cookie"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Set-Cookie", "session=0123456789abcdef0123456789abcdef; Path=/; HttpOnly; SameSite=Lax"),
]
# Lives as long as the process.
_FILE = tempfile.NamedTemporaryFile(prefix="bench-")  # noqa: SIM115
_FILE.write(b"f" * MEBIBYTE)
_FILE.flush()


def _answer(start_response: StartResponse, body: bytes, kind: str = "text/plain") -> list[bytes]:
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with one short line."""
    return _answer(start_response, HELLO)


def headers(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with ten headers, to a request that brings ten."""
    start_response("200 OK", list(TEN_HEADERS))
    return [HELLO]


def json(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with 1 KiB of JSON, encoded for each request."""
    message = {"id": 1234, "name": "an example", "tags": ["a", "b", "c"], "text": "x" * 953}
    return _answer(start_response, json_module.dumps(message).encode(), "application/json")


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the body of the request."""
    return _answer(start_response, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Yield 1 MiB in 16 blocks, without saying how much it will be."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    block = b"s" * (MEBIBYTE // 16)
    for _ in range(16):
        yield block


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a file of 1 MiB by the server's file wrapper; where it has none, in blocks."""
    size = str(MEBIBYTE)
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", size)])
    content = open(_FILE.name, "rb")  # noqa: SIM115
    wrap = environ.get("wsgi.file_wrapper", _blocks)
    wrapped: Iterable[bytes] = wrap(content, 1 << 16)
    return wrapped


def _blocks(content: IO[bytes], size: int) -> Iterator[bytes]:
    with content:
        while block := content.read(size):
            yield block


def mixed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer at once, or sleep, or compute, by path."""
    path = environ["PATH_INFO"]
    if path == "/sleep10":
        time.sleep(0.010)
    elif path == "/sleep200":
        time.sleep(0.200)
    elif path == "/compute50":
        end = time.thread_time() + 0.050
        while time.thread_time() < end:
            sum(range(1000))
    return _answer(start_response, HELLO)
