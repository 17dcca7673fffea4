"""Signals that come while a call of this thread waits."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def signalled(
    handler: Callable[[], object], when: Callable[[], object] = lambda: True, number: int = signal.SIGUSR1
) -> Iterator[None]:
    """Calls `handler` once in the main thread, which is this one, for a signal: it comes once `when` returns.

    It is sent until it is handled: one that comes just before a system call does not end it.
    """
    handled = threading.Event()
    main = threading.get_ident()

    def handle(*_: object) -> None:
        if not handled.is_set():
            handled.set()
            handler()

    def send() -> None:
        when()
        while not handled.is_set():
            signal.pthread_kill(main, number)
            handled.wait(0.05)

    previous = signal.signal(number, handle)
    sender = threading.Thread(target=send, daemon=True)
    try:
        sender.start()
        yield
    finally:
        sender.join()
        signal.signal(number, previous)
