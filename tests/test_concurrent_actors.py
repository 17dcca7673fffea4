"""`stdserve.concurrent`: `Actor`, `TaggedActor` and `Worker`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from typing import Any

import pytest
from stdserve.concurrent import (
    Actor,
    ActorClosed,
    ActorExit,
    ActorFailed,
    Empty,
    Exchange,
    Full,
    TaggedActor,
    UnknownTag,
    Worker,
)

from support.waiting import PATIENCE, until


class Collector(Actor[Any]):
    """Keeps what it is sent; raises what is an exception; calls what can be called."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.received: list[Any] = []

    def run(self) -> None:
        while True:
            message = self.recv()
            if isinstance(message, BaseException):
                raise message
            self.received.append(message() if callable(message) else message)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[threading.ExceptHookArgs]:
    """What was reported by `threading.excepthook`."""
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    return seen


@pytest.mark.timeout(900)  # of a machine that does much else
def test_a_million_messages_arrive_in_their_order() -> None:
    many = 1_000_000

    class Counter(Actor[int]):
        following = 0

        def run(self) -> None:
            while True:
                assert self.recv() == self.following
                self.following += 1

    with Counter() as counter:
        for number in range(many):
            counter.send(number)
    assert counter.following == many


def test_messages_of_many_threads_arrive_each_in_its_order() -> None:
    senders, each = 8, 2_000
    with Collector(5) as collector:

        def send(who: int) -> None:
            for number in range(each):
                collector.send((who, number))

        threads = [threading.Thread(target=send, args=(who,)) for who in range(senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for who in range(senders):
        assert [number for sender, number in collector.received if sender == who] == list(range(each))


def test_closing_lets_be_received_what_was_sent_before() -> None:
    collector = Collector()
    collector.send(1)
    collector.send(2)
    assert not collector.is_alive()
    collector.close()
    collector.close()
    with pytest.raises(ActorClosed, match="Collector has ended"):
        collector.send(3)
    collector.start()
    assert collector.join()
    assert collector.received == [1, 2]
    assert not collector.is_alive()
    with pytest.raises(ActorExit):
        collector.recv()


def test_closing_a_full_actor_does_not_wait() -> None:
    collector = Collector(1)
    collector.send(1)
    collector.close()
    collector.start()
    collector.join()
    assert collector.received == [1]


def test_an_actor_is_joined_for_a_time_and_says_that_it_is_closed() -> None:
    goes_on = threading.Event()
    with Collector() as collector:
        collector.send(goes_on.wait)
        assert collector.join(0.001) is False
        collector.close()
        with pytest.raises(ActorClosed, match="Collector is closed"):
            collector.send(1)
        goes_on.set()
    assert collector.join() is True
    assert collector.received == [True]


def test_what_is_done_in_the_wrong_order_says_so(reports: list[threading.ExceptHookArgs]) -> None:
    collector = Collector(name="the one")
    with pytest.raises(RuntimeError, match="the one was not started"):
        collector.join()
    collector.start()
    with pytest.raises(RuntimeError, match="the one was started before"):
        collector.start()
    collector.send(collector.join)
    with pytest.raises(ActorFailed, match="cannot join current thread"):
        collector.join()
    assert len(reports) == 1


def test_a_full_mailbox_lets_wait_or_raises() -> None:
    collector = Collector(1)
    collector.send(1)
    with pytest.raises(Full):
        collector.send(2, timeout=0)
    with pytest.raises(Full):
        collector.send(2, timeout=0.001)
    with pytest.raises(ValueError, match="non-negative"):
        collector.send(2, timeout=-1)
    with collector:
        collector.send(2)
    assert collector.received == [1, 2]


def test_an_actor_sends_to_itself_and_does_not_wait_for_itself() -> None:
    collector = Collector(1)
    tried: list[object] = []

    def send_twice() -> None:
        collector.send("first")
        try:
            collector.send("second")
        except Full as error:
            tried.append(type(error))
        collector.close()

    collector.start()
    collector.send(send_twice)
    collector.join()
    assert tried == [Full]
    assert collector.received == [None, "first"]


def test_recv_has_a_time_out() -> None:
    collector = Collector()
    for timeout in (0, 0.001):
        with pytest.raises(Empty):
            collector.recv(timeout)
    collector.send(1)
    assert collector.recv(timeout=0) == 1


def test_an_exception_is_reported_and_told_and_nothing_can_be_sent(
    reports: list[threading.ExceptHookArgs],
) -> None:
    collector = Collector()
    error = ValueError("no more")
    gone = weakref.ref(left := Collector())
    collector.send(error)
    collector.send(left)
    del left
    collector.start()
    with pytest.raises(ActorFailed, match="Collector was ended by ValueError") as failed:
        collector.join()
    assert failed.value.__cause__ is error
    with pytest.raises(ActorClosed, match="Collector was ended by ValueError") as closed:
        collector.send(1)
    assert closed.value.__cause__ is error
    (report,) = reports
    assert (report.exc_type, report.exc_value) == (ValueError, error)
    assert report.thread is not None
    assert report.thread.name == "Collector"
    assert collector.mailbox.qsize() == 0
    gc.collect()
    assert gone() is None


def test_an_exit_ends_an_actor_quietly(reports: list[threading.ExceptHookArgs]) -> None:
    collector = Collector()
    collector.start()
    collector.send(SystemExit())
    assert collector.join()
    with pytest.raises(ActorClosed, match="has ended"):
        collector.send(1)
    assert not reports


def test_with_an_actor_that_failed_the_block_says_what_was_first(
    reports: list[threading.ExceptHookArgs],
) -> None:
    with pytest.raises(ActorFailed), Collector() as collector:
        collector.send(ValueError())

    def fails() -> None:
        with Collector() as collector:
            collector.send(ValueError())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert len(reports) == 2


def test_without_run_an_actor_says_so(reports: list[threading.ExceptHookArgs]) -> None:
    with pytest.raises(ActorFailed, match=r"Actor has no run\(\)"), Actor[int]():
        pass
    assert len(reports) == 1


def test_a_thread_that_cannot_be_had_leaves_the_actor_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("can't start new thread")

    collector = Collector()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        with pytest.raises(RuntimeError, match="can't start"):
            collector.start()
    with collector:
        collector.send(1)
    assert collector.received == [1]


def test_a_start_that_a_signal_interrupts_begins_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while `start()` waits for the thread, which runs already."""
    wait, here = threading.Event.wait, threading.current_thread()

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is not here:
            return wait(event, timeout)
        monkeypatch.undo()
        wait(event, timeout)
        raise KeyboardInterrupt

    class Teller(Collector):
        def run(self) -> None:
            threads.append(threading.current_thread())
            super().run()

    threads: list[threading.Thread] = []
    actor = Teller()
    monkeypatch.setattr(threading.Event, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        actor.start()
    # It may run, or may not have come so far and be started again: but once.
    with contextlib.suppress(RuntimeError):
        actor.start()
    actor.send("heard")
    actor.close()
    assert actor.join(PATIENCE)
    assert actor.received == ["heard"]
    assert len(threads) == 1


def test_an_actor_is_attached_to_an_exchange() -> None:
    exchange = Exchange[Any]()
    with Collector() as collector:
        with exchange.subscribe(collector):
            exchange.send("heard")
        exchange.send("not heard")
    assert collector.received == ["heard"]


class Tagged(TaggedActor):
    """Notes its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def do_note(self, *arguments: Any) -> None:
        self.calls.append(arguments)


def test_tags_choose_the_method() -> None:
    with Tagged() as tagged:
        tagged.send(("note", 1, 2))
        tagged.send(["note", [3]])
        tagged.send("note")
    assert tagged.calls == [(1, 2), ([3],), ()]


def test_unknown_tags_are_reported_and_do_not_end_the_actor(reports: list[threading.ExceptHookArgs]) -> None:
    with Tagged() as tagged:
        for message in (("away", 1), (), 3, (None, 1), "__init__"):
            tagged.send(message)
        tagged.send("note")
    assert tagged.calls == [()]
    assert {report.exc_type for report in reports} == {UnknownTag}
    assert [str(report.exc_value) for report in reports] == [
        "Tagged has no method do_away",
        "Tagged was sent (), which is no tag",
        "Tagged was sent 3, which is no tag",
        "Tagged was sent None, which is no tag",
        "Tagged has no method do___init__",
    ]


def test_unknown_tags_can_be_dealt_with() -> None:
    class Lenient(Tagged):
        def unknown(self, tag: Any, *arguments: Any) -> None:
            self.calls.append((tag, arguments))

    with Lenient() as lenient:
        lenient.send(("away", 1))
    assert lenient.calls == [("away", (1,))]


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


def test_a_worker_returns_results_and_exceptions(worker: Worker) -> None:
    assert worker.submit(divmod, 7, 2).result() == (3, 1)
    assert worker.submit(dict, one=1).result() == {"one": 1}
    failed = worker.submit(divmod, 7, 0)
    with pytest.raises(ZeroDivisionError):
        failed.result()
    for error in (SystemExit, ActorExit, KeyboardInterrupt):

        def fails(error: type[BaseException] = error) -> None:
            raise error

        assert isinstance(worker.submit(fails).exception(), error)
    assert list(worker.map(abs, [-1, -2])) == [1, 2]
    assert isinstance(worker, Executor)

    async def from_a_loop() -> object:
        return await asyncio.get_running_loop().run_in_executor(worker, threading.get_ident)

    assert asyncio.run(from_a_loop()) == worker.submit(threading.get_ident).result()


def blocked(worker: Worker) -> tuple[threading.Event, Future[bool]]:
    """Has the worker wait for an event."""
    goes_on, runs = threading.Event(), threading.Event()

    def wait() -> bool:
        runs.set()
        return goes_on.wait(60)

    future = worker.submit(wait)
    assert runs.wait(60)
    return goes_on, future


def test_what_has_not_begun_can_be_cancelled(worker: Worker) -> None:
    goes_on, running = blocked(worker)
    waiting = worker.submit(os._exit, 9)
    assert waiting.cancel()
    assert not running.cancel()
    goes_on.set()
    assert running.result() is True
    assert waiting.cancelled()


@pytest.mark.parametrize("cancel", [False, True])
def test_a_worker_is_shut_down_as_any_executor(worker: Worker, cancel: bool) -> None:
    goes_on, running = blocked(worker)
    waiting = worker.submit(abs, -1)
    worker.shutdown(wait=False, cancel_futures=cancel)
    with pytest.raises(RuntimeError, match="Worker is closed"):
        worker.submit(abs, -1)
    goes_on.set()
    worker.shutdown()
    assert running.result() is True
    assert waiting.cancelled() == cancel
    Worker().shutdown()


def test_what_a_dead_worker_leaves_is_cancelled(reports: list[threading.ExceptHookArgs]) -> None:
    class Mortal(Worker):
        def recv(self, timeout: float | None = None) -> Any:
            super().recv(timeout)
            raise MemoryError

    worker = Mortal()
    futures = [worker.submit(abs, -1) for _ in range(3)]
    worker.start()
    done, _ = wait_for(futures[1:], timeout=60)
    assert len(done) == 2
    for future in futures[1:]:
        with pytest.raises(CancelledError):
            future.result()
    assert len(reports) == 1


def test_a_worker_that_never_started_leaves_nobody_waiting() -> None:
    worker = Worker()
    future = worker.submit(abs, -1)
    worker.shutdown()
    assert future.cancelled()


def test_a_callback_that_exits_does_not_keep_the_others_from_being_cancelled() -> None:
    worker = Worker()
    futures = [worker.submit(abs, -1) for _ in range(3)]
    for future in futures:
        future.add_done_callback(lambda _: sys.exit("by the callback"))
    with pytest.raises(SystemExit, match="by the callback"):
        worker.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)


def test_a_worker_keeps_nothing_of_what_it_has_done(worker: Worker) -> None:
    class Thing:
        def fails(self) -> None:
            raise ValueError("it fails")

    thing = Thing()
    gone = weakref.ref(thing)
    gc.disable()
    try:
        future: Future[None] | None = worker.submit(thing.fails)
        assert future is not None
        with pytest.raises(ValueError, match="it fails"):
            future.result()
        del thing
        future = None
        worker.submit(abs, 1).result()
        until(lambda: gc.collect() >= 0 and gone() is None, "it is let go of")
    finally:
        gc.enable()


def test_a_signal_handler_sends_to_an_actor_that_it_interrupts() -> None:
    collector = Collector()
    sent = 0

    def send(*_: object) -> None:
        nonlocal sent
        collector.send("signal")
        sent += 1

    handler: Any = signal.signal(signal.SIGALRM, send)
    raiser: Callable[[int], None] = signal.raise_signal
    try:
        with collector:
            for number in range(2_000):
                collector.send(number)
                if number % 10 == 0:
                    raiser(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert collector.received.count("signal") == sent == 200
    assert [message for message in collector.received if message != "signal"] == list(range(2_000))
