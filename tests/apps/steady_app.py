"""Repeats the number of each request, how long its body was, and says who answers.

`/stuck` keeps the interpreter's lock for ever, in C; `/child` forks a child that stays.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`NUMBER LENGTH PID`."""
    path = environ["PATH_INFO"]
    if path == "/stuck":
        print("stuck in", os.getpid(), flush=True)
        sleeps_in_c()
    child = leave_a_child() if path == "/child" else 0
    body = environ["wsgi.input"].read()
    answer = f"{environ['QUERY_STRING']} {len(body)} {child or os.getpid()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


def sleeps_in_c() -> None:
    """Does not come back, and lets no other thread in: a PyDLL function does not give the lock back."""
    while True:
        ctypes.PyDLL(None).sleep(1000)


def leave_a_child() -> int:
    """A child that waits to be killed; its pid."""
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    return child
