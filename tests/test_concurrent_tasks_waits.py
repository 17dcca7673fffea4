"""stdserve.concurrent.TaskScheduler: what tasks wait for."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import os
import queue
import socket
import tempfile
import threading
from itertools import chain
from typing import Any

import pytest
from stdserve.concurrent import (
    Exchange,
    PollableQueue,
    ShutDown,
    TaskScheduler,
    readable,
    sleep,
    within,
    writable,
)

from support.tasks import Steps, nothing, receive
from support.waiting import PATIENCE


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

    late: list[str] = []

    def give_up(name: str) -> Steps:
        with pytest.raises(TimeoutError):
            yield within(0.001, never)
        late.append(name)
        yield never

    first = scheduler.new_task(give_up("first"))
    second = scheduler.new_task(give_up("second"))
    while len(late) < 2:
        scheduler.turn()
    first.cancel()
    scheduler.turn(0)
    assert len(never._done_callbacks) == 1  # type: ignore[attr-defined]
    never.set_result(None)
    scheduler.run()
    assert first.cancelled()
    assert second.result() is None


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
