"""What a task of a `TaskScheduler` can wait for, beside queues, futures and other tasks: what it yields."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from queue import Empty
from typing import TYPE_CHECKING, Any, Protocol, final

from stdserve.concurrent._descriptors import IN, OUT, Watch

if TYPE_CHECKING:
    from stdserve.concurrent._task import Task
    from stdserve.concurrent.tasks import TaskScheduler


class HasFileno(Protocol):
    """An object with a descriptor, as `select` takes them."""

    def fileno(self) -> int:
        """The descriptor."""


class PollableSource(HasFileno, Protocol):
    """A queue with a descriptor that is readable while it has items."""

    def get_nowait(self) -> Any:
        """The next item. queue.Empty: there is none."""


class Turned(HasFileno, Protocol):
    """A loop that can be turned from another, as `stdserve.Server` is."""

    def turn(self, timeout: float, /) -> bool:
        """Does what there is to do. False: it has ended."""

    def due(self) -> float:
        """In how many seconds it is to be turned even though its descriptor stays quiet."""


class Wait:
    """What a task yields in order to wait."""

    __slots__ = ()

    def _begin(self, scheduler: TaskScheduler, task: Task[Any]) -> None:
        raise NotImplementedError


def seconds_of(value: float) -> float:
    """A duration: a number of seconds, not below 0."""
    seconds = float(value)
    if not seconds >= 0:
        raise ValueError(f"a number of seconds, not below 0, and not {value!r}")
    return seconds


class _Ready(Wait):
    __slots__ = ("source", "timeout")

    _events = IN

    def __init__(self, source: HasFileno | int, timeout: float | None = None) -> None:
        self.source = source
        self.timeout = timeout if timeout is None else seconds_of(timeout)

    def _begin(self, scheduler: TaskScheduler, task: Task[Any]) -> None:
        task._place = self
        descriptors = scheduler._descriptors or scheduler._opened()
        if not descriptors.wait(self.source, self._events, task):
            scheduler._resume(task)
        elif self.timeout is not None:
            scheduler._limit(task, self.timeout, True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r})"


@final
class readable(_Ready):
    """`yield readable(sock)`: until there is something to read: data, an end, an error, a connection.

    `sock` is an object with `fileno()`, or a descriptor. TimeoutError is raised at the `yield` when `timeout`
    seconds have passed before; OSError (EBADF) when it is closed, or was closed meanwhile; RuntimeError when
    another task waits for the same. Files that epoll(7) does not take (regular files) are always ready.
    """

    __slots__ = ()


@final
class writable(_Ready):
    """`yield writable(sock)`: until writing to `sock` does not wait. See `readable`."""

    __slots__ = ()

    _events = OUT


@final
class sleep(Wait):
    """`yield sleep(seconds)`: until so much time has passed. `sleep(0)`, as a bare `yield`: the next turn."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds_of(seconds)

    def _begin(self, scheduler: TaskScheduler, task: Task[Any]) -> None:
        if self.seconds == 0:
            scheduler._resume(task)
        else:
            task._place = self
            scheduler._limit(task, self.seconds, False)

    def __repr__(self) -> str:
        return f"sleep({self.seconds!r})"


@final
class within(Wait):
    """`item = yield within(seconds, queue)`: waits for whatever can be waited for, but not longer.

    TimeoutError is raised at the `yield` when the time is over. What was waited for goes on: no item is lost,
    and a task or future is not cancelled.
    """

    __slots__ = ("seconds", "what")

    def __init__(self, seconds: float, what: Any) -> None:
        self.seconds = seconds_of(seconds)
        self.what = what

    def _begin(self, scheduler: TaskScheduler, task: Task[Any]) -> None:
        scheduler._wait(task, self.what)
        scheduler._limit(task, self.seconds, True)

    def __repr__(self) -> str:
        return f"within({self.seconds!r}, {self.what!r})"


def forget_callback(future: Any, callback: Callable[[Any], None] | None) -> None:
    """Takes a callback back that a future of `concurrent.futures` has not called yet, which has no way for
    that: one that is never done would keep whoever has ever waited for it.
    """
    with future._condition:
        # Those of one that is done are being called, perhaps by another thread that goes through the list.
        if not future.done() and callback in future._done_callbacks:
            future._done_callbacks.remove(callback)


class Nothing(Exception):
    """The queue is empty: the task waits on."""


class Line:
    """The tasks that wait for one queue, in the order in which they came.

    The first one tries when the queue's descriptor is readable, or when nobody has tried yet; it takes its
    item when it runs, so that none is lost where it is cancelled before. Then the next one tries.
    """

    __slots__ = ("_watch", "queue", "scheduler", "tasks")

    def __init__(self, scheduler: TaskScheduler, queue: PollableSource) -> None:
        self._watch: Watch | None = None
        self.scheduler = scheduler
        self.queue = queue
        self.tasks: OrderedDict[Task[Any], None] = OrderedDict()

    def join(self, task: Task[Any]) -> None:
        """Waits behind those who are there."""
        task._place = self
        task._fetch = self.take
        self.tasks[task] = None
        if len(self.tasks) == 1:
            self.wake()

    def leave(self, task: Task[Any]) -> None:
        """Waits no more; if it was about to try, the next one does."""
        self.tasks.pop(task, None)
        if not self.tasks:
            self.end()
        elif self._watch is None:
            self.wake()

    def end(self) -> None:
        """Nobody waits."""
        self.scheduler._lines.pop(id(self.queue), None)
        self.scheduler._forget(self)

    def wake(self) -> None:
        """Lets the first one try."""
        self._watch = None
        first = next(iter(self.tasks), None)
        if first is None:
            self.end()
        elif not first._ready:
            self.scheduler._resume(first)

    def fail(self, error: OSError) -> None:
        """The queue's descriptor was closed."""
        self._watch = None
        self.scheduler._lines.pop(id(self.queue), None)
        tasks = tuple(self.tasks)
        self.tasks.clear()
        for task in tasks:
            task._fetch = None
            self.scheduler._resume(task, OSError(*error.args))

    def take(self) -> Any:
        """The item for the first one, or what the queue raises. `Nothing`: none was left for it."""
        try:
            item = self.queue.get_nowait()
        except Empty:
            if self.scheduler._opened().wait(self.queue, IN, self):
                raise Nothing from None
            raise TypeError(f"the descriptor of {self.queue!r} cannot be waited for") from None
        scheduler = self.scheduler
        before, scheduler._shaken = scheduler._shaken, True
        self.tasks.popitem(last=False)
        self.wake()
        scheduler._shaken = before
        return item

    def __repr__(self) -> str:
        return " and ".join(map(repr, self.tasks)) or "nobody"


def serve(server: Turned) -> Generator[Wait, None, None]:
    """A task that turns a loop, as a `stdserve.Server` that was not started, until it has ended.

    Its requests run on the scheduler's thread, between the steps of the other tasks.
    """
    while server.turn(0):
        try:
            yield readable(server, timeout=server.due())
        except TimeoutError:
            pass
        except (OSError, ValueError):
            # It was stopped, and its descriptor closed: the next turn says so.
            continue
