"""An application with an actor and a queue, made at import. Each worker starts the actor when it is asked."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from stdserve.concurrent import ActorClosed, PollableQueue, Worker

MADE = os.getpid()
starting = threading.Lock()
worker = Worker()
answers: PollableQueue[str] = PollableQueue()
answers.fileno()


def where() -> str:
    return f"{threading.current_thread().name} {os.getpid() == MADE}"


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Has the actor answer, by way of the queue."""
    with starting:
        if not worker.is_alive():
            worker.start()
    try:
        worker.submit(lambda: answers.put(where()))
    except ActorClosed as error:
        answers.put(str(error))
    select.select([answers], [], [])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answers.get().encode()]
