"""stdserve.concurrent.TaskScheduler: what tasks wait for, and how they end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import gc
import logging
import os
import queue
import signal
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any

import pytest
from stdserve.concurrent import (
    Exchange,
    PollableQueue,
    ShutDown,
    Task,
    TaskCancelled,
    TaskScheduler,
    readable,
    sleep,
    within,
    writable,
)

from support.waiting import PATIENCE, until

Steps = Generator[Any, Any, Any]


@pytest.fixture
def scheduler() -> Iterator[TaskScheduler]:
    with TaskScheduler() as made:
        yield made


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def receive(sock: socket.socket, size: int = 1000) -> Steps:
    yield readable(sock)
    return sock.recv(size)


def nothing() -> Steps:
    yield
    return None


def test_tasks_talk_over_sockets_and_return_values(
    scheduler: TaskScheduler, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair

    def echo() -> Steps:
        count = 0
        while data := (yield from receive(one)):
            yield writable(one)
            one.sendall(data)
            count += 1
        return count

    def client() -> Steps:
        answers = []
        for word in (b"a", b"b", b"c"):
            other.sendall(word)
            answers.append((yield from receive(other)))
        other.shutdown(socket.SHUT_WR)
        return answers

    served = scheduler.new_task(echo())
    asked = scheduler.new_task(client(), name="the client")
    assert "waits for" in repr(served)
    assert not served.running()
    scheduler.run()
    assert (served.result(), asked.result()) == (3, [b"a", b"b", b"c"])
    assert served.name.endswith("echo")
    assert repr(asked) == "<Task 'the client', ended>"
    assert scheduler.tasks == ()


def test_a_reader_and_a_writer_share_a_descriptor(
    scheduler: TaskScheduler, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Much goes both ways at once, in pieces, over sockets with small buffers."""
    content = os.urandom(1 << 20)
    received: dict[socket.socket, bytes] = {}

    def read(sock: socket.socket) -> Steps:
        pieces = []
        while piece := (yield from receive(sock, 65536)):
            pieces.append(piece)
        received[sock] = b"".join(pieces)

    def write(sock: socket.socket) -> Steps:
        rest = memoryview(content)
        while rest:
            yield writable(sock)
            rest = rest[sock.send(rest) :]
        sock.shutdown(socket.SHUT_WR)

    for sock in pair:
        sock.setblocking(False)
        scheduler.new_task(read(sock))
        scheduler.new_task(write(sock))
    scheduler.run()
    assert received == dict.fromkeys(pair, content)


def test_two_readers_of_a_descriptor_are_refused_by_name(
    scheduler: TaskScheduler, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    first = scheduler.new_task(receive(one), name="first")
    second = scheduler.new_task(receive(one), name="second")
    third = scheduler.new_task(receive(one), name="third")
    for _ in range(3):
        scheduler.turn(0)
    with pytest.raises(RuntimeError, match=r"'second'.*readable.*'first'"):
        second.result()
    with pytest.raises(RuntimeError, match=r"'third'.*readable.*'first'"):
        third.result()
    other.send(b"x")
    scheduler.run()
    assert first.result() == b"x"


@pytest.mark.parametrize("how", ["by a task", "by another thread", "before", "number"])
def test_a_descriptor_that_was_closed_raises(how: str, scheduler: TaskScheduler) -> None:
    one, other = socket.socketpair()

    def wait() -> Steps:
        with pytest.raises(OSError, match=r"closed|descriptor") as caught:
            yield from receive(one)
        return caught.value.errno

    def wait_for_the_number() -> Steps:
        with pytest.raises(OSError, match=r"closed|descriptor") as caught:
            yield writable(number) if blocked else readable(number)
        return caught.value.errno

    def close() -> Steps:
        yield sleep(0.01)
        one.close()

    number, blocked = one.fileno(), False
    with other:
        if how == "before":
            one.close()
        waiting = scheduler.new_task(wait_for_the_number() if how == "number" else wait())
        if how == "by another thread":
            while not waiting.running():
                scheduler.turn(0)
            closer = threading.Thread(target=one.close)
            closer.start()
            closer.join()
        else:
            scheduler.new_task(close())
        scheduler.run()
        assert waiting.result() == errno.EBADF


def test_a_number_that_is_used_again_is_another_descriptor(scheduler: TaskScheduler) -> None:
    """The old socket lives on in a copy, as in a forked child, and is written to."""
    one, other = socket.socketpair()
    third, fourth = socket.socketpair()
    number = one.fileno()
    copy = os.dup(number)

    def wait_for_the_old() -> Steps:
        with pytest.raises(OSError, match="closed") as caught:
            yield readable(number)
        return caught.value.errno

    def wait_for_the_new() -> Steps:
        yield sleep(0)
        os.dup2(third.fileno(), number)
        other.send(b"old")
        with contextlib.suppress(TimeoutError):
            yield readable(number, timeout=0.02)
            pytest.fail("what the number stood for before is not this")
        fourth.send(b"new")
        yield readable(number)
        return os.read(number, 10)

    with one, other, third, fourth:
        old = scheduler.new_task(wait_for_the_old())
        new = scheduler.new_task(wait_for_the_new())
        scheduler.run()
        assert (old.result(), new.result()) == (errno.EBADF, b"new")
        os.close(copy)


def test_many_short_connections_use_the_same_numbers_again(scheduler: TaskScheduler) -> None:
    def connection() -> Steps:
        for number in range(200):
            one, other = socket.socketpair()
            with one, other:
                task = scheduler.new_task(receive(one))
                yield sleep(0)
                other.send(b"%d" % number)
                assert (yield task) == b"%d" % number

    tasks = [scheduler.new_task(connection()) for _ in range(3)]
    scheduler.run()
    assert [task.result() for task in tasks] == [None] * 3


def test_regular_files_are_always_ready(scheduler: TaskScheduler) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"content")
        file.seek(0)

        def read() -> Steps:
            yield writable(file, timeout=10)
            yield readable(file.fileno())
            return file.read()

        task = scheduler.new_task(read())
        scheduler.run()
        assert task.result() == b"content"


def test_what_takes_too_long_raises_at_the_yield(
    scheduler: TaskScheduler, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    items: PollableQueue[int] = PollableQueue()
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    quiet = scheduler.new_task(receive(other))

    def wait() -> Steps:
        for what in (
            readable(one, timeout=0),
            readable(one, timeout=0.001),
            within(0.001, readable(one)),
            within(0.001, readable(one, timeout=PATIENCE)),
            within(PATIENCE, readable(one, timeout=0.001)),
            within(0.001, items),
            within(0.001, future),
            within(0.001, quiet),
            within(0.001, sleep(PATIENCE)),
        ):
            with pytest.raises(TimeoutError, match="too long"):
                yield what
        # What comes in time does, and leaves no alarm that rings later.
        yield writable(one, timeout=0)
        yield within(PATIENCE, sleep(0.001))
        items.put(1)
        assert (yield within(0.001, items)) == 1
        future.set_result(2)
        assert (yield within(PATIENCE, future)) == 2
        yield sleep(0.005)
        one.send(b"end")
        return (yield within(PATIENCE, quiet))

    task = scheduler.new_task(wait())
    scheduler.run()
    assert task.result() == b"end"


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_time_is_not_below_zero(seconds: float) -> None:
    for make in (sleep, lambda value: within(value, None), lambda value: readable(0, timeout=value)):
        with pytest.raises(ValueError, match="not below 0"):
            make(seconds)


def test_queues_are_waited_for_in_order(scheduler: TaskScheduler) -> None:
    items: PollableQueue[int] = PollableQueue()

    def take() -> Steps:
        return (yield items)

    takers = [scheduler.new_task(take()) for _ in range(5)]
    scheduler.turn(0)
    scheduler.turn(0)
    for number in range(5):
        items.put(number)
    scheduler.run()
    assert [task.result() for task in takers] == [0, 1, 2, 3, 4]


def test_tasks_and_threads_share_a_queue(scheduler: TaskScheduler) -> None:
    """Whoever is too late waits on; each item comes once, and those of one taker in order."""
    items: PollableQueue[int | None] = PollableQueue(maxsize=7)
    count = 3000
    taken: list[list[int]] = []

    def task_takes() -> Steps:
        mine: list[int] = []
        taken.append(mine)
        while (item := (yield items)) is not None:
            mine.append(item)

    def thread_takes() -> None:
        mine: list[int] = []
        taken.append(mine)
        while (item := items.get()) is not None:
            mine.append(item)

    def put() -> None:
        for number in range(count):
            items.put(number)
        for _ in range(6):
            items.put(None)

    threads = [threading.Thread(target=target) for target in (thread_takes, thread_takes, put)]
    for _ in range(4):
        scheduler.new_task(task_takes())
    for thread in threads:
        thread.start()
    scheduler.run()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(chain.from_iterable(taken)) == list(range(count))
    assert all(mine == sorted(mine) for mine in taken)


def test_a_queue_that_is_shut_down_wakes_all_who_wait(scheduler: TaskScheduler) -> None:
    items: PollableQueue[int] = PollableQueue()

    def take() -> Steps:
        with pytest.raises(ShutDown):
            yield items
        return "shut down"

    takers = [scheduler.new_task(take()) for _ in range(3)]
    scheduler.turn(0)
    scheduler.turn(0)
    items.shutdown()
    scheduler.run()
    assert [task.result() for task in takers] == ["shut down"] * 3


def test_no_item_is_lost_when_its_taker_is_cancelled(scheduler: TaskScheduler) -> None:
    items: PollableQueue[int] = PollableQueue()

    def take() -> Steps:
        return (yield items)

    first, second = scheduler.new_task(take()), scheduler.new_task(take())
    scheduler.turn(0)
    scheduler.turn(0)
    items.put(1)
    # Woken by the queue, and cancelled in the same turn.
    first.cancel()
    scheduler.run()
    assert first.cancelled()
    assert second.result() == 1


class Closable:
    """A queue of bytes with the descriptor of a pipe, which can be closed."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def fileno(self) -> int:
        return self.reading

    def get_nowait(self) -> bytes:
        try:
            return os.read(self.reading, 1)
        except BlockingIOError:
            raise queue.Empty from None

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


def test_anything_with_a_descriptor_and_get_nowait_is_a_queue(scheduler: TaskScheduler) -> None:
    source = Closable()

    def take() -> Steps:
        first = yield source
        with pytest.raises(OSError, match="closed"):
            yield source
        return first

    def put() -> Steps:
        os.write(source.writing, b"x")
        yield sleep(0.01)
        source.close()

    task = scheduler.new_task(take())
    scheduler.new_task(put())
    scheduler.run()
    assert task.result() == b"x"


@pytest.mark.parametrize("name", [None, "tasks that subscribe"])
def test_a_subscription_is_a_queue(name: str | None, scheduler: TaskScheduler) -> None:
    exchange: Exchange[int] = Exchange(name)
    subscription = exchange.subscribe()
    got: list[int] = []

    def read() -> Steps:
        with contextlib.suppress(ShutDown):
            while True:
                got.append((yield subscription))
        return "closed"

    def send() -> Steps:
        for number in range(200):
            exchange.send(number)
            if number % 7 == 0:
                yield
        while len(got) < 200:
            yield
        subscription.close()

    reading = scheduler.new_task(read())
    scheduler.new_task(send())
    scheduler.run()
    assert reading.result() == "closed"
    assert got == list(range(200))


def test_futures_and_tasks_give_what_they_have(scheduler: TaskScheduler) -> None:
    def fails() -> Steps:
        yield
        raise KeyError("inside")

    def wait(pool: concurrent.futures.Executor) -> Steps:
        assert (yield pool.submit(pow, 2, 10)) == 1024
        with pytest.raises(ZeroDivisionError):
            yield pool.submit(divmod, 1, 0)
        with pytest.raises(KeyError, match="inside"):
            yield scheduler.new_task(fails())
        cancelled = scheduler.new_task(receive(socket.socket()))
        assert cancelled.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            yield cancelled
        return "end"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        task = scheduler.new_task(wait(pool))
        done: list[Any] = []
        task.add_done_callback(done.append)
        scheduler.run()
    assert task.result() == "end"
    assert done == [task]
    assert concurrent.futures.wait([task]).done == {task}


def test_a_future_that_is_never_done_keeps_nobody_who_gave_up(scheduler: TaskScheduler) -> None:
    """Who has waited for it, a time or for good, stood among its callbacks for ever."""
    never: concurrent.futures.Future[None] = concurrent.futures.Future()

    def give_up() -> Steps:
        with pytest.raises(TimeoutError):
            yield within(0.001, never)
        yield never

    first = scheduler.new_task(give_up(), name="first")
    second = scheduler.new_task(give_up(), name="second")
    while not repr(first).endswith("state=pending>>"):
        scheduler.turn()
    first.cancel()
    scheduler.turn(0)
    while not repr(second).endswith("state=pending>>"):
        scheduler.turn()
    assert len(never._done_callbacks) == 1  # type: ignore[attr-defined]
    never.set_result(None)
    scheduler.run()
    assert first.cancelled()
    assert second.done()


def test_a_task_that_waits_for_itself_is_told(scheduler: TaskScheduler) -> None:
    def wait() -> Steps:
        with pytest.raises(RuntimeError, match="its own end"):
            yield tasks[0]
        with pytest.raises(RuntimeError, match="yield the task"):
            tasks[0].result()
        return True

    tasks = [scheduler.new_task(wait())]
    scheduler.run()
    assert tasks[0].result()


@pytest.mark.parametrize(
    ("what", "named"), [(1, "1, a int"), ("word", "'word', a str"), (nothing(), "yield from")]
)
def test_what_cannot_be_waited_for_is_named(what: object, named: str, scheduler: TaskScheduler) -> None:
    def wrong() -> Steps:
        with pytest.raises(TypeError, match=named):
            yield what
        yield
        return "goes on"

    task = scheduler.new_task(wrong())
    scheduler.run()
    assert task.result() == "goes on"


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


def test_ctrl_c_leaves_a_scheduler_that_runs_on(scheduler: TaskScheduler) -> None:
    begun = threading.Event()

    def wait() -> Steps:
        begun.set()
        yield sleep(0.2)
        return "end"

    def hit() -> Steps:
        yield
        os.kill(os.getpid(), signal.SIGINT)
        return "not reached"  # pragma: no cover

    def interrupt() -> None:
        begun.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)

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
    scheduler.run()
    assert task.result() == "end"


def test_handlers_of_signals_give_orders(scheduler: TaskScheduler) -> None:
    def wait() -> Steps:
        yield concurrent.futures.Future()

    def handle(_number: int, _frame: Any) -> None:
        waiting.cancel()
        made.append(scheduler.new_task(nothing()))

    made: list[Task[Any]] = []
    waiting = scheduler.new_task(wait())
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        scheduler.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
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


def test_descriptors_come_back_without_close() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    scheduler = TaskScheduler()
    scheduler.fileno()
    scheduler.new_task(receive(socket.socket()))
    scheduler.turn(0)
    assert len(os.listdir("/proc/self/fd")) > before
    del scheduler
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


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

    naps = [0.005, 0.001, 0.004, 0.002, 0.003, 0.001]
    for seconds in naps:
        scheduler.new_task(nap(seconds))
    scheduler.turn(0)
    until(lambda: time.monotonic() > scheduler._alarms[0][0] + 0.01, "all are due")
    scheduler.run()
    assert order == sorted(naps)
