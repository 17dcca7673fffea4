"""The thread that calls attached tasks: one a process, begun when the first task is attached.

It waits in select.poll for all exchanges at once, so that the interpreter can end while it waits. In a forked
child it is begun again if anything is attached there.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from . import _forks
from ._reporting import report
from ._subscription import BURST, Reader, Source

#: After so many seconds an exchange is tried again that could not be served: for want of descriptors, say.
RETRY = 1.0
#: How many messages are kept for tasks that were attached before others; beyond that they are missed.
KEPT = 1000


class Task(Protocol):
    """What can be attached: an `Actor`, or anything that has `send`."""

    def send(self, message: Any, /) -> object: ...


class Hold:
    """What keeps a task attached: `attach`, and any number of `with` blocks."""

    def __init__(self) -> None:
        self._by_attach = False
        self._blocks = 0

    def add(self, block: bool) -> None:
        """A block was entered, or the task attached, where twice is once."""
        if block:
            self._blocks += 1
        else:
            self._by_attach = True

    def leave(self) -> bool:
        """A block was left. Whether that was all that kept the task."""
        self._blocks = max(self._blocks - 1, 0)
        return not (self._blocks or self._by_attach)


class _Attachment(Hold):
    """A task, from its attachment to its detachment."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.holds = True


class Feed:
    """The attached tasks of one exchange, and one place in its messages for all of them."""

    def __init__(self, source: Source, decode: Callable[[Any], Any]) -> None:
        self._source = source
        self._decode = decode
        self._lock = threading.RLock()
        self._attached: dict[Task, _Attachment] = {}
        self._reader: Reader | None = None
        self._spare: Reader | None = None
        # What was taken for those that were attached then.
        self._kept: deque[tuple[list[Any], tuple[_Attachment, ...]]] = deque()
        _forks.tell(self)

    def attach(self, task: Task, block: bool = False) -> None:
        """From now on `task` gets what is sent; `block`: until `leave`. What is attached already stays so."""
        with self._lock:
            if (attachment := self._attached.get(task)) is not None:
                attachment.add(block)
                return
        reader = self._source.reader()  # may wait for a server
        with self._lock:
            if (attachment := self._attached.get(task)) is not None:
                attachment.add(block)
                return
            if self._reader is None:
                self._reader = reader
            else:
                # What was sent before the new reader was made has come to this one by now.
                self._keep(self._reader)
            self._attached[task] = attachment = _Attachment(task)
            attachment.add(block)
            try:
                _dispatcher.add(self)
            except BaseException:  # no thread, or no descriptor
                self.detach(task)
                raise

    def detach(self, task: Task) -> None:
        """No call of `task` is decided on from now on. KeyError: it is not attached."""
        with self._lock:
            self._attached.pop(task).holds = False
            if self._attached or self._reader is None:
                return
            reader, self._reader = self._reader, None
            self._kept.clear()
            _dispatcher.drop(self)
        reader.close()

    def leave(self, task: Task) -> None:
        """A block ends for which `task` was attached. KeyError: it is not attached."""
        with self._lock:
            if self._attached[task].leave():
                self.detach(task)

    def _keep(self, reader: Reader) -> None:
        """Takes what was sent before now, for those that are attached by now."""
        room = max(KEPT - sum(len(kept) for kept, _ in self._kept), 0)
        taken: list[Any] = []
        missed, exact = 0, True
        while burst := reader.take(BURST):
            taken += burst
            if len(taken) > room:
                for raw in taken:
                    told = raw if isinstance(raw, tuple) else (1, True)
                    missed += told[0]
                    exact = exact and told[1]
                taken.clear()
        if missed:
            taken.insert(0, (missed, exact))
        if taken:
            self._kept.append((taken, tuple(self._attached.values())))

    def descriptor(self) -> int | None:
        """Readable when there is something for `turn`; None where nothing is attached."""
        with self._lock:
            return None if self._reader is None else self._reader.fileno()

    def turn(self, goes_on: Callable[[], None]) -> None:
        """Calls the tasks with what is there; `goes_on` is asked after each call."""
        while True:
            with self._lock:
                kept = bool(self._kept)
                if kept:
                    taken, tasks = self._kept.popleft()
                elif self._reader is not None:
                    taken, tasks = self._reader.take(BURST), tuple(self._attached.values())
                else:
                    return
            for raw in taken:
                self._call(raw, tasks, goes_on)
            if not kept:
                return

    def _call(self, raw: Any, tasks: tuple[_Attachment, ...], goes_on: Callable[[], None]) -> None:
        try:
            message = self._decode(raw)
        except BaseException as error:  # SystemExit, too, would end the thread for all exchanges
            report(error)
            return
        for attachment in tasks:
            if not attachment.holds:
                continue
            try:
                attachment.task.send(message)
            except BaseException as error:
                report(error)
            goes_on()

    def before_fork(self) -> None:
        if self._attached:
            self._spare = self._source.spare()

    def after_fork_in_parent(self) -> None:
        self._spare = None

    def after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._kept.clear()
        spare, self._spare = self._spare, None
        if self._reader is not None:
            self._reader = spare or self._source.in_child()


class _Dispatcher:
    """The thread, and whom it serves."""

    def __init__(self) -> None:
        self._feeds: dict[Feed, None] = {}
        self._reset()
        _forks.begin_in_child(self._begin_in_child)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._bell: int | None = None

    def add(self, feed: Feed) -> None:
        """Serves it from now on."""
        with self._lock:
            self._feeds[feed] = None
            self._see_to_thread()
            self._ring()

    def drop(self, feed: Feed) -> None:
        """Serves it no more."""
        with self._lock:
            self._feeds.pop(feed, None)
            self._ring()

    def _see_to_thread(self) -> None:
        """Begins the thread where there is none and somebody to serve."""
        if self._thread is not None or not self._feeds or _forks.is_to_be_forked():
            return
        if self._bell is None:
            self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        thread = threading.Thread(target=self._run, args=(self._bell,), name="stdserve-tasks", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except BaseException:
            self._thread = None
            raise

    def _ring(self) -> None:
        """Has the thread, if there is one, look at its feeds."""
        if self._thread is not None and self._bell is not None:
            os.eventfd_write(self._bell, 1)

    def _begin_in_child(self) -> None:
        if self._bell is not None:
            os.close(self._bell)
        self._reset()
        self._see_to_thread()
        self._ring()

    def _run(self, bell: int) -> None:
        with self._lock:
            this = threading.current_thread()
            if self._thread is None:
                # An exception of a signal's handler has come when this thread had begun.
                self._thread = this
            elif self._thread is not this:
                return
        home = os.getpid()

        def goes_on() -> None:
            if os.getpid() != home:
                _leave()

        feeds: dict[int, Feed] = {}
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        again: float | None = None
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(None if again is None else RETRY * 1000)]
            if bell in ready or (again is not None and time.monotonic() >= again):
                if bell in ready:
                    os.eventfd_read(bell)
                # What was closed meanwhile has rung again.
                feeds, complete = self._descriptors()
                again = None if complete else time.monotonic() + RETRY
                poll = select.poll()
                for descriptor in (bell, *feeds):
                    poll.register(descriptor, select.POLLIN)
                ready = list(feeds)
            for descriptor in ready:
                try:
                    feeds[descriptor].turn(goes_on)
                except BaseException as error:
                    # Not at once again, as its descriptor may stay readable.
                    report(error)
                    poll.unregister(descriptor)
                    again = time.monotonic() + RETRY

    def _descriptors(self) -> tuple[dict[int, Feed], bool]:
        """What to wait for, and whether that is all of it. One that fails keeps the thread from no other."""
        with self._lock:
            served = list(self._feeds)
        feeds, complete = {}, True
        for feed in served:
            try:
                descriptor = feed.descriptor()
            except BaseException as error:
                report(error)
                complete = False
            else:
                if descriptor is not None:
                    feeds[descriptor] = feed
        return feeds, complete


def _leave() -> None:
    """Ends a child that a task has forked off, and in which it has returned: the rest is the parent's."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(0)


_dispatcher = _Dispatcher()
