"""Attaches a task when it is imported, by the template: it is to be called in each worker."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any

from stdserve.concurrent import Exchange


class Mailbox:
    """A task that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()

    def send(self, message: str) -> None:
        """Keeps the message, and who called."""
        self.messages.put((message, os.getpid()))


MAILBOX = Mailbox()
EXCHANGE = Exchange[str]("preloaded")
EXCHANGE.attach(MAILBOX)
IMPORTER = os.getpid()
THREADS = threading.active_count()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Sends the query, and answers with what the task got in this worker."""
    EXCHANGE.send(environ["QUERY_STRING"])
    message, pid = MAILBOX.messages.get(timeout=30)
    answer = f"{message} {pid == os.getpid() != IMPORTER} {THREADS}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
