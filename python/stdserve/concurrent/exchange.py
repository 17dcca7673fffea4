"""Publish and subscribe: in this process, across the workers of one supervisor, and across machines.

An exchange without a name hands objects on as they are, within this process. One with a name carries messages
to every process that was forked from the same supervisor (or script), through memory that they share. One
with a name and a URL carries them through Redis. docs/exchange.md says what each promises.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from .._stdserve import Channel
from . import _forks
from ._attached import Feed, Hold, Task
from ._codec import Codec, Dumps, Loads
from ._reporting import report
from ._subscription import BURST, LocalReader, M, Missed, Source, Subscription

__all__ = ["Exchange", "Missed", "Subscription", "get_exchange"]

#: How many messages a subscriber to a nameless exchange may be behind, unless `subscribe` is told otherwise.
MAXSIZE = 1000
#: How long a sender waits for one in another process, in seconds: longer takes only one that was stopped.
PATIENCE = 1.0
#: Between two looks at it.
PAUSE = 0.01

T = TypeVar("T")


class _Carrier(Source, Protocol):
    """What carries the messages of a named exchange."""

    def send(self, payload: bytes, /) -> None: ...


class _Workers:
    """Carries messages across the processes that share memory."""

    def __init__(self, name: str) -> None:
        self._channel = in_turn(lambda: Channel(name))
        self.reader = self.spare = self.in_child = self._channel.reader

    def send(self, payload: bytes, /) -> None:
        try:
            self._channel.send(payload)
        except TimeoutError:
            in_turn(lambda: self._channel.send(payload))


def in_turn(write: Callable[[], T]) -> T:
    """Writes to shared memory when the process that is just writing is ready. TimeoutError: it was stopped.

    `write` waits some milliseconds only, as it holds the interpreter's lock; here other threads run on.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return write()
        except TimeoutError:
            if time.monotonic() >= end:
                raise
        time.sleep(PAUSE)


class Exchange(Generic[M]):
    """Messages for whoever is subscribed.

    `name`: the exchange of that name, in whatever process; without one it is an exchange of its own. `url`:
    of a Redis server that carries the messages (redis://, rediss://, unix://), with redis-py's options.
    `dumps` and `loads`: how messages become bytes and the other way round; without them bytes, str and what
    JSON says can be sent. All that use one name give the same.
    """

    def __init__(
        self,
        name: str | None = None,
        url: str | None = None,
        *,
        dumps: Dumps | None = None,
        loads: Loads | None = None,
    ) -> None:
        if name is None and (url, dumps, loads) != (None, None, None):
            raise TypeError("url, dumps and loads are for an exchange with a name")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"the name is a str, not {type(name).__name__}")
        if name == "":
            raise ValueError("the name is empty")
        self._name = name
        self._url = url
        self._inner: _Within | _Across
        if name is None:
            self._inner = _Within()
        else:
            codec = Codec(dumps, loads)
            carrier: _Carrier
            if url is None:
                carrier = _Workers(name)
            else:
                from ._redis import carrier_of

                carrier = carrier_of(name, url)
            self._inner = _Across(carrier, codec)

    @property
    def name(self) -> str | None:
        """Its name, or None."""
        return self._name

    def __repr__(self) -> str:
        # Without the URL, which may have a password in it.
        return f"<Exchange {self._name!r}{' over Redis' if self._url else ''}>"

    def send(self, message: M, /) -> None:
        """Sends a message to all who are subscribed now; never waits for any of them.

        TypeError: it is of a kind that cannot be sent. ValueError: it is too long. ConnectionError: the Redis
        server did not take it, or did not say that it has. TimeoutError: a process was stopped in the middle
        of a send.
        """
        self._inner.send(message)

    def attach(self, task: Task) -> None:
        """Calls `task.send(message)` for each message from now on: see docs/exchange.md for who calls it.

        What is attached already stays so, and is called once. TypeError: it has no `send()`.
        """
        _check_task(task)
        self._inner.attach(task)

    def detach(self, task: Task) -> None:
        """Calls `task` no more, however often it was attached. KeyError: it is not attached."""
        self._inner.detach(task)

    @overload
    def subscribe(self, *, maxsize: int | None = None, past: bool = False) -> Subscription[M]: ...
    @overload
    def subscribe(self, task: Task, /, *tasks: Task) -> AbstractContextManager[None]: ...
    def subscribe(
        self, *tasks: Task, maxsize: int | None = None, past: bool = False
    ) -> Subscription[M] | AbstractContextManager[None]:
        """A place of one's own in the messages from now on; or, with tasks, a context in which they are
        attached. A task of several such contexts is until the last of them ends.

        `maxsize`: how many messages it may be behind, 1,000 by default. For an exchange without a name; with
        a name it is what the memory of the exchanges holds. `past`: it begins with the oldest message that
        this memory, or Redis, still has. For an exchange with a name.
        """
        if tasks:
            if maxsize is not None or past:
                raise TypeError("maxsize and past are for a subscription without tasks")
            return self._attached(tasks)
        return cast("Subscription[M]", self._inner.subscribe(maxsize, past))

    @contextlib.contextmanager
    def _attached(self, tasks: tuple[Task, ...]) -> Iterator[None]:
        for task in tasks:
            _check_task(task)
        with contextlib.ExitStack() as stack:
            for task in tasks:
                self._inner.attach(task, True)
                stack.callback(self._inner.leave, task)
            yield


def _check_task(task: Task) -> None:
    """Each message would fail, far from the line that is wrong: a function, say, in the place of a task."""
    if not callable(getattr(task, "send", None)):
        raise TypeError(f"a task has a method send(message), and {type(task).__name__} has none")


class _Within:
    """The exchange of one process: objects as they are, tasks called by the sender."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # Replaced whole, so that senders need not hold the lock while they call.
        self._tasks: dict[Task, Hold] = {}
        self._readers: list[weakref.ref[LocalReader]] = []
        _forks.tell(self)

    def send(self, message: object) -> None:
        # One at a time, so that all subscriptions have the same order.
        with self._lock:
            tasks = self._tasks
            for reference in self._readers:
                reader = reference()
                if reader is not None:
                    reader.put(message)
        for task in tasks:
            if task not in self._tasks:  # by now
                continue
            try:
                task.send(message)
            except Exception as error:
                report(error)

    def attach(self, task: Task, block: bool = False) -> None:
        with self._lock:
            hold = self._tasks.get(task) or Hold()
            hold.add(block)
            self._tasks = {**self._tasks, task: hold}

    def leave(self, task: Task) -> None:
        with self._lock:
            if self._tasks[task].leave():
                self.detach(task)

    def detach(self, task: Task) -> None:
        with self._lock:
            tasks = self._tasks.copy()
            del tasks[task]
            self._tasks = tasks

    def subscribe(self, maxsize: int | None, past: bool) -> Subscription[Any]:
        if past:
            raise TypeError("past is for an exchange with a name: without one, messages are not kept")
        place = _Place(self, MAXSIZE if maxsize is None else maxsize)
        return Subscription(place, lambda message: message, 1)

    def add(self, reader: LocalReader) -> None:
        """Has it get what is sent from now on."""
        with self._lock:
            # Those that are gone are left out here, and not when they go: the collector may find them in a
            # thread that has the lock of a reader for which a sender waits, who has this one.
            there = [reference for reference in self._readers if reference() is not None]
            self._readers = [*there, weakref.ref(reader)]

    def before_fork(self) -> None:
        """Nothing: what it needs is made in the child."""

    def after_fork_in_parent(self) -> None:
        """Nothing."""

    def after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._readers = []


class _Place:
    """Where a subscription to an exchange of this process has its readers from."""

    def __init__(self, within: _Within, maxsize: int) -> None:
        self._within = within
        self._maxsize = maxsize

    def reader(self, past: bool = False, /) -> LocalReader:
        reader = LocalReader(self._maxsize)
        self._within.add(reader)
        return reader

    def spare(self) -> None:
        return None

    in_child = reader


class _Across:
    """The exchange of many processes: messages are bytes between them, and one thread calls the tasks."""

    def __init__(self, carrier: _Carrier, codec: Codec) -> None:
        self._carrier = carrier
        self._codec = codec
        self._feed = Feed(carrier, self._decode)

    def _decode(self, raw: bytes | tuple[int, bool]) -> Any:
        return Missed(*raw) if isinstance(raw, tuple) else self._codec.decode(raw)

    def send(self, message: object) -> None:
        self._carrier.send(self._codec.encode(message))

    def attach(self, task: Task, block: bool = False) -> None:
        self._feed.attach(task, block)

    def leave(self, task: Task) -> None:
        self._feed.leave(task)

    def detach(self, task: Task) -> None:
        self._feed.detach(task)

    def subscribe(self, maxsize: int | None, past: bool) -> Subscription[Any]:
        if maxsize is not None:
            raise TypeError("maxsize is for an exchange without a name")
        return Subscription(self._carrier, self._decode, BURST, past)


_exchanges: dict[tuple[str, str | None], Exchange[Any]] = {}


def get_exchange(name: str, url: str | None = None) -> Exchange[Any]:
    """The exchange of that name: the same object for the same name and URL in this process."""
    key = (name, url)
    # Without a lock, which a fork could find taken: of two that are made at once, one is kept.
    return _exchanges.get(key) or _exchanges.setdefault(key, Exchange(name, url))
