"""An application that calls its own address before it answers."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """`/call?port=N` asks http://127.0.0.1:N/ and says what came back."""
    body = b"plain"
    if environ["PATH_INFO"] == "/call":
        connection = http.client.HTTPConnection("127.0.0.1", int(environ["QUERY_STRING"].partition("=")[2]))
        connection.request("GET", "/")
        body = f"inner {connection.getresponse().status}".encode()
        connection.close()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
