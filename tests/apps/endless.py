"""Answers that have no end of their own."""

from __future__ import annotations

import os
import select
import socketserver
from collections.abc import Iterator
from typing import Any


def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Say which process this is, and then nothing until it drains. `/pid` says only that."""
    draining = environ["stdserve.draining"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield f"{os.getpid()} {draining.is_set()}\n".encode()
    if environ["PATH_INFO"] != "/pid":
        select.select([draining], [], [])
        yield f"told {draining.is_set()}\n".encode()


class Stays(socketserver.BaseRequestHandler):
    """Waits for a client that has nothing to say, or until it drains."""

    server: Any

    def handle(self) -> None:
        draining = self.server.draining
        self.request.sendall(f"{draining.is_set()}\n".encode())
        select.select([self.request, draining], [], [])
        self.request.sendall(f"{draining.is_set()}\n".encode())
