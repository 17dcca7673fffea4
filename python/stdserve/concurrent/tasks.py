"""Generators that wait for sockets, queues, time and each other, all of them on one thread: `TaskScheduler`.

A turn of the scheduler: wake those whose descriptors are ready, obey what was asked meanwhile (new tasks,
cancellations, futures that are done), ring the alarms that are due in the order of their times, then let each
task that is ready run until its next `yield`, in the order in which they became ready.

An exception of a signal's handler may come between any two steps of this code. It hits the task that runs;
where none does it leaves `run()`, and the next turn begins with looking through everything that may have been
lost (`_mend`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from types import GeneratorType, TracebackType
from typing import Any, Final, Self, TypeVar

from stdserve.concurrent import _forks
from stdserve.concurrent._descriptors import Descriptors
from stdserve.concurrent._task import NEW, Task, TaskCancelled
from stdserve.concurrent._waits import (
    Line,
    Nothing,
    Wait,
    forget_callback,
    readable,
    serve,
    sleep,
    within,
    writable,
)

__all__ = ["Task", "TaskCancelled", "TaskScheduler", "readable", "serve", "sleep", "within", "writable"]

T = TypeVar("T")

#: So many descriptors are looked at a turn for having been closed, and for each of them it is so long until
#: they are looked at again, beside what stands here for when tasks have run and when they have not.
_LOOKS: Final = 1000
_PAUSE_EACH: Final = 1e-4
_PAUSE: Final = 0.1
_IDLE_PAUSE: Final = 1.0

#: No wait is longer: what is asked of epoll_wait(2) has its limits.
_LONGEST: Final = 3600.0

#: In a forked child, the generators of the parent: let go, they would run their cleanup here.
_of_the_parent: list[Any] = []


class TaskScheduler:
    """Runs generators that wait, on the thread that calls `run()` or `turn()`.

    In them, ``yield readable(sock)``, ``writable(sock)``, ``sleep(seconds)``, ``item = yield queue`` for
    whatever has `fileno()` and `get_nowait()`, ``result = yield future`` (or task), ``within(seconds, any of
    these)``, and ``result = yield from subtask()``. A bare ``yield`` lets the others run once.

    `new_task`, `stop` and a task's `cancel` may be called from any thread and from signal handlers. A forked
    child has a scheduler without tasks. Closed at the end of a `with` block.
    """

    def __init__(self) -> None:
        self._clock: Callable[[], float] = time.monotonic
        self._closed = False
        self._start_anew()
        _forks.tell(self)

    def _start_anew(self) -> None:
        #: Made when it is first waited, or asked for.
        self._descriptors: Descriptors | None = None
        #: All that have not ended, in the order in which they were made.
        self._tasks: dict[GeneratorType[Any, Any, Any], Task[Any]] = {}
        self._ready: deque[Task[Any]] = deque()
        #: What other threads, signal handlers and tasks ask for: a function, its task and a number.
        self._inbox: deque[tuple[Callable[[Task[Any], int], None], Task[Any], int]] = deque()
        #: A heap of (time, order, task). A task's alarm stays when its wait ends before it, for the next one.
        self._alarms: list[tuple[float, int, Task[Any]]] = []
        self._order = count()
        self._lines: dict[int, Line] = {}
        #: Who runs it, as [thread].
        self._lease: dict[str, list[int]] = {}
        self._current: Task[Any] | None = None
        #: Whoever puts something into the inbox has to ring.
        self._asleep = True
        #: A turn has begun and not come to its end.
        self._torn = False
        #: An exception has hit a task where it is not known what was done before.
        self._shaken = False
        self._stopping = False
        #: Its descriptor was asked for: another loop watches it.
        self._watched = False
        #: When descriptors are looked at next for having been closed; whether tasks have run meanwhile.
        self._look_at: float | None = None
        self._lively = False

    # From any thread.

    def new_task(self, generator: Generator[Any, Any, T], *, name: str | None = None) -> Task[T]:
        """Has `generator` run, from the next turn on. Errors call it by `name`, else by the generator's."""
        if not isinstance(generator, GeneratorType):
            hint = ": call the function" if callable(generator) else ""
            raise TypeError(f"a task is a generator, and not {type(generator).__name__}{hint}")
        if self._closed:
            raise RuntimeError("the scheduler is closed")
        task: Task[T] = Task(self, generator, name or generator.__qualname__)
        try:
            if self._tasks.setdefault(generator, task) is not task:
                raise ValueError(f"{generator!r} is a task already")
            self._post(self._begin, task, 0)
            if self._closed and self._tasks.get(generator) is task:
                # Meanwhile: `close()` may not have seen it.
                raise RuntimeError("the scheduler is closed")
        except BaseException:
            # A signal's handler has raised it: nobody will know of the task.
            if self._tasks.get(generator) is task:
                self._tasks.pop(generator, None)
            raise
        return task

    def stop(self) -> None:
        """Ends the `run()` under way, or else the next one, after its turn. Tasks stay for the next."""
        self._stopping = True
        self._ring()

    @property
    def tasks(self) -> tuple[Task[Any], ...]:
        """The tasks that have not ended, in the order in which they were made."""
        # Of a copy, made in one step: others make new ones while the collector runs for the tuple.
        return tuple(self._tasks.copy().values())

    def _post(self, function: Callable[[Task[Any], int], None], task: Task[Any], number: int) -> None:
        self._inbox.append((function, task, number))
        self._ring()

    def _ring(self) -> None:
        descriptors = self._descriptors
        if self._asleep and descriptors is not None:
            descriptors.ring()

    # To run it.

    def run(self, *, forever: bool = False) -> None:
        """Runs tasks until none is left, or until `stop()`; `forever`: also while there is none.

        KeyboardInterrupt and SystemExit in a task end that task and leave `run()`; the others can be run on.
        RuntimeError: another thread runs it, or one of its own tasks calls this.
        """
        self._alone(partial(self._run, forever))

    def _run(self, forever: bool) -> None:
        self._opened()
        try:
            while not self._stopping and (forever or self._tasks):
                self._turn(None)
        finally:
            self._stopping = False

    def turn(self, timeout: float | None = None) -> bool:
        """One turn: waits at most `timeout` seconds (None: without limit) until a task is ready, and lets
        those that are run on, each to its next `yield`. False: no task is left.
        """
        try:
            self._alone(partial(self._turn, timeout))
        finally:
            if self._watched and not self._closed:
                self._announce()
        return bool(self._tasks)

    def fileno(self) -> int:
        """A descriptor that is readable when `turn(0)` has something to do, its alarms and ready tasks
        included: for other loops. A forked child has another one.
        """
        descriptors = self._opened()
        self._watched = True
        self._announce()
        return descriptors.fileno()

    def close(self) -> None:
        """Cancels the tasks that are left and gives the descriptors back. One that waits in its cleanup is
        not waited for: GeneratorExit is raised there. RuntimeError while it runs.
        """
        self._alone(self._close)

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

    def _alone(self, function: Callable[[], None]) -> None:
        """Calls `function`, which only one may at a time."""
        mine = [threading.get_ident()]
        lease = self._lease
        try:
            owner = lease.setdefault("owner", mine)
            if owner is not mine:
                if owner == mine:
                    raise RuntimeError("the scheduler runs already, in this thread: a task cannot run it")
                raise RuntimeError("the scheduler runs already, in another thread")
            function()
        finally:
            # Without a call, so that no signal's handler comes in between.
            if "owner" in lease and lease["owner"] is mine:
                self._asleep = True
                del lease["owner"]

    def _runs_here(self) -> bool:
        return self._lease.get("owner") == [threading.get_ident()]

    def _opened(self) -> Descriptors:
        if self._closed:
            raise RuntimeError("the scheduler is closed")
        if self._descriptors is None:
            self._descriptors = Descriptors()
        return self._descriptors

    def _turn(self, timeout: float | None) -> None:
        descriptors = self._opened()
        if self._torn or self._shaken:
            self._mend(descriptors)
        self._torn = self._asleep = True
        descriptors.poll(self._patience(timeout))
        self._asleep = False
        self._obey()
        now = self._clock()
        self._ring_alarms(now)
        if self._look_at is not None and self._look_at <= now:
            self._look(descriptors, now)
        ready = self._ready
        if ready:
            self._lively = True
            step = self._step
            for _ in range(len(ready)):
                # In no variable: an exception's traceback may keep this frame.
                self._current = ready[0]
                ready.popleft()
                step(self._current)
                if self._ready is not ready:
                    self.after_fork_in_child()
                    raise RuntimeError("forked in a task: this is the child, which does not run it")
                self._current = None
            if descriptors.waited and self._look_at is None:
                self._look_at = now + _PAUSE
        # Also between two turns: a stop() comes after it was looked for.
        self._asleep = True
        self._torn = False

    def _obey(self) -> None:
        """Does what was asked meanwhile."""
        inbox = self._inbox
        while inbox:
            function, task, number = inbox[0]
            function(task, number)
            inbox.popleft()

    def _patience(self, timeout: float | None) -> float:
        """How long the next wait for descriptors may take."""
        if self._ready or self._inbox or self._shaken:
            return 0
        patience = _LONGEST if timeout is None else min(max(timeout, 0), _LONGEST)
        until = self._next()
        return patience if until is None else max(min(patience, until - self._clock()), 0)

    def _next(self) -> float | None:
        """When there is something to do though nothing happens."""
        if not self._alarms:
            return self._look_at
        alarm = self._alarms[0][0]
        return alarm if self._look_at is None else min(alarm, self._look_at)

    def _announce(self) -> None:
        """Makes its descriptor readable when the next turn is due."""
        descriptors = self._opened()
        if self._ready or self._inbox or self._torn or self._shaken:
            descriptors.ring()
        until = self._next()
        descriptors.ring_after(None if until is None else max(until - self._clock(), 0))

    def _ring_alarms(self, now: float) -> None:
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            at, order, task = heappop(alarms)
            if task._alarm != at:
                # It has an earlier one since.
                continue
            task._alarm = None
            if task._deadline is None or task._ready:
                continue
            if task._deadline != at or task._since != order:
                # That was for a wait which ended before its time.
                self._set_alarm(task)
            elif task._too_long:
                what = task._what()
                self._leave(task)
                self._resume(task, TimeoutError(f"waited too long for {what}"))
            else:
                self._resume(task)

    def _set_alarm(self, task: Task[Any]) -> None:
        """Has a task's wait end in time."""
        deadline = task._deadline
        if deadline is None or (task._alarm is not None and task._alarm <= deadline):
            return
        task._alarm = deadline
        heappush(self._alarms, (deadline, task._since, task))
        if len(self._alarms) > 4 * len(self._tasks) + 64:
            self._sort_alarms()

    def _sort_alarms(self) -> None:
        """Leaves no alarms but those of waits that are under way."""
        alarms = []
        for task in list(self._tasks.values()):
            task._alarm = task._deadline
            if task._deadline is not None:
                alarms.append((task._deadline, task._since, task))
        heapify(alarms)
        self._alarms[:] = alarms

    def _look(self, descriptors: Descriptors, now: float) -> None:
        """Looks for descriptors that were closed while they were waited for, at most so many of them."""
        watched = descriptors.check(_LOOKS)
        if watched is None:
            # More are left, for the next turn.
            self._look_at = now
        elif watched or descriptors.waited:
            pause = _PAUSE if self._lively else _IDLE_PAUSE
            self._look_at = now + pause + watched * _PAUSE_EACH
            self._lively = descriptors.waited = False
        else:
            self._look_at = None

    # What tasks do.

    def _begin(self, task: Task[Any], _number: int) -> None:
        if task._place is NEW and task._generator in self._tasks:
            self._resume(task)

    def _resume(self, task: Task[Any], error: BaseException | None = None) -> None:
        """Has a task run on in this turn or, where tasks run already, in the next."""
        if error is not None:
            task._error = error
        if not task._ready:
            task._ready = True
            self._ready.append(task)

    def _cancel(self, task: Task[Any], _number: int) -> None:
        if task._cancelling and not task.done():
            self._leave(task)
            self._resume(task, TaskCancelled())
        task._cancelling = False

    def _future_done(self, task: Task[Any], number: int, _future: Any) -> None:
        """Called by a future, in any thread."""
        self._post(self._after_future, task, number)

    def _after_future(self, task: Task[Any], number: int) -> None:
        if task._number == number:
            self._resume(task)

    def _step(self, task: Task[Any]) -> None:
        """Lets a task run until its next `yield`."""
        error = task._error
        value = None
        try:
            task._ready = False
            if error is None and task._fetch is not None:
                try:
                    value = task._fetch()
                except Nothing:
                    self._set_alarm(task)
                    return
                except BaseException as raised:
                    error = raised
                    self._leave(task)
            task._number += 1
            task._place = task._watch = task._fetch = task._error = task._deadline = None
            if error is None:
                self._wait(task, task._send(value))
            else:
                self._wait(task, task._generator.throw(error))
        except BaseException as raised:
            if task._is_suspended():
                # It could not wait for what it yielded, or a signal's handler raised an exception in between.
                self._shaken = True
                self._leave(task)
                self._resume(task, raised)
            elif isinstance(raised, StopIteration):
                self._end(task, raised.value, None)
            else:
                self._end(task, None, raised)
        finally:
            del task, error, value

    def _wait(self, task: Task[Any], what: Any) -> None:
        """Has a task wait for what it yielded."""
        if isinstance(what, Wait):
            what._begin(self, task)
        elif what is None:
            self._resume(task)
        elif hasattr(what, "add_done_callback"):
            if what is task:
                raise RuntimeError("a task cannot wait for its own end")
            task._place = what
            task._fetch = what.result
            task._callback = partial(self._future_done, task, task._number)
            what.add_done_callback(task._callback)
        elif hasattr(what, "get_nowait") and hasattr(what, "fileno"):
            line = self._lines.get(id(what))
            if line is None:
                line = self._lines[id(what)] = Line(self, what)
            line.join(task)
        else:
            hint = "; `yield from` runs a sub-task" if isinstance(what, GeneratorType) else ""
            raise TypeError(f"a task cannot wait for {what!r}, a {type(what).__qualname__}{hint}")

    def _limit(self, task: Task[Any], seconds: float, too_long: bool) -> None:
        """Ends a wait when so much time has passed, unless it ends sooner."""
        deadline = self._clock() + seconds
        if task._deadline is None or deadline < task._deadline:
            task._since = next(self._order)
            task._too_long = too_long
            task._deadline = deadline
            self._set_alarm(task)

    def _leave(self, task: Task[Any]) -> None:
        """Takes a task away from where it waits."""
        task._number += 1
        place, task._place = task._place, None
        task._fetch = task._deadline = None
        if isinstance(place, Line):
            place.leave(task)
        elif isinstance(place, Future):
            forget_callback(place, task._callback)
        else:
            self._forget(task)

    def _forget(self, waiter: Task[Any] | Line) -> None:
        if waiter._watch is not None and self._descriptors is not None:
            self._descriptors.forget(waiter)

    def _end(self, task: Task[Any], result: Any, error: BaseException | None) -> None:
        task._outcome = (result, error)
        task._end(result, error)
        self._tasks.pop(task._generator, None)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            task._unasked = None
            raise error

    # When all is not well.

    def _mend(self, descriptors: Descriptors) -> None:
        """Finds what was left undone where an exception came in between: in a step, or anywhere in a turn."""
        self._shaken = False
        if self._torn:
            descriptors.check_all()
            current = self._current
            if current is not None and not current._is_suspended():
                current._end(*(current._outcome or (None, _lost())))
                self._tasks.pop(current._generator, None)
        for line in tuple(self._lines.values()):
            watch = line._watch
            if watch is None or watch.reader is not line:
                line.wake()
        queued = set(self._ready)
        for task in list(self._tasks.values()):
            place, watch = task._place, task._watch
            if task._ready:
                if task not in queued:
                    self._ready.append(task)
            elif watch is not None and task is not watch.reader and task is not watch.writer:
                task.wake()
            elif place is NEW or (hasattr(place, "add_done_callback") and place.done()):
                self._resume(task)
            elif place is None and task is self._current:
                self._resume(task, _lost())
        self._current = None
        self._sort_alarms()
        self._torn = False

    def _close(self) -> None:
        self._closed = True
        failure: BaseException | None = None
        for task in self.tasks:
            try:
                self._finish(task)
            except BaseException as raised:
                failure = failure or raised
        self._ready.clear()
        self._inbox.clear()
        descriptors, self._descriptors = self._descriptors, None
        if descriptors is not None:
            descriptors.close()
        if failure is not None:
            raise failure

    def _finish(self, task: Task[Any]) -> None:
        """Ends a task at once."""
        self._leave(task)
        try:
            task._generator.throw(TaskCancelled())
            # It would wait: GeneratorExit.
            task._generator.close()
        except StopIteration as stop:
            self._end(task, stop.value, None)
        except BaseException as raised:
            self._end(task, None, raised)
        else:
            self._end(task, None, TaskCancelled())

    def before_fork(self) -> None:
        """Nothing has to be prepared."""

    def after_fork_in_parent(self) -> None:
        """Nothing has changed."""

    def after_fork_in_child(self) -> None:
        """The tasks are the parent's, and so is what its descriptors are registered with: begins anew."""
        _of_the_parent.append(self._tasks)
        descriptors = self._descriptors
        if descriptors is not None:
            descriptors.close()
        for task in self._tasks.values():
            task._abandon()
        self._start_anew()


def _lost() -> InterruptedError:
    return InterruptedError("an exception of a signal's handler came in between")
