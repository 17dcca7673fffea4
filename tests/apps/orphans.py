"""Leaves orphans: grandchildren whose parent has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import gate


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """`/` forks a child that forks a child and ends; the grandchild waits at the gate, then ends."""
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            gate.arrive("orphan")
        os._exit(0)
    os.waitpid(middle, 0)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
