"""Has the server send files: what the query says goes into the answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

#: Where an iterable notes that it was closed.
CLOSED = Path(os.environ.get("CLOSED_NOTE", os.devnull))


class Body:
    """Blocks that must not be sent, and a `close()` that must be called."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"the application's own body"
        raise AssertionError("nobody asks for more")

    def close(self) -> None:
        """Leave a note."""
        with CLOSED.open("a") as notes:
            notes.write("closed\n")


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`field` and `path` name the file; `shape` is the kind of body, `status` the status."""
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    fields = [
        ("Content-Type", query.get("type", "text/x-own")),
        ("Content-Length", "26"),
        ("ETag", '"of the application"'),
        ("Set-Cookie", "a=b"),
        ("X-Own", "kept"),
        (query.get("field", "X-Sendfile"), query.get("path", "")),
    ]
    status = query.get("status", "200 OK")

    def generator() -> Iterator[bytes]:
        start_response(status, fields)
        yield b""
        yield b"the application's own body"

    match query.get("shape", "list"):
        case "generator":
            return generator()
        case "iterable":
            start_response(status, fields)
            return Body()
        case "write":
            write = start_response(status, fields)
            write(b"the application's own body")
            return []
        case "empty":
            start_response(status, fields)
            return []
        case "again":
            start_response(status, fields)
            try:
                raise ValueError("changed its mind")
            except ValueError:
                start_response("500 Own Error", [("Content-Length", "3")], sys.exc_info())
            return [b"own"]
        case _:
            start_response(status, fields)
            return [b"the application's own body"]
