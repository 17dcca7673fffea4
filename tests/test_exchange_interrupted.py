"""Exchange, interrupted: a signal's handler, the collector or a fork comes in the middle of a call."""

from __future__ import annotations

import collections
import contextlib
import gc
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any

import pytest
from stdserve.concurrent import Exchange, Missed, ShutDown, Subscription, _forks, _subscription

from support.exchanges import new
from support.signals import signalled
from support.waiting import PATIENCE, until


@pytest.mark.parametrize("kind", ["nameless", "named"])
def test_ctrl_c_ends_a_waiting_get(kind: str) -> None:
    """As it ends every wait of Python's."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    here = threading.get_ident()

    def in_get() -> bool:
        frame: FrameType | None = sys._current_frames()[here]
        while frame is not None and frame.f_code is not Subscription.get.__code__:
            frame = frame.f_back
        return frame is not None

    def get_for_ever() -> None:
        with signalled(interrupt, lambda: until(in_get, "it waits")):
            subscription.get()

    with new(kind).subscribe() as subscription, pytest.raises(KeyboardInterrupt):
        get_for_ever()


def test_the_collector_in_a_reader_waits_for_no_sender() -> None:
    """A subscription in a cycle is collected by a thread with a reader's lock, for which a sender waits."""
    exchange = Exchange[int]()
    subscription = exchange.subscribe()
    cycle: list[Any] = [exchange.subscribe()]
    cycle.append(cycle)
    sender = threading.Thread(target=exchange.send, args=(1,), daemon=True)

    def sends() -> bool:
        if free := exchange._inner._lock.acquire(blocking=False):  # type: ignore[union-attr]
            exchange._inner._lock.release()  # type: ignore[union-attr]
        return not free

    def collect() -> None:
        nonlocal cycle
        with subscription._reader._lock:  # type: ignore[attr-defined]
            sender.start()
            until(sends, "the sender waits for the reader")
            del cycle
            gc.collect()

    collector = threading.Thread(target=collect, daemon=True)
    collector.start()
    collector.join(PATIENCE)
    assert not collector.is_alive()
    assert subscription.get(PATIENCE) == 1


def test_a_sender_finds_no_subscription_whose_descriptor_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While `__del__` ran it found it still, and wrote to whatever had the number by then."""
    exchange = Exchange[str]()
    subscription, other = exchange.subscribe(), exchange.subscribe()
    mine, close = subscription.fileno(), os.close
    sent = []

    def closing(descriptor: int) -> None:
        close(descriptor)
        if descriptor == mine:
            exchange.send("late")
            sent.append("late")

    monkeypatch.setattr(os, "close", closing)
    del subscription
    gc.collect()
    monkeypatch.undo()
    assert sent == ["late"]
    assert other.get_nowait() == "late"


def test_what_a_signal_handler_sends_while_the_last_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes the descriptor readable, in whatever moment it comes."""
    exchange = Exchange[str]()
    read = os.eventfd_read

    def interrupted(descriptor: int) -> int:
        count = read(descriptor)
        exchange.send("by the handler")
        return count

    with exchange.subscribe() as subscription:
        subscription.fileno()
        exchange.send("first")
        monkeypatch.setattr(os, "eventfd_read", interrupted)
        assert subscription.get_nowait() == "first"
        monkeypatch.undo()
        assert select.select([subscription], [], [], 0)[0] == [subscription]
        assert subscription.get_nowait() == "by the handler"
        assert select.select([subscription], [], [], 0)[0] == []


@pytest.mark.parametrize("kind", ["nameless", "named"])
def test_a_signal_handler_in_the_middle_of_a_get(kind: str) -> None:
    """It is told that it cannot get, and the thread has its messages all the same."""
    exchange, told = new(kind), []
    subscription = exchange.subscribe()
    for number in range(3):
        exchange.send(number)

    class Interrupted:
        """The reader, in whose `take` the handler runs when all is taken."""

        def __init__(self, reader: Any, handler: Any) -> None:
            self._reader, self._handler = reader, handler

        def __getattr__(self, name: str) -> Any:
            return getattr(self._reader, name)

        def take(self, most: int = 1) -> list[Any]:
            taken: list[Any] = self._reader.take(most)
            self._handler()
            return taken

    def get() -> None:
        with pytest.raises(RuntimeError, match="signal's handler"):
            subscription.get_nowait()
        told.append("cannot")

    reader: Any = subscription._reader
    subscription._reader = Interrupted(reader, get)
    assert [subscription.get_nowait() for _ in range(3)] == [0, 1, 2]
    assert told
    subscription.close()


@pytest.mark.parametrize("done", ["close", "get"])
def test_a_signal_handler_that_empties_a_full_subscription_in_the_middle_of_a_send(done: str) -> None:
    """Between that it is found full and that the oldest message gives way."""
    exchange = new("nameless")
    subscription = exchange.subscribe(maxsize=2)
    handlers = [subscription.close if done == "close" else subscription.get_nowait] * 2

    class Emptied(collections.deque[Any]):
        def __len__(self) -> int:
            length = super().__len__()
            if length == 2:
                now = handlers.copy()
                handlers.clear()
                for handler in now:
                    handler()
            return length

    reader: Any = subscription._reader
    reader._items = Emptied()
    for number in range(4):
        exchange.send(number)
    assert not handlers
    if done == "get":
        assert [subscription.get_nowait() for _ in range(2)] == [2, 3]


def test_what_is_lost_by_a_signal_handler_in_the_middle_of_a_get_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It sends while the thread is just told of what was lost before."""
    exchange = new("nameless")
    with exchange.subscribe(maxsize=1) as subscription:
        exchange.send(1)
        exchange.send(2)

        def interrupted(count: int) -> Missed:
            monkeypatch.undo()
            exchange.send(3)
            return Missed(count)

        monkeypatch.setattr(_subscription, "Missed", interrupted)
        got = [subscription.get_nowait() for _ in range(3)]
    assert got == [Missed(1), Missed(1), 3]


@pytest.mark.parametrize("kind", ["nameless", "named"])
def test_a_closed_subscription_that_another_thread_looked_at_when_forked(kind: str) -> None:
    """Its lock is held by a thread that the child does not have."""
    subscription = new(kind).subscribe()
    subscription.close()
    held, forked = threading.Event(), threading.Event()

    def look() -> None:
        with subscription._lock:
            held.set()
            forked.wait(PATIENCE)

    thread = threading.Thread(target=look)
    thread.start()
    held.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(round(PATIENCE))
        try:
            subscription.close()
            subscription.get_nowait()
        except ShutDown:
            os._exit(0)
        finally:
            os._exit(1)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_a_signal_handler_that_closes_in_the_middle_of_a_get() -> None:
    """Between that messages are taken in advance and that the first of them is handed out."""
    exchange = new("named")
    subscription = exchange.subscribe()

    class Closing(collections.deque[Any]):
        def extend(self, taken: Iterable[Any]) -> None:
            super().extend(taken)
            subscription.close()

    subscription._ready = Closing()
    exchange.send(1)
    exchange.send(2)
    for _ in range(2):
        with pytest.raises(ShutDown):
            subscription.get_nowait()


def test_one_object_that_fails_at_a_fork_keeps_it_from_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and the others are made ready all the same."""
    reported: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda details: reported.append(details.exc_value))

    class Failing:
        def before_fork(self) -> None:
            raise MemoryError

        after_fork_in_parent = after_fork_in_child = before_fork

    failing = Failing()
    _forks.tell(failing)
    exchange = Exchange[int]()
    exchange._inner._lock.acquire()  # type: ignore[union-attr]
    pid = os.fork()
    if pid == 0:
        free = False
        with contextlib.suppress(BaseException):
            free = exchange._inner._lock._is_owned() is False  # type: ignore[union-attr]
        os._exit(0 if free and len(reported) == 2 else 1)
    exchange._inner._lock.release()  # type: ignore[union-attr]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [type(error) for error in reported] == [MemoryError, MemoryError]


def test_a_signal_that_interrupts_the_first_attach_leaves_one_thread() -> None:
    """Ctrl-C comes while the thread of all tasks, which runs already, is waited for."""
    program = """
import threading
from stdserve.concurrent import Exchange, PollableQueue

def interrupted(event, timeout=None):
    threading.Event.wait = wait
    wait(event, timeout)
    raise KeyboardInterrupt

class Task:
    def __init__(self):
        self.got = PollableQueue()

    def send(self, message):
        self.got.put((message, threading.get_ident()))

chat, first, second = Exchange("chat"), Task(), Task()
wait, threading.Event.wait = threading.Event.wait, interrupted
try:
    chat.attach(first)
except KeyboardInterrupt:
    print("interrupted")
chat.attach(second)
for number in range(1000):
    chat.send(number)
got = [second.got.get(timeout=60) for _ in range(1000)]
serving = {thread for _, thread in got}
others = [one for one in threading.enumerate()[1:] if one.ident not in serving]
for one in others:
    one.join(10)
left = [one for one in others if one.is_alive()]
print([number for number, _ in got] == list(range(1000)), len(serving), left)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE * 3
    )
    assert (done.stdout, done.stderr) == ("interrupted\nTrue 1 []\n", "")
