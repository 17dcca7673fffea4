"""What `socketserver.BaseServer.serve_forever` waits for: requests, wake-ups, and the end of children."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Any

from stdserve import selectors


class Waiting:
    """One run of `serve_forever`: everything that it waits for at once.

    `server` is anything with a `fileno()`. `wake` may be called from any thread and from signal handlers.
    """

    def __init__(self, server: Any, make_selector: Callable[[], selectors.BaseSelector]) -> None:
        self._server = server
        self._thread = threading.get_ident()
        # Held again by a signal handler that comes in between.
        self._lock = threading.RLock()
        self._selector = make_selector()
        try:
            self._selector.register(server, selectors.EVENT_READ)
            self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._selector.register(self._event, selectors.EVENT_READ)
        except BaseException:
            self._selector.close()
            raise
        self._listens = True
        self._children: set[int] = set()

    def wait(self, timeout: float | None, *, listen: bool) -> bool:
        """Waits until something is there, at most `timeout` seconds; whether a request is.

        Requests are only looked for when `listen` is true.
        """
        if listen != self._listens:
            if listen:
                self._selector.register(self._server, selectors.EVENT_READ)
            else:
                self._selector.unregister(self._server)
            self._listens = listen
        ready = False
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._server:
                ready = True
            elif key.fd == self._event:
                os.eventfd_read(self._event)
            else:
                self._forget(key.fd)
        return ready

    def pause(self, seconds: float) -> None:
        """Waits without looking for requests, unless it is woken."""
        waiting = select.poll()
        waiting.register(self._event, select.POLLIN)
        waiting.poll(seconds * 1000)

    def wake(self) -> None:
        """Ends the wait that is under way, or else the next one."""
        with self._lock:
            if self._event >= 0:
                os.eventfd_write(self._event, 1)

    def watch_child(self, pid: int) -> None:
        """Ends a wait when the child process `pid` has ended. Does nothing where descriptors have run out."""
        if threading.get_ident() != self._thread:
            return
        try:
            child = os.pidfd_open(pid)
        except OSError:
            return
        self._children.add(child)
        self._selector.register(child, selectors.EVENT_READ)

    def _forget(self, child: int) -> None:
        self._selector.unregister(child)
        self._children.discard(child)
        os.close(child)

    def close(self) -> None:
        """Gives all descriptors back."""
        for child in list(self._children):
            self._forget(child)
        self._selector.close()
        with self._lock:
            os.close(self._event)
            self._event = -1
