"""Actors: threads that are told things. `Actor`, `TaggedActor`, and `Worker`, which returns results.

After the recipe "Defining an Actor Task" of the *Python Cookbook* (3rd edition, 12.10). A mailbox is a
`PollableQueue`; what closes an actor is no message in it but its `shutdown()`, so that closing never waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Full
from types import TracebackType
from typing import Any, Generic, NamedTuple, ParamSpec, Self, TypeVar
from weakref import WeakValueDictionary

from . import _forks
from ._reporting import report
from .queues import PollableQueue, ShutDown

__all__ = ["Actor", "ActorClosed", "ActorExit", "ActorFailed", "TaggedActor", "UnknownTag", "Worker"]

M = TypeVar("M")
P = ParamSpec("P")
R = TypeVar("R")


class ActorExit(Exception):
    """Raised by `Actor.recv` when the actor is closed and has received all that was sent before."""


class ActorClosed(RuntimeError):
    """Raised by `Actor.send` when nobody will receive the message: its text says why."""


class ActorFailed(RuntimeError):
    """Raised by `Actor.join` when an exception has ended `run()`, which is its `__cause__`."""


class UnknownTag(LookupError):
    """A `TaggedActor` was sent a message for which it has no method."""


class Actor(Generic[M]):
    """A thread with a mailbox. Subclasses override `run`, which calls `recv` for each message.

        class Printer(Actor[str]):
            def run(self) -> None:
                while True:
                    print(self.recv())

        with Printer() as printer:
            printer.send("hello")

    `maxsize` bounds the mailbox (messages; no bound where it is not positive). Python does not wait for a
    `daemon` when the program ends: what it has not received by then is lost, unless it is closed and joined.
    `name` is that of the thread; it is the name of the class otherwise.

    What is sent before `start()` waits for it. An exception that leaves `run()` is reported by
    `threading.excepthook` and told by `join()`; from then on nothing can be sent. In a forked child no actor
    runs, and `send()` says so until it is started there, with an empty mailbox.
    """

    def __init__(self, maxsize: int = 0, *, daemon: bool = True, name: str | None = None) -> None:
        self._mailbox: PollableQueue[M] = PollableQueue(maxsize)
        self._daemon = daemon
        self._name = name or type(self).__name__
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._left_behind = False

    @property
    def mailbox(self) -> PollableQueue[M]:
        """Where messages wait: its `fileno()` is for an actor that waits for sockets beside it."""
        return self._mailbox

    def send(self, message: M, timeout: float | None = None) -> None:
        """Sends a message, from any thread.

        Waits for room in a bounded mailbox, at most `timeout` seconds. Raises `queue.Full` where there was
        none in time, at once where the actor sends to itself; ActorClosed where nobody will receive it.
        """
        try:
            if self._mailbox._offer(message):
                return
            if self._thread is threading.current_thread():
                raise Full
            self._mailbox.put(message, True, timeout)
        except ShutDown:
            raise ActorClosed(self._why_closed()) from self._error

    def _why_closed(self) -> str:
        if self._left_behind:
            return f"{self._name} runs in the process that forked this one; it can be started here"
        if self._error is not None:
            return f"{self._name} was ended by {self._error!r}"
        return f"{self._name} {'is closed' if self.is_alive() else 'has ended'}"

    def recv(self, timeout: float | None = None) -> M:
        """The next message; waits for it, at most `timeout` seconds. To be called by `run`.

        Raises `queue.Empty` where there was none in time, ActorExit where there will be none.
        """
        try:
            return self._mailbox.get(True, timeout)
        except ShutDown:
            raise ActorExit from None

    def run(self) -> None:
        """What the thread does. To be overridden; ends when it returns or `recv` raises ActorExit."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError where it was started before."""
        with self._starting:
            if self._left_behind:
                self._mailbox = PollableQueue(self._mailbox.maxsize)
                self._thread = self._error = None
                self._left_behind = self._ended = False
            if self._thread is not None:
                raise RuntimeError(f"{self._name} was started before")
            self._thread = threading.Thread(target=self._bootstrap, name=self._name, daemon=self._daemon)
            _started.add(self)
            try:
                self._thread.start()
            except BaseException:
                self._thread = None
                raise

    def _bootstrap(self) -> None:
        with self._starting:
            this = threading.current_thread()
            if self._thread is None:
                # An exception of a signal's handler has left `start()` when this thread had begun.
                self._thread = this
            elif self._thread is not this:
                # And it was started again since.
                return
        try:
            self.run()
        except (ActorExit, SystemExit):
            pass
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ended = True
            self._mailbox.shutdown()
            self._abandon()

    def _abandon(self) -> None:
        """Drops the messages that nobody will receive."""
        self._mailbox.shutdown(immediate=True)

    def close(self) -> None:
        """Has the actor end when it has received what was sent before. Returns at once.

        From then on nothing can be sent.
        """
        self._mailbox.shutdown()

    def join(self, timeout: float | None = None) -> bool:
        """Waits until the actor has ended, at most `timeout` seconds. False: it has not.

        Raises ActorFailed where an exception has ended it, RuntimeError where it was not started, or waits
        for itself.
        """
        if self._thread is None:
            raise RuntimeError(f"{self._name} was not started")
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise ActorFailed(f"{self._name} was ended by {self._error!r}") from self._error
        return True

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        if self._thread is None or self._left_behind:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        try:
            self.join()
        except ActorFailed:
            # It was reported; what the block has raised says more.
            if value is None:
                raise

    def _leave_behind(self) -> None:
        """In a forked child."""
        self._starting = threading.Lock()
        if self._ended or self._thread is None:
            return
        # The messages are for the actor in the parent. If it was this thread that forked, it ends now.
        self._mailbox.shutdown(immediate=True)
        self._left_behind = True


class _Started:
    """The actors that were started in this process or in one that it was forked from."""

    def __init__(self) -> None:
        self._actors: WeakValueDictionary[int, Actor[Any]] = WeakValueDictionary()
        _forks.tell(self)

    def add(self, actor: Actor[Any]) -> None:
        self._actors[id(actor)] = actor

    def before_fork(self) -> None:
        """Nothing is needed in the parent."""

    def after_fork_in_parent(self) -> None:
        """Nor here."""

    def after_fork_in_child(self) -> None:
        for actor in [reference() for reference in self._actors.valuerefs()]:
            if actor is not None:
                actor._leave_behind()


_started = _Started()


class TaggedActor(Actor[Any]):
    """An actor whose messages are tuples `(tag, *arguments)`, each for the method `do_TAG`.

        class Counter(TaggedActor):
            def __init__(self) -> None:
                super().__init__()
                self.total = 0

            def do_add(self, number: int) -> None:
                self.total += number

        counter.send(("add", 1))

    A list will do as well (an `Exchange` makes lists of tuples), and a `str` is a tag without arguments.
    """

    def run(self) -> None:
        """Calls a method for each message; `unknown` where there is none."""
        while True:
            self._handle(self.recv())

    def _handle(self, message: Any) -> None:
        tag, *arguments = message if isinstance(message, list | tuple) and message else (message,)
        method = getattr(self, f"do_{tag}", None) if isinstance(tag, str) else None
        if method is None:
            self.unknown(tag, *arguments)
        else:
            method(*arguments)

    def unknown(self, tag: Any, *arguments: Any) -> None:
        """Called for what has no method. Reports UnknownTag by `threading.excepthook`, and goes on."""
        name = type(self).__name__
        what = f"has no method do_{tag}" if isinstance(tag, str) else f"was sent {tag!r}, which is no tag"
        report(UnknownTag(f"{name} {what}"))


class _Job(NamedTuple):
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class Worker(Actor[_Job], Executor):
    """An actor that calls functions, one after another, and returns their results as futures.

        with Worker() as worker:
            print(worker.submit(pow, 2, 3).result())

    It is a `concurrent.futures.Executor` with one thread: `map` is there, and `loop.run_in_executor` takes
    it. What a function raises is raised by `result()` and does not end the worker. What was submitted before
    a fork is done in the parent alone: in the child, such a future has no result.
    """

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Has `fn(*args, **kwargs)` called; its result or exception comes with the future.

        The future can be cancelled until then. Waits and raises as `send` does.
        """
        future: Future[R] = Future()
        self.send(_Job(future, fn, args, kwargs))
        return future

    def run(self) -> None:
        """Calls what was submitted."""
        while True:
            _work(self.recv())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Closes the worker, as every executor is ended: `close()`, and `join()` where it is to `wait`.

        With `cancel_futures`, what was not begun is cancelled; without a start that is all of it.
        """
        self.close()
        if cancel_futures or self._thread is None:
            self._abandon()
        if wait and self._thread is not None:
            self.join()

    def _abandon(self) -> None:
        """Cancels what will not be called: all of it, also where a callback of one raises SystemExit."""
        with contextlib.ExitStack() as futures:
            with contextlib.suppress(ShutDown):
                while True:
                    futures.callback(_cancel, self._mailbox.get_nowait().future)


def _cancel(future: Future[Any]) -> None:
    if future.cancel():
        future.set_running_or_notify_cancel()


def _work(job: _Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        result = job.function(*job.arguments, **job.keywords)
    except BaseException as error:
        job.future.set_exception(error)
        # The traceback has this frame: together with the future that would be a cycle.
        del job
    else:
        job.future.set_result(result)
