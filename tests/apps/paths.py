"""Says which path was asked for, so that a test can tell what became a request and what did not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Read the body, and name the path."""
    environ["wsgi.input"].read()
    body = b"served " + environ["PATH_INFO"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def variables(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Show what the environ has of text."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()]


def reflects(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Put the query, decoded, into a field: what an application should not do."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Query", unquote(environ["QUERY_STRING"]))])
    return [b""]
