"""A generator that a `TaskScheduler` runs: `Task`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from stdserve.concurrent._descriptors import Watch
    from stdserve.concurrent.tasks import TaskScheduler

T = TypeVar("T")

#: What a task waits for that `new_task` has made, until its scheduler begins it.
NEW: Final = "its first turn"

_log = logging.getLogger("stdserve.concurrent")


class TaskCancelled(BaseException):
    """Raised in a task that was cancelled, where it waits.

    No `Exception`, so that code which catches those ends as well. A task that catches it and goes on was not
    cancelled.
    """


class Task(Future[T]):
    """A generator that a `TaskScheduler` runs, and the future of what it returns.

    Made by `TaskScheduler.new_task`. All that `concurrent.futures` does with futures works with tasks, from
    any thread: `result()`, `add_done_callback()`, `wait()`, `asyncio.wrap_future()`. Other tasks wait for it
    by `yield task`. An exception that nobody asks for is logged when the task is dropped (logger
    `stdserve.concurrent`).
    """

    #: How others call it; by default what the generator's function is called.
    name: str

    def __init__(self, scheduler: TaskScheduler, generator: GeneratorType[Any, Any, T], name: str) -> None:
        super().__init__()
        self.name = name
        self._scheduler = scheduler
        self._generator = generator
        self._send = generator.send
        #: What it waits for, for others to read and so that it can leave; None where it waits for nothing.
        self._place: Any = NEW
        #: The descriptor at which it waits, which knows it.
        self._watch: Watch | None = None
        #: It is among those that run next,
        self._ready = False
        #: with this exception raised in it,
        self._error: BaseException | None = None
        #: or with what this gives, or with None.
        self._fetch: Callable[[], Any] | None = None
        #: Counts its waits for futures: what comes of one that it has left is stale.
        self._number = 0
        #: What the future that it waits for calls.
        self._callback: Callable[[Any], None] | None = None
        #: When its wait is over by itself, in which order those come that are over at the same time, and
        #: whether it was too long.
        self._deadline: float | None = None
        self._since = 0
        self._too_long = False
        #: The earliest time at which it stands among the alarms.
        self._alarm: float | None = None
        self._cancelling = False
        #: What the generator returned, or raised.
        self._outcome: tuple[Any, BaseException | None] | None = None
        #: What nobody has asked for yet.
        self._unasked: BaseException | None = None

    def cancel(self) -> bool:
        """Has `TaskCancelled` raised in the generator where it waits. False: it has ended already.

        From any thread and from signal handlers; the task is cancelled when it has ended by that exception.
        Its cleanup may wait in turn.
        """
        if self.done():
            return False
        if not self._cancelling:
            self._cancelling = True
            self._scheduler._post(self._scheduler._cancel, self, 0)
        return True

    def running(self) -> bool:
        """Whether it has begun, and has not ended."""
        return self._place is not NEW and not self.done()

    def result(self, timeout: float | None = None) -> T:
        """What the generator returned, or the exception that ended it. Waits `timeout` seconds at most.

        TimeoutError when the time is over; `concurrent.futures.CancelledError` when it was cancelled. In a
        task of the same scheduler it would never come: RuntimeError. There it is `yield task`.
        """
        self._ask()
        try:
            return super().result(timeout)
        finally:
            self._ask()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception that ended the generator, or None. See `result`."""
        self._ask()
        try:
            return super().exception(timeout)
        finally:
            self._ask()

    def _ask(self) -> None:
        """Somebody asks how it ended."""
        if self.done():
            self._unasked = None
        elif self._scheduler._runs_here():
            raise RuntimeError(
                f"{self!r} has not ended, and cannot while its scheduler waits: yield the task"
            )

    def _is_suspended(self) -> bool:
        """Whether its generator stands at a `yield`, or at its beginning."""
        return self._generator.gi_frame is not None and not self._generator.gi_running

    def wake(self) -> None:
        """Its descriptor is ready."""
        if not self._ready:
            self._ready = True
            self._scheduler._ready.append(self)
        self._watch = None

    def fail(self, error: OSError) -> None:
        """Its descriptor was closed."""
        self._scheduler._resume(self, error)
        self._watch = None

    def _end(self, result: Any, error: BaseException | None) -> None:
        """It has ended: tells everyone who waits for that."""
        if self.done():
            # Abandoned, in a forked child; or interrupted here.
            with self._condition:
                self._condition.notify_all()
            return
        if error is None:
            self.set_result(result)
        elif isinstance(error, TaskCancelled):
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            # Without the frame of the scheduler, which would keep the task alive through it.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            self._unasked = error
            self.set_exception(error)

    def _abandon(self) -> None:
        """In a forked child: it runs in the parent, and those who wait for it are there."""
        self._condition = threading.Condition()
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []
        if not self.done():
            error = RuntimeError("the process was forked: this task runs in the one that began it")
            self.set_exception(error)

    def __repr__(self) -> str:
        if self._ready:
            return f"<Task {self.name!r}, ready>"
        if self._place is None:
            return f"<Task {self.name!r}, {'ended' if self.done() else 'running'}>"
        return f"<Task {self.name!r}, waits for {self._what()}>"

    def _what(self) -> str:
        """What it waits for, in words."""
        if self._place is NEW:
            return NEW
        try:
            return repr(getattr(self._place, "queue", self._place))
        except Exception:
            return f"what is a {type(self._place).__name__}"

    def __del__(self) -> None:
        error = getattr(self, "_unasked", None)
        if error is not None:
            _log.error("exception in task %r, whose result nobody asked for", self.name, exc_info=error)
