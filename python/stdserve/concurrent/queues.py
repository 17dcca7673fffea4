"""A queue with a file descriptor: `PollableQueue`.

What is done without waiting is native; its head (`crates/python/src/concurrent/queue.rs`) says how no wake-up
is lost. This half waits, each call on a lock of its own, because a thread may be left behind here when the
interpreter ends.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from queue import Empty, Full
from threading import Lock
from time import monotonic
from typing import Any, Final, TypeVar

from stdserve._stdserve import Queue

from . import _forks as _forks  # has the native half renew its queues in a forked child

__all__ = ["Empty", "Full", "PollableQueue", "ShutDown"]

T = TypeVar("T")

if hasattr(queue, "ShutDown"):
    ShutDown: type[Exception] = queue.ShutDown
else:

    class _ShutDown(Exception):
        """Raised by `put` and `get` of a queue that was shut down. From 3.13 on it is `queue.ShutDown`."""

    _ShutDown.__name__ = _ShutDown.__qualname__ = "ShutDown"
    ShutDown = _ShutDown

_NOTHING: Final[Any] = object()


class PollableQueue(Queue[T]):
    """A `queue.Queue` with a descriptor that is readable exactly while there are items, or it is shut down.

    Its methods are those of `queue.Queue` in CPython 3.13, `shutdown()` included, on every version. With
    `maxsize` items it is full; it has no bound where that is not positive.

    The descriptor is made by the first call of `fileno()`, closed with the queue. Until then the queue costs
    no system call, and afterwards only where it becomes empty or ceases to be. Wait for it with `select`,
    `poll`, `epoll` or `selectors`, and take items by `get_nowait()`, because another thread may be faster.

    Signal handlers and `__del__` may use it too: no lock is held while it works. A forked child has a copy of
    the items and a descriptor of its own under the same number.

    It is no subclass of `queue.Queue`: there is no `mutex`, and `_put()` or `_get()` cannot be overridden.
    `put_nowait()` and `get_nowait()` do not call an overridden `put()` or `get()`.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item; waits for room, at most `timeout` seconds, or not at all unless `block`.

        Raises `queue.Full` where there was no room in time, `ShutDown` where it takes no more, and ValueError
        for a negative time-out.
        """
        if timeout is not None and block and timeout < 0 and self.maxsize > 0 and not self.is_shutdown:
            raise ValueError("'timeout' must be a non-negative number")
        if self._offer(item):
            return
        if not block:
            raise Full
        _patiently(self, partial(self._offer, item), False, timeout, Full)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Takes the oldest item; waits for one, at most `timeout` seconds, or not at all unless `block`.

        Raises `queue.Empty` where there was none in time, `ShutDown` where there will be none, and ValueError
        for a negative time-out.
        """
        if timeout is not None and block and timeout < 0 and not (self.is_shutdown and self.empty()):
            raise ValueError("'timeout' must be a non-negative number")
        item = self._take(_NOTHING)
        if item is not _NOTHING:
            return item
        if not block:
            raise Empty
        return _patiently(self, partial(self._take, _NOTHING), _NOTHING, timeout, Empty)

    def join(self) -> None:
        """Waits until `task_done()` was called for each item that was put."""
        _patiently(self, self._done, False, None, Empty)

    def shutdown(self, immediate: bool = False) -> None:
        """Takes no more items, and wakes everyone. What is there can still be taken, unless `immediate`."""
        self._shutdown(immediate)


R = TypeVar("R")


def _patiently(
    queue: Queue[Any],
    attempt: Callable[[Lock | None], R],
    failed: object,
    timeout: float | None,
    late: type[Exception],
) -> R:
    """Calls `attempt` until it returns something else than `failed`, for at most `timeout` seconds.

    It is given a lock that will be released when another attempt is worth while, but for the last one.
    """
    end = None if timeout is None else monotonic() + timeout
    waiter = Lock()
    waiter.acquire()
    try:
        while (result := attempt(waiter)) is failed:
            if end is None:
                waiter.acquire()
            elif not waiter.acquire(True, max(end - monotonic(), 0)):
                if (result := attempt(None)) is failed:
                    raise late
                break
    finally:
        # It may be interrupted, or late, just when it was woken: then the next one is.
        queue._leave(waiter)
    return result
