"""The threads that handle requests for `socketserver.ThreadingMixIn`: bounded in number, and used again.

A thread that has finished its request waits for the next one, for `idle_timeout` seconds; the one that
rested last is taken first. To the request it looks like a thread of its own: it runs in its own
`contextvars` context, and what it raises ends the thread by way of `threading.excepthook`. A resting thread
never holds up the end of the program, and keeps nothing alive of the requests it had.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

Job = Callable[[], object]
Mailbox = SimpleQueue["Job | None"]

_pools: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


class ThreadPool:
    """Threads that take one job after another.

    `daemon` is what the threads are made with; `idle_timeout` is in seconds.
    """

    def __init__(self, *, daemon: bool, idle_timeout: float) -> None:
        self.daemon = daemon
        self._idle_timeout = idle_timeout
        self._waker: Callable[[], None] | None = None
        _prepare_for_the_end()
        self._reset(ended=_ending)
        _pools.add(self)

    def _reset(self, *, ended: bool) -> None:
        self._room = threading.Condition(threading.Lock())
        self._resting: list[Mailbox] = []
        self._busy = 0
        self._ended = ended
        self._waker = None

    def has_room(self, limit: int | None, waker: Callable[[], None]) -> bool:
        """Whether fewer than `limit` threads are busy. If not, `waker` is called when one becomes free."""
        with self._room:
            if limit is None or self._busy < max(limit, 1):
                return True
            self._waker = waker
            return False

    def run(self, job: Job, limit: int | None, started: Callable[[threading.Thread], None]) -> None:
        """Runs `job` in a thread; waits for one while `limit` are busy.

        `started` is told of each new thread. Raises RuntimeError when there can be no more
        threads.
        """
        inherits = getattr(sys.flags, "thread_inherit_context", False)
        context = contextvars.copy_context() if inherits else contextvars.Context()

        def in_context() -> None:
            context.run(job)

        with self._room:
            while limit is not None and self._busy >= max(limit, 1):
                self._room.wait()
            self._busy += 1
            mailbox = self._resting.pop() if self._resting else None
        if mailbox is not None:
            mailbox.put(in_context)
            return
        thread = threading.Thread(
            target=self.process_request_thread, args=(SimpleQueue(), in_context), daemon=self.daemon
        )
        try:
            thread.start()
        except BaseException as error:
            self._finished(None)
            if not (_ending and isinstance(error, RuntimeError)):
                raise
            # The main thread has ended, and this Python (3.12.1) makes no more threads from then on.
            in_context()
            return
        started(thread)

    def process_request_thread(self, mailbox: Mailbox, job: Job | None) -> None:
        """What a thread does. Its name stands in the names of the threads, as in the standard library."""
        while job is not None:
            rests = False
            try:
                job()
                rests = True
            finally:
                job = None
                rests = self._finished(mailbox if rests else None)
            if not rests:
                return
            try:
                job = mailbox.get(timeout=self._idle_timeout)
            except Empty:
                with self._room:
                    if mailbox in self._resting:
                        self._resting.remove(mailbox)
                        return
                job = mailbox.get()  # it was taken just now

    def _finished(self, mailbox: Mailbox | None) -> bool:
        with self._room:
            self._busy = max(self._busy - 1, 0)
            rests = mailbox is not None and not self._ended
            if mailbox is not None and rests:
                self._resting.append(mailbox)
            self._room.notify()
            waker, self._waker = self._waker, None
        if waker is not None:
            waker()
        return rests

    def dismiss(self) -> None:
        """Ends the resting threads, and each busy one after its job. Each later job gets its own thread."""
        with self._room:
            self._ended = True
            resting, self._resting = self._resting, []
        for mailbox in resting:
            mailbox.put(None)

    def _after_fork(self) -> None:
        # None of the threads has come along but perhaps the one that forked, which ends after its job.
        self._reset(ended=True)


def _dismiss_all() -> None:
    global _ending
    _ending = True
    for pool in list(_pools):
        pool.dismiss()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool._after_fork()


_prepared = False
_ending = False


def _prepare_for_the_end() -> None:
    """At the end of a program Python waits for its threads: those that only rest must have gone by then."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    os.register_at_fork(after_in_child=_after_fork_in_child)
    # The same place that concurrent.futures uses: it runs before the threads are waited for, unlike atexit.
    register: Any = getattr(threading, "_register_atexit", None)
    if register is not None:
        try:
            register(_dismiss_all)
        except RuntimeError:  # the end has begun
            _dismiss_all()
