"""`stdserve.concurrent.PollableQueue`: a `queue.Queue`, with a descriptor."""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import linecache
import os
import queue
import random
import selectors
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from stdserve.concurrent import Empty, Full, PollableQueue, ShutDown

from support.signals import signalled
from support.waiting import until

BOUNDED = settings(max_examples=60, stateful_step_count=30, deadline=None)
NOTHING: Any = object()
#: `block` and `timeout`, of calls that do not wait.
HOW = st.sampled_from([(False,), (False, -1), (True, 0), (True, -1), (True, 1e-4)])


def readable(pollable: PollableQueue[Any]) -> bool:
    """Whether the descriptor is readable; and its counter says the same, so that no write was in vain."""
    with selectors.DefaultSelector() as selector:
        selector.register(pollable, selectors.EVENT_READ)
        ready = bool(selector.select(0))
    info = Path(f"/proc/self/fdinfo/{pollable.fileno()}").read_text()
    (count,) = (line.split()[1] for line in info.splitlines() if line.startswith("eventfd-count:"))
    assert int(count, 16) == ready
    return ready


class Reference(queue.Queue[Any]):
    """`queue.Queue` with what 3.13 added, on every version. For one thread: nobody waits."""

    is_shutdown = False

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if self.is_shutdown:
            raise ShutDown
        super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if self.is_shutdown and self.empty():
            raise ShutDown
        return super().get(block, timeout)

    def shutdown(self, immediate: bool = False) -> None:
        self.is_shutdown = True
        while immediate and not self.empty():
            super().get()
            if self.unfinished_tasks > 0:
                self.unfinished_tasks -= 1


class SameAsTheStandardLibrary(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.ours: PollableQueue[Any] = PollableQueue()
        self.theirs = Reference()

    def both(self, call: Callable[[Any], object]) -> None:
        outcomes: list[object] = []
        for one in (self.ours, self.theirs):
            try:
                outcomes.append(call(one))
            except (Full, Empty, ShutDown, ValueError) as error:
                outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]

    @rule(maxsize=st.integers(-1, 4))
    def resize(self, maxsize: int) -> None:
        self.ours.maxsize = self.theirs.maxsize = maxsize

    @rule(item=st.integers(), how=HOW)
    def put(self, item: int, how: tuple[Any, ...]) -> None:
        self.both(lambda one: one.put(item, *how))

    @rule(how=HOW)
    def get(self, how: tuple[Any, ...]) -> None:
        self.both(lambda one: one.get(*how))

    @rule(item=st.integers())
    def put_nowait(self, item: int) -> None:
        self.both(lambda one: one.put_nowait(item))

    @rule()
    def get_nowait(self) -> None:
        self.both(lambda one: one.get_nowait())

    @rule()
    def task_done(self) -> None:
        self.both(lambda one: one.task_done())

    @precondition(lambda self: self.theirs.unfinished_tasks == 0)
    @rule()
    def join(self) -> None:
        self.both(lambda one: one.join())

    @precondition(lambda self: len(self.theirs.queue) > 2)
    @rule(immediate=st.booleans())
    def shut_down(self, immediate: bool) -> None:
        self.both(lambda one: one.shutdown(immediate))

    @invariant()
    def they_look_alike(self) -> None:
        for look in ("qsize", "empty", "full"):
            self.both(methodcaller(look))
        for name in ("maxsize", "unfinished_tasks", "is_shutdown"):
            self.both(attrgetter(name))

    @invariant()
    def readable_while_there_is_something(self) -> None:
        assert readable(self.ours) == (self.theirs.is_shutdown or not self.theirs.empty())


TestSameAsTheStandardLibrary = SameAsTheStandardLibrary.TestCase
TestSameAsTheStandardLibrary.settings = BOUNDED


class Waiter:
    """A waiting call as `queues._patiently` makes it, one step at a time."""

    def __init__(self, attempt: Callable[[threading.Lock | None], bool]) -> None:
        self.attempt = attempt
        self.lock = threading.Lock()
        self.lock.acquire()
        self._woken = False

    @property
    def woken(self) -> bool:
        """Whether it is on its way to look again."""
        self._woken = self._woken or self.lock.acquire(False)
        return self._woken

    def looks(self) -> bool:
        """Whether it is done. If not, it waits in line now."""
        self._woken = False
        return self.attempt(self.lock)


class Waiting:
    """A queue, and calls that wait for its items and for room."""

    def __init__(self, maxsize: int, most_waiters: int) -> None:
        self.queue: PollableQueue[int] = PollableQueue(maxsize)
        self.most_waiters = most_waiters
        self.getters: list[Waiter] = []
        self.putters: list[Waiter] = []
        self.expected: deque[int] = deque()
        self.sent = 0

    def put(self, waiter: threading.Lock | None = None) -> bool:
        if not self.queue._offer(self.sent, waiter):
            return False
        self.expected.append(self.sent)
        self.sent += 1
        return True

    def take(self, waiter: threading.Lock | None = None) -> bool:
        item = self.queue._take(NOTHING, waiter)
        if item is NOTHING:
            return False
        assert item == self.expected.popleft()
        return True

    def steps(self) -> dict[str, Callable[[], object]]:
        """What may happen next."""
        steps: dict[str, Callable[[], object]] = {"put": self.put, "take": self.take}
        for name, line, attempt in (("getter", self.getters, self.take), ("putter", self.putters, self.put)):
            if len(line) < self.most_waiters:
                steps[f"{name} comes"] = partial(self.comes, line, attempt)
            for place, waiter in enumerate(line):
                if waiter.woken:
                    steps[f"{name} {place} looks"] = partial(self.looks, line, waiter)
                steps[f"{name} {place} gives up"] = partial(self.leaves, line, waiter)
                steps[f"{name} {place} is late"] = partial(self.looks_last, line, waiter)
        return steps

    def comes(self, line: list[Waiter], attempt: Callable[[threading.Lock | None], bool]) -> None:
        line.append(Waiter(attempt))
        self.looks(line, line[-1])

    def looks(self, line: list[Waiter], waiter: Waiter) -> None:
        if waiter.looks():
            self.leaves(line, waiter)

    def looks_last(self, line: list[Waiter], waiter: Waiter) -> None:
        waiter.attempt(None)
        self.leaves(line, waiter)

    def leaves(self, line: list[Waiter], waiter: Waiter) -> None:
        line.remove(waiter)
        self.queue._leave(waiter.lock)

    def state(self) -> object:
        """All that matters for what comes next, as far as it can be seen."""
        waiters = [[waiter.woken for waiter in line] for line in (self.getters, self.putters)]
        return self.queue.qsize(), *map(tuple, waiters)

    def check(self) -> None:
        """For each item someone is on the way, and for each place."""
        items = self.queue.qsize()
        for line, what in ((self.getters, items), (self.putters, self.queue.maxsize - items)):
            assert sum(waiter.woken for waiter in line) >= min(len(line), what)


@pytest.mark.parametrize("maxsize", [1, 2])
def test_no_wake_up_is_lost_in_whatever_order_calls_are_woken_overtaken_and_give_up(maxsize: int) -> None:
    seen: set[object] = set()
    ways: deque[tuple[str, ...]] = deque([()])
    while ways:
        way = ways.popleft()
        waiting = Waiting(maxsize, most_waiters=3)
        for step in way:
            waiting.steps()[step]()
        try:
            waiting.check()
        except AssertionError as error:
            raise AssertionError(f"after {way}") from error
        state = waiting.state()
        if state not in seen:
            seen.add(state)
            ways.extend((*way, step) for step in waiting.steps())
    # Items times what each of the waiters may be.
    assert len(seen) > 50


@pytest.mark.parametrize("what", ["item", "room"])
def test_woken_in_vain_each_keeps_its_place(what: str) -> None:
    waiting = Waiting(2, most_waiters=3)
    if what == "room":
        waiting.put()
        waiting.put()
        attempt, serve, overtake = waiting.put, waiting.take, waiting.put
    else:
        attempt, serve, overtake = waiting.take, waiting.put, waiting.take
    line = [Waiter(attempt) for _ in range(3)]
    assert not any(waiter.looks() for waiter in line)
    for _ in range(2):
        assert serve()
        assert serve()
        assert [waiter.woken for waiter in line] == [True, True, False]
        assert overtake()
        assert overtake()
        assert not line[1].looks()
        assert not line[0].looks()


def test_raising_maxsize_wakes_as_many_as_there_is_room_for() -> None:
    waiting = Waiting(1, most_waiters=3)
    waiting.put()
    line = [Waiter(waiting.put) for _ in range(3)]
    assert not any(waiter.looks() for waiter in line)
    waiting.queue.maxsize = 3
    assert [waiter.woken for waiter in line] == [True, True, False]
    waiting.queue.maxsize = 0
    assert [waiter.woken for waiter in line] == [True, True, True]


def waits(thread: threading.Thread) -> bool:
    """Whether the thread waits in a queue: for its lock, and not for the interpreter's on its way there."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None or frame.f_code.co_name != "_patiently":
        return False
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    state = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    # In the loop, where it stands in line: before that it makes the lock.
    return "waiter.acquire(" in line and line.startswith(" " * 12) and state == "S"


@contextlib.contextmanager
def in_thread(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """Runs a call that waits in a thread, which has to be done at the end; its result or what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(type(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until(lambda: waits(thread), "it waits")
    yield outcome
    thread.join(30)
    assert not thread.is_alive()


def test_who_waits_is_woken_by_what_it_waits_for() -> None:
    pollable = PollableQueue[int](1)
    with in_thread(pollable.get) as got:
        pollable.put(1)
    with in_thread(lambda: pollable.get(timeout=600)) as got_in_time:
        pollable.put(2)
    assert (got, got_in_time) == ([1], [2])
    pollable.put(3)
    with in_thread(lambda: pollable.put(4)) as put:
        assert pollable.get() == 3
    assert put == [None]
    with in_thread(lambda: pollable.put(5, timeout=600)) as put:
        pollable.maxsize = 0
    assert put == [None]
    assert [pollable.get(), pollable.get()] == [4, 5]
    with in_thread(pollable.join) as joined:
        for _ in range(5):
            pollable.task_done()
    assert joined == [None]


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_everyone(immediate: bool) -> None:
    pollable = PollableQueue[int](1)
    with in_thread(pollable.get) as got, in_thread(lambda: pollable.get(timeout=600)) as got_in_time:
        pollable.shutdown(immediate)
    assert got == got_in_time == [ShutDown]
    pollable = PollableQueue[int](1)
    pollable.put(1)
    with in_thread(lambda: pollable.put(2)) as put, in_thread(pollable.join) as joined:
        pollable.shutdown(immediate)
        if not immediate:
            assert pollable.get() == 1
            pollable.task_done()
    assert put == [ShutDown]
    assert joined == [None]
    assert readable(pollable)


def test_nothing_is_lost_or_doubled_between_many_threads() -> None:
    threads, each = 8, 2_000
    pollable = PollableQueue[tuple[int, int]](7)
    pollable.fileno()
    taken: list[list[tuple[int, int]]] = [[] for _ in range(threads)]

    def produce(number: int) -> None:
        chance = random.Random(number)
        for count in range(each):
            while True:
                try:
                    pollable.put((number, count), chance.random() < 0.9, chance.choice([None, 1e-4, 1e-5]))
                    break
                except Full:
                    pass

    def consume(into: list[tuple[int, int]]) -> None:
        chance = random.Random(id(into))
        while True:
            try:
                into.append(pollable.get(chance.random() < 0.9, chance.choice([None, 1e-4, 1e-5])))
                pollable.task_done()
            except Empty:
                pass
            except ShutDown:
                return

    consumers = [threading.Thread(target=consume, args=(into,)) for into in taken]
    producers = [threading.Thread(target=produce, args=(number,)) for number in range(threads)]
    for thread in consumers + producers:
        thread.start()
    for thread in producers:
        thread.join()
    pollable.join()
    pollable.shutdown()
    for thread in consumers:
        thread.join()
    everything = sorted(item for into in taken for item in into)
    assert everything == [(number, count) for number in range(threads) for count in range(each)]
    # What one producer has put comes in its order.
    for into in taken:
        for number in range(threads):
            counts = [count for who, count in into if who == number]
            assert counts == sorted(counts)


def signalled_while_it_waits(handler: Callable[[], object]) -> AbstractContextManager[None]:
    """`handler` is called for a signal that comes once this thread waits."""
    main = threading.current_thread()
    return signalled(handler, lambda: until(lambda: waits(main), "it waits"))


def test_an_interrupted_wait_leaves_nothing_behind() -> None:
    pollable = PollableQueue[int]()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with signalled_while_it_waits(interrupt), pytest.raises(KeyboardInterrupt):
        pollable.get()
    with in_thread(pollable.get) as got:
        pollable.put(1)
    assert got == [1]
    assert not readable(pollable)


def test_a_signal_handler_may_put_into_the_queue_that_the_thread_waits_for() -> None:
    pollable = PollableQueue[int]()
    with signalled_while_it_waits(lambda: pollable.put(1)):
        assert pollable.get(timeout=60) == 1


def test_an_item_may_use_the_queue_when_it_is_let_go_of() -> None:
    pollable = PollableQueue[Any]()
    sizes: list[int] = []

    class Item:
        def __del__(self) -> None:
            sizes.append(pollable.qsize())

    pollable.put(Item())
    pollable.put(Item())
    pollable.put(Item())
    pollable.get()  # nothing of it is left behind
    assert sizes == [2]
    pollable.shutdown(immediate=True)
    assert sizes == [2, 0, 0]


def test_the_collector_may_put_while_a_thread_puts() -> None:
    pollable = PollableQueue[int]()
    numbers = itertools.count()
    taken: list[int] = []

    class Circular:
        def __init__(self) -> None:
            self.circular = self

        def __del__(self) -> None:
            pollable.put(next(numbers))

    while not taken or taken[-1] < 5_000:
        Circular()
        pollable.put(next(numbers))
        taken.append(pollable.get())
    while not pollable.empty():
        taken.append(pollable.get())
    assert sorted(taken) == list(range(len(taken)))


def test_a_queue_in_a_cycle_is_collected_and_its_descriptor_closed() -> None:
    class Sub(PollableQueue[Any]):
        def __init__(self, *, name: str) -> None:
            super().__init__(maxsize=2)
            self.name = name

    pollable = Sub(name="cycle")
    assert pollable.maxsize == 2
    pollable.put(pollable)
    link, gone = f"/proc/self/fd/{pollable.fileno()}", weakref.ref(pollable)
    assert "eventfd" in os.readlink(link)
    del pollable
    gc.collect()
    assert gone() is None
    assert not os.path.lexists(link)


def test_it_is_neither_copied_nor_called_what_it_is_not() -> None:
    with pytest.raises(TypeError):
        copy.copy(PollableQueue[int]())
    assert PollableQueue(maxsize=3).maxsize == 3
    assert not isinstance(PollableQueue[int](), queue.Queue)
    with pytest.raises(TypeError):
        PollableQueue("3")  # type: ignore[arg-type]
    assert getattr(queue, "ShutDown", ShutDown) is ShutDown
