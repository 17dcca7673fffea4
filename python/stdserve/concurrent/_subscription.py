"""A subscriber's own place in the messages of an exchange."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from queue import Empty
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, final

from . import _forks
from .queues import ShutDown

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    M = TypeVar("M", default=Any)
else:
    from typing import TypeVar

    M = TypeVar("M")

#: How many messages are taken from a reader at a time.
BURST = 64
#: The longest single wait, in milliseconds: poll(2) takes no more than an int.
_LONGEST = 1 << 30


@final
@dataclass(frozen=True, slots=True)
class Missed:
    """Stands in the place of messages that a subscriber did not get.

    `count` says how many. With `exact` false (the Redis server was restarted, or its data deleted) it is what
    is known to be missing, or 1 where nothing is: there may be more, and perhaps none is.
    """

    count: int
    exact: bool = True


class Reader(Protocol):
    """Takes messages in their order, and never waits. `stdserve._stdserve.Reader` is one."""

    @property
    def closed(self) -> bool: ...
    def take(self, most: int = ..., /) -> list[Any]:
        """What is there, `most` at most; an empty list: nothing."""

    def fileno(self) -> int:
        """A descriptor that is readable when `take` has something, or the reader is closed."""

    def close(self) -> None:
        """Ends it, and wakes who waits on the descriptor."""


class Source(Protocol):
    """Where readers come from."""

    def reader(self, past: bool = False, /) -> Reader:
        """One that reads what is sent from now on; with `past` also what is there still."""

    def spare(self) -> Reader | None:
        """One for a child that is about to be forked; None where it is made by `in_child`."""

    def in_child(self) -> Reader:
        """One that reads what is sent from the fork on, in the child; waits for nobody."""


class LocalReader:
    """A reader of objects of this process. What is too much pushes the oldest out, and is told."""

    def __init__(self, maxsize: int) -> None:
        if maxsize < 1:
            raise ValueError("maxsize is at least 1")
        self._maxsize = maxsize
        # Reentrant: a signal's handler may send while its thread is in here.
        self._lock = threading.RLock()
        self._items: deque[Any] = deque()
        self._lost = 0
        self._descriptor: int | None = None
        self._signalled = False
        self.closed = False

    def put(self, item: object) -> None:
        """Adds an object."""
        with self._lock:
            if self.closed:
                return
            if len(self._items) >= self._maxsize:
                # A signal's handler may have taken, or closed, just now.
                with contextlib.suppress(IndexError):
                    self._items.popleft()
                    self._lost += 1
            self._items.append(item)
            self._signal()

    def take(self, most: int = 1, /) -> list[Any]:
        with self._lock:
            if self.closed:
                raise ValueError("the reader is closed")
            taken: list[Any] = []
            # In one step: a signal's handler may send, and more be lost by that.
            lost, self._lost = self._lost, 0
            if lost:
                taken.append(Missed(lost))
            while self._items and len(taken) < most:
                taken.append(self._items.popleft())
            if self._signalled and self._descriptor is not None and not self._items:
                os.eventfd_read(self._descriptor)
                self._signalled = False
                # A signal's handler may have sent meanwhile, and found no need to say so.
                if self._items:
                    self._signal()
            return taken

    def fileno(self) -> int:
        with self._lock:
            if self._descriptor is None:
                self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                # With this object. Not in `close`: another thread may be about to wait on it, and the number
                # would be another file's by then. And not in `__del__`: while that runs weak references still
                # lead here, and a sender that follows one would write to that file.
                weakref.finalize(self, _close, self._descriptor).atexit = False
                if self._items or self._lost or self.closed:
                    self._signal()
            return self._descriptor

    def _signal(self) -> None:
        if self._descriptor is not None and not self._signalled:
            self._signalled = True
            os.eventfd_write(self._descriptor, 1)

    def close(self) -> None:
        with self._lock:
            self.closed = True
            self._items.clear()
            self._lost = 0
            self._signal()


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


@final
class Subscription(Generic[M]):
    """A subscriber's own place in the messages of an exchange; it begins where it is made.

    Any number of threads may get from it; each message goes to one of them. It costs a sender nothing,
    however slow it is: messages that it comes too late for are replaced by one `Missed`, which says how many
    they were. In a forked child it begins with what is sent after the fork.

    Made by `Exchange.subscribe()`. Close it, or use it as a context manager.
    """

    def __init__(
        self, source: Source, decode: Callable[[Any], M | Missed], burst: int, past: bool = False
    ) -> None:
        self._source = source
        self._decode = decode
        self._burst = burst
        self._spare: Reader | None = None
        self._begin(source.reader(past))
        _forks.tell(self)

    def _begin(self, reader: Reader) -> None:
        self._reader = reader
        # Reentrant for the same reason as that of `LocalReader`. Never held while waiting.
        self._lock = threading.RLock()
        self._ready: deque[Any] = deque()
        self._descriptor: int | None = None
        self._most = self._burst
        self._raised = False
        self._waiting = 0
        self._missed = 0
        # Whether the thread with the lock is just taking: True is seen by a signal's handler only.
        self._taking = False

    @property
    def missed(self) -> int:
        """How many messages were missed, as far as it has been told by now."""
        return self._missed

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._reader.closed

    def get(self, timeout: float | None = None) -> M | Missed:
        """The next message; waits for it, at most `timeout` seconds.

        Raises `queue.Empty` when the time is over, `ShutDown` when the subscription is closed (also by
        another thread meanwhile), and what the exchange's `loads` raises: then the next call goes on with the
        message after it. In a signal's handler it raises RuntimeError where the thread is just taking a
        message from the same subscription.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                raw = self._take()
                if raw:
                    break
                if timeout is not None and deadline is not None and timeout <= 0:
                    raise Empty
                if self._descriptor is None:
                    self._descriptor = self._reader.fileno()
                    continue  # what has come before there was a descriptor
                descriptor = self._descriptor
                self._waiting += 1
            try:
                _wait(descriptor, timeout)
            finally:
                with self._lock:
                    self._waiting -= 1
            if deadline is not None:
                timeout = max(deadline - time.monotonic(), 0)
        message = self._decode(raw[0])
        if isinstance(message, Missed):
            with self._lock:
                self._missed += message.count
        return message

    def get_nowait(self) -> M | Missed:
        """The next message, or `queue.Empty` when there is none now."""
        return self.get(0)

    def _take(self) -> list[Any]:
        """As `_next`, where a signal's handler may do anything with the subscription meanwhile."""
        if self._taking:
            raise RuntimeError("a signal's handler gets from a subscription that its thread is taking from")
        self._taking = True
        try:
            return self._next()
        except (IndexError, ValueError):
            if self._reader.closed:  # by the handler
                raise ShutDown("the subscription is closed") from None
            raise
        finally:
            self._taking = False

    def _next(self) -> list[Any]:
        """The next of what the reader gives, in a list, or an empty one."""
        if self._reader.closed:
            raise ShutDown("the subscription is closed")
        if not self._ready:
            # Where somebody else waits on the descriptor, it has to stay readable as long as there is
            # something.
            most = 1 if self._waiting else self._most
            taken = self._reader.take(most)
            if len(taken) < 2:
                return taken
            self._ready.extend(taken)
            if most == 1:  # a message, and before it what was missed
                self._raise()
        one = [self._ready.popleft()]
        if self._raised and not self._ready:
            self._lower()
        return one

    def fileno(self) -> int:
        """A descriptor that is readable while there is something to get, or when the subscription is closed.

        For select, poll and the loops over them. Ask again in a forked child.
        """
        with self._lock:
            if self._reader.closed:
                raise ShutDown("the subscription is closed")
            self._descriptor = self._reader.fileno()
            self._most = 1
            if self._ready:
                self._raise()
            return self._descriptor

    # What was taken from the reader before somebody asked for the descriptor keeps it readable, too.

    def _raise(self) -> None:
        assert self._descriptor is not None
        self._raised = True
        os.eventfd_write(self._descriptor, 1)

    def _lower(self) -> None:
        assert self._descriptor is not None
        self._raised = False
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)
        # That may have been the reader's own sign.
        self._ready.extend(self._reader.take(1))
        if self._ready:
            self._raise()

    def close(self) -> None:
        """Ends it: what waits in `get()` raises `ShutDown`, and iterations end. Again does nothing."""
        with self._lock:
            if not self._reader.closed:
                self._reader.close()
            self._ready.clear()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> M | Missed:
        try:
            return self.get()
        except ShutDown:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def before_fork(self) -> None:
        if not self._reader.closed:
            self._spare = self._source.spare()

    def after_fork_in_parent(self) -> None:
        self._spare = None

    def after_fork_in_child(self) -> None:
        spare, self._spare = self._spare, None
        if self._reader.closed:
            # A thread that is not here may have been about to find that out.
            self._lock = threading.RLock()
        else:
            self._begin(spare or self._source.in_child())


def _wait(descriptor: int, timeout: float | None) -> None:
    """Waits until the descriptor is readable, at most `timeout` seconds.

    In C of Python's own, which a thread can be left in when the interpreter ends.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll(None if timeout is None else min(ceil(timeout * 1000), _LONGEST))
