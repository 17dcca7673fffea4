"""gevent's patch_all, before anything else: locks, sockets, threads and sleep become cooperative."""

# ruff: noqa: E402
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent

import gate

# Two native threads that make their first hub at the same time can lock each other out in gevent itself,
# while it imports its loop; with the modules there they do not.
gevent.get_hub()


def late(number: int) -> int:
    """Comes back a little later."""
    time.sleep(0.001)
    return number


def stuck() -> None:
    """Sleeps in the hub for ever; says by what it was ended."""
    try:
        while True:
            time.sleep(0.001)
    except BaseException as error:
        gate.tell(f"ended by {type(error).__name__}")
        raise


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Sleeps in the hub, and waits for greenlets of its own."""
    if environ["PATH_INFO"] == "/stuck":
        stuck()
    time.sleep(0.002)
    jobs = [gevent.spawn(late, number) for number in range(3)]
    gevent.joinall(jobs)
    body = f"{environ['QUERY_STRING']} {sum(job.value for job in jobs)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
