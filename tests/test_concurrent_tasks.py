"""stdserve.concurrent.TaskScheduler: tasks, who gives orders to them, and how they end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from stdserve.concurrent import (
    Task,
    TaskCancelled,
    TaskScheduler,
    readable,
    sleep,
    within,
    writable,
)

from support import proc
from support.signals import signalled
from support.tasks import Steps, nothing, receive
from support.waiting import PATIENCE, until


def test_a_task_is_a_generator(scheduler: TaskScheduler) -> None:
    with pytest.raises(TypeError, match="function: call the function"):
        scheduler.new_task(nothing)  # type: ignore[arg-type]
    generator = nothing()
    scheduler.new_task(generator)
    with pytest.raises(ValueError, match="already"):
        scheduler.new_task(generator)
    scheduler.run()


def test_cancel_raises_where_the_task_waits(scheduler: TaskScheduler) -> None:
    one, other = socket.socketpair()
    seen: list[str] = []

    def polite() -> Steps:
        try:
            with one:
                try:
                    yield from receive(one)
                except Exception:
                    pytest.fail("it is no Exception")
                finally:
                    yield writable(one)
                    one.send(b"bye")
        except TaskCancelled:
            seen.append("cancelled")
            raise

    def stubborn() -> Steps:
        with contextlib.suppress(TaskCancelled):
            yield sleep(PATIENCE)
        yield sleep(0)
        return "swallowed"

    tasks = [scheduler.new_task(polite()), scheduler.new_task(stubborn())]
    never_begun = None
    scheduler.turn(0)
    for task in tasks:
        assert task.cancel()
        assert task.cancel()
    never_begun = scheduler.new_task(stubborn())
    never_begun.cancel()
    scheduler.run()
    with other:
        assert other.recv(10) == b"bye"
    assert seen == ["cancelled"]
    assert [task.cancelled() for task in tasks] == [True, False]
    assert tasks[1].result() == "swallowed"
    assert never_begun.cancelled()
    assert not tasks[0].cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        tasks[0].result()


def test_an_exception_is_kept_or_reported(scheduler: TaskScheduler, caplog: pytest.LogCaptureFixture) -> None:
    def fails(word: str) -> Steps:
        yield
        raise ValueError(word)

    asked = scheduler.new_task(fails("asked"))
    unasked = scheduler.new_task(fails("unasked"), name="forgotten")
    scheduler.run()
    assert str(asked.exception()) == "asked"
    with pytest.raises(ValueError, match="asked"):
        asked.result()
    gone = weakref.ref(unasked)
    gc.disable()
    try:
        del asked, unasked
        assert gone() is None, "no cycle keeps it"
    finally:
        gc.enable()
    reports = [record for record in caplog.records if record.name == "stdserve.concurrent"]
    assert len(reports) == 1
    assert reports[0].levelno == logging.ERROR
    assert "forgotten" in reports[0].getMessage()
    assert "in fails" in caplog.text


def test_orders_come_from_other_threads(scheduler: TaskScheduler) -> None:
    never = threading.Event()
    begun = threading.Event()

    def forever() -> Steps:
        begun.set()
        yield concurrent.futures.Future()

    def count(number: int) -> Steps:
        yield sleep(0)
        return number

    def order() -> None:
        first = scheduler.new_task(forever())
        assert begun.wait(PATIENCE)
        with pytest.raises(RuntimeError, match="another thread"):
            scheduler.run()
        with pytest.raises(RuntimeError, match="another thread"):
            scheduler.close()
        for number in range(500):
            assert scheduler.new_task(count(number)).result(PATIENCE) == number
        assert first.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            first.result(PATIENCE)
        scheduler.stop()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ordered = pool.submit(order)
        scheduler.run(forever=True)
        ordered.result(PATIENCE)
    assert not never.is_set()


def test_stop_leaves_the_tasks_for_the_next_run(scheduler: TaskScheduler) -> None:
    def stop() -> Steps:
        scheduler.stop()
        yield
        return "end"

    task = scheduler.new_task(stop())
    scheduler.run()
    assert not task.done()
    assert scheduler.tasks == (task,)
    # For the next run, when none is under way.
    scheduler.stop()
    scheduler.run()
    assert not task.done()
    scheduler.run()
    assert task.result() == "end"


def test_a_task_cannot_run_its_scheduler(scheduler: TaskScheduler) -> None:
    def nested() -> Steps:
        for call in (scheduler.run, scheduler.turn, scheduler.close):
            with pytest.raises(RuntimeError, match="in this thread"):
                call()
        yield
        with TaskScheduler() as other:
            task = other.new_task(nothing())
            other.run()
            assert task.done()
        return "end"

    task = scheduler.new_task(nested())
    scheduler.run()
    assert task.result() == "end"


def test_a_task_that_is_always_ready_leaves_the_others_their_turns(
    scheduler: TaskScheduler, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    turns = 0

    def busy() -> Steps:
        nonlocal turns
        while not waiting.done():
            turns += 1
            other.send(b"x")
            yield

    def wait() -> Steps:
        for _ in range(50):
            yield readable(one)
            one.recv(1)
        yield sleep(0.001)

    waiting = scheduler.new_task(wait())
    scheduler.new_task(busy())
    scheduler.run()
    assert turns >= 50


def test_a_turn_is_bounded(scheduler: TaskScheduler) -> None:
    steps = 0

    def breed() -> Steps:
        nonlocal steps
        while True:
            steps += 1
            scheduler.new_task(breed())
            with contextlib.suppress(TypeError):
                yield "wrong"

    scheduler.new_task(breed())
    for turn in range(6):
        assert scheduler.turn(0)
        assert steps == 2 ** (turn + 1) - 1


def test_alarms_are_no_more_than_tasks(
    scheduler: TaskScheduler, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A time-out of a minute for each of many messages leaves no alarm behind for each."""
    one, other = pair

    def wait() -> Steps:
        for number in range(1000):
            other.send(b"x")
            yield readable(one, timeout=60 - number % 30)
            one.recv(1)

    scheduler.new_task(wait())
    scheduler.run()
    assert len(scheduler._alarms) < 100


def test_tasks_may_come_while_alarms_are_sorted(scheduler: TaskScheduler) -> None:
    """From other threads: the task that ran had a RuntimeError of the dictionary of tasks."""

    class Slow(Task[None]):
        _alarm: float | None

        @property
        def _deadline(self) -> None:
            made.append(scheduler.new_task(nothing()))

        @_deadline.setter
        def _deadline(self, _: float | None) -> None:
            pass

    made: list[Task[Any]] = []
    slow: Any = nothing()
    scheduler._tasks[slow] = Slow(scheduler, slow, "slow")
    scheduler._sort_alarms()
    del scheduler._tasks[slow]
    scheduler.run()
    assert len(made) >= 1
    assert all(task.done() for task in made)


def polls() -> Callable[[], object]:
    """Waits until the scheduler of this thread waits."""
    here = threading.get_ident()
    return lambda: until(lambda: sys._current_frames()[here].f_code.co_name == "poll", "it waits")


def test_ctrl_c_leaves_a_scheduler_that_runs_on(scheduler: TaskScheduler) -> None:
    begun = threading.Event()
    end: concurrent.futures.Future[str] = concurrent.futures.Future()

    def wait() -> Steps:
        begun.set()
        return (yield within(PATIENCE, end))

    def hit() -> Steps:
        yield
        os.kill(os.getpid(), signal.SIGINT)
        return "not reached"  # pragma: no cover

    waits = polls()

    def interrupt() -> None:
        begun.wait(PATIENCE)
        # In no task, as that would be struck.
        waits()
        os.kill(os.getpid(), signal.SIGINT)
        # A signal that comes just before the system call does not end it, in any Python program.
        scheduler.new_task(nothing())

    task = scheduler.new_task(wait())
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    thread.join()
    # In a task it is that task's, and leaves run() too.
    struck = scheduler.new_task(hit())
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    assert isinstance(struck.exception(), KeyboardInterrupt)
    end.set_result("end")
    scheduler.run()
    assert task.result() == "end"


def test_handlers_of_signals_give_orders(scheduler: TaskScheduler) -> None:
    def wait() -> Steps:
        yield concurrent.futures.Future()

    def handle() -> None:
        waiting.cancel()
        made.append(scheduler.new_task(nothing()))

    made: list[Task[Any]] = []
    waiting = scheduler.new_task(wait())
    with signalled(handle, polls()):
        scheduler.run()
    assert waiting.cancelled()
    assert made[0].done()


def test_close_ends_tasks(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[str] = []

    def quick() -> Steps:
        try:
            yield sleep(PATIENCE)
        finally:
            ends.append("quick")

    def slow() -> Steps:
        try:
            yield sleep(PATIENCE)
        finally:
            ends.append("slow")
            yield sleep(PATIENCE)
            pytest.fail("its cleanup is not waited for")

    def returns() -> Steps:
        with contextlib.suppress(TaskCancelled):
            yield sleep(PATIENCE)
        return "end"

    with TaskScheduler() as scheduler:
        tasks = [scheduler.new_task(kind()) for kind in (quick, slow, returns, nothing)]
        scheduler.turn(0)
        descriptor = scheduler.fileno()
    assert ends == ["quick", "slow"]
    assert [task.cancelled() for task in tasks] == [True, True, False, True]
    assert tasks[2].result() == "end"
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)
    scheduler.close()
    for call in (scheduler.run, scheduler.turn, scheduler.fileno, lambda: scheduler.new_task(nothing())):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_a_task_that_comes_while_the_scheduler_is_closed_is_refused() -> None:
    """Else nobody would ever run or cancel it: `close()` and `new_task()` have both looked already."""

    class Closes(str):
        def __bool__(self) -> bool:
            scheduler.close()
            return True

    scheduler = TaskScheduler()
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.new_task(nothing(), name=Closes("late"))
    assert scheduler.tasks == ()


def test_without_epoll_it_says_who_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    with TaskScheduler() as scheduler, pytest.raises(RuntimeError, match="gevent"):
        scheduler.run(forever=True)


def test_descriptors_come_back_without_close() -> None:
    before = proc.descriptors(os.getpid())
    scheduler = TaskScheduler()
    scheduler.fileno()
    scheduler.new_task(receive(socket.socket()))
    scheduler.turn(0)
    assert proc.opened_since(before)
    del scheduler
    gc.collect()
    assert not proc.opened_since(before)


def test_another_loop_turns_it(scheduler: TaskScheduler) -> None:
    """By its descriptor alone: descriptors, alarms, orders of other threads and steps that are left."""
    import select

    one, other = socket.socketpair()
    log: list[str] = []

    def read() -> Steps:
        log.append((yield from receive(one)).decode())
        yield
        log.append("a step")
        yield sleep(0.01)
        log.append("a nap")

    waiting = select.poll()
    waiting.register(scheduler.fileno(), select.POLLIN)
    assert not waiting.poll(0)
    scheduler.new_task(read())
    threading.Timer(0.01, other.send, [b"data"]).start()
    while scheduler.tasks:
        assert waiting.poll(PATIENCE * 1000)
        scheduler.turn(0)
    with one, other:
        assert log == ["data", "a step", "a nap"]
        assert not waiting.poll(0) or not scheduler.turn(0)


def test_another_loop_is_told_after_an_interruption(scheduler: TaskScheduler) -> None:
    """A turn that an exception left in the middle was taken for one that still runs: orders did not ring."""
    import select

    def exit_once() -> Steps:
        yield
        raise SystemExit

    waiting = select.poll()
    waiting.register(scheduler.fileno(), select.POLLIN)
    scheduler.new_task(exit_once())
    exited = False
    while not exited:
        assert waiting.poll(PATIENCE * 1000)
        try:
            scheduler.turn(0)
        except SystemExit:
            exited = True
    while waiting.poll(0):
        scheduler.turn(0)
    # From another thread, while nobody runs it.
    made: list[Task[Any]] = []
    thread = threading.Thread(target=lambda: made.append(scheduler.new_task(nothing())))
    thread.start()
    thread.join()
    while scheduler.tasks:
        assert waiting.poll(PATIENCE * 1000)
        scheduler.turn(0)
    assert made[0].done()


def test_an_exception_that_a_waiting_thread_gets_is_not_reported(
    scheduler: TaskScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Steps:
        while not waits.is_set():
            yield
        raise ValueError("inside")

    waits = threading.Event()

    def ask(task: Task[Any]) -> str:
        waits.set()
        return str(task.exception(PATIENCE))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        task = scheduler.new_task(fail())
        asked = pool.submit(ask, task)
        scheduler.run()
        assert asked.result(PATIENCE) == "inside"
    del task, asked
    gc.collect()
    assert not caplog.records


def test_idle_waits_are_not_looked_at_all_the_time(scheduler: TaskScheduler) -> None:
    """The processor rests while nothing comes."""

    def wait() -> Steps:
        with contextlib.suppress(TimeoutError):
            yield readable(one, timeout=0.5)

    one, other = socket.socketpair()
    with one, other:
        scheduler.new_task(wait())
        turns = 0
        while scheduler.turn():
            turns += 1
        assert turns < 20


def test_the_scheduler_of_a_forked_child_is_its_own(scheduler: TaskScheduler) -> None:
    one, other = socket.socketpair()
    log: list[str] = []

    def wait() -> Steps:
        try:
            data = yield from receive(one)
            log.append("woken")
            return data
        finally:
            log.append("cleaned up")

    task = scheduler.new_task(wait())
    scheduler.turn(0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with pytest.raises(RuntimeError, match="forked"):
                task.result(0)
            assert scheduler.tasks == ()
            mine = scheduler.new_task(nothing())
            scheduler.run()
            assert mine.result() is None
            gc.collect()
            assert log == []
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with one, other:
        other.send(b"x")
        scheduler.run()
    assert task.result() == b"x"


def test_a_fork_in_a_task_does_not_go_on_in_the_child(scheduler: TaskScheduler) -> None:
    log: list[int] = []
    parent = os.getpid()

    def fork() -> Steps:
        child = os.fork()
        yield
        return child

    def other() -> Steps:
        log.append(os.getpid())
        yield
        log.append(os.getpid())

    task = scheduler.new_task(fork())
    scheduler.new_task(other())
    try:
        scheduler.run()
    except RuntimeError as error:
        os._exit(0 if "child" in str(error) and log == [] and scheduler.tasks == () else 1)
    if os.getpid() != parent:
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(task.result(), 0)[1]) == 0
    assert log == [parent, parent]


def test_a_clock_that_is_late_rings_in_order(scheduler: TaskScheduler) -> None:
    order: list[float] = []

    def nap(seconds: float) -> Steps:
        yield sleep(seconds)
        order.append(seconds)

    now = time.monotonic()
    scheduler._clock = lambda: now
    naps = [0.005, 0.001, 0.004, 0.002, 0.003, 0.001]
    for seconds in naps:
        scheduler.new_task(nap(seconds))
    scheduler.turn(0)
    now += 1
    scheduler.run()
    assert order == sorted(naps)
