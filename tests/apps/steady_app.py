"""Repeats the number of each request, and how long its body was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`NUMBER LENGTH`."""
    body = environ["wsgi.input"].read()
    answer = f"{environ['QUERY_STRING']} {len(body)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
