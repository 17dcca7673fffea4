"""Says what came as a body."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import gate


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Length and SHA-256 of the body; `/digest-at-gate?NAME` waits at the gate first."""
    if environ["PATH_INFO"] == "/digest-at-gate":
        gate.arrive(environ["QUERY_STRING"])
    digest, size = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(65536):
        digest.update(block)
        size += len(block)
    body = f"{size} {digest.hexdigest()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
