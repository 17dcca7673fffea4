"""`ThreadLocalConnection` and `Timer`."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from stdserve.concurrent import ThreadLocalConnection, Timer

from support.waiting import PATIENCE


class Made:
    """A connection that counts how many of it there are."""

    all: list[Made]

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = 0
        Made.all.append(self)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def made() -> list[Made]:
    """Those that the test has made."""
    Made.all = []
    return Made.all


def in_thread(work: Callable[[], object]) -> None:
    """Does it in another thread, to its end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_each_thread_has_its_own_and_keeps_it(made: list[Made]) -> None:
    """Until it ends: then it is closed."""
    pool = ThreadLocalConnection(Made)
    with pool as first:
        pass
    with pool as again:
        assert again is first

    def other() -> None:
        for _ in range(2):
            with pool as connection:
                assert connection.thread == threading.get_ident()

    in_thread(other)
    gc.collect()
    assert [one.closed for one in made] == [0, 1]


@pytest.mark.parametrize(("nested", "number"), [("same", 1), ("fresh", 2)])
def test_a_block_in_a_block(made: list[Made], nested: Literal["same", "fresh"], number: int) -> None:
    """The same connection, or one of its own, which is kept for the next time."""
    pool = ThreadLocalConnection(Made, nested=nested)
    for _ in range(2):
        with pool as outer, pool as inner:
            assert (inner is outer) == (nested == "same")
        assert len(made) == number
    assert not any(one.closed for one in made)
    with pytest.raises(ValueError, match="nested must be"):
        ThreadLocalConnection(Made, nested="both")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a function or an address is wanted, not int"):
        ThreadLocalConnection(11211)  # type: ignore[call-overload]


def test_a_connection_whose_block_raised_is_replaced(made: list[Made]) -> None:
    """Nobody knows what state it is in; where an outer block has it too, when that is done."""
    pool = ThreadLocalConnection(Made, keep_after=(LookupError,))
    with contextlib.suppress(OSError):
        with pool:
            raise OSError
    assert [one.closed for one in made] == [1]
    with pool:
        with contextlib.suppress(OSError):
            with pool:
                raise OSError
        assert [one.closed for one in made] == [1, 0]
    assert [one.closed for one in made] == [1, 1]
    for _ in range(2):
        with contextlib.suppress(LookupError):
            with pool:
                raise KeyError
    assert [one.closed for one in made] == [1, 1, 0]


def test_what_cannot_be_closed_or_made(made: list[Made]) -> None:
    """An exception of closing is lost, one of making is not."""

    def refuse(_: Made) -> None:
        raise OSError("broken pipe")

    with ThreadLocalConnection(Made, keep=False, close=refuse):
        pass
    answers = iter([1])
    pool = ThreadLocalConnection(lambda: 1 // next(answers))
    with pool as one:
        assert one == 1
    broken = ThreadLocalConnection(lambda: 1 // 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            broken.__enter__()
    assert len(made) == 1


def test_close_ends_all_of_them(made: list[Made]) -> None:
    """Those in use when their blocks end; after that none can be had."""
    pool = ThreadLocalConnection(Made)
    has, leave = threading.Event(), threading.Event()

    def idle() -> None:
        with pool:
            pass
        has.set()
        leave.wait(PATIENCE)

    thread = threading.Thread(target=idle)
    thread.start()
    assert has.wait(PATIENCE)
    with pool as used:
        pool.close()
        pool.close()
        assert pool.closed
        assert [one.closed for one in made] == [1, 0]
        with pytest.raises(RuntimeError, match="closed"):
            pool.__enter__()
    assert used.closed == 1
    leave.set()
    thread.join()
    assert [one.closed for one in made] == [1, 1]


def test_a_thread_that_ends_while_all_are_closed_closes_each_once(made: list[Made]) -> None:
    """Weak references still lead to what is just finalized."""

    def close(one: Made) -> None:
        one.close()
        pool.close()  # as another thread might just then

    pool = ThreadLocalConnection(Made, nested="fresh", close=close)

    def work() -> None:
        with pool, pool:
            pass

    in_thread(work)
    gc.collect()
    assert [one.closed for one in made] == [1, 1]


def test_sqlite_connections_are_closed_by_their_own_threads(tmp_path: Path) -> None:
    """Only these may: `close()` leaves them to them."""
    ends: list[int] = []

    class Connection(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            ends.append(threading.get_ident())

    pool = ThreadLocalConnection(lambda: sqlite3.connect(tmp_path / "db", factory=Connection))
    with pool as database:
        database.execute("create table shop (item)")
    idents: list[int] = []
    has, leave = threading.Event(), threading.Event()

    def sell() -> None:
        idents.append(threading.get_ident())
        with pool as database:
            with database:
                database.execute("insert into shop values ('book')")
        has.set()
        leave.wait(PATIENCE)

    thread = threading.Thread(target=sell)
    thread.start()
    assert has.wait(PATIENCE)
    with pool as database:
        assert database.execute("select item from shop").fetchall() == [("book",)]
    pool.close()
    assert ends == [threading.get_ident()]
    leave.set()
    thread.join()
    assert ends == [threading.get_ident(), *idents]


@pytest.fixture
def echo(short_path: Path) -> Iterator[dict[str, socket.socket]]:
    """Listeners on TCP and on a Unix socket."""
    tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    unix.bind(str(short_path / "socket"))
    unix.listen()
    with tcp, unix:
        yield {"tcp": tcp, "unix": unix}


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_an_address_makes_sockets(echo: dict[str, socket.socket], kind: str) -> None:
    """As the Cookbook has it: connected at the beginning of the block, closed at its end."""
    conn = ThreadLocalConnection(echo[kind].getsockname(), keep=False)
    for _ in range(2):
        with conn as sock:
            peer, _ = echo[kind].accept()
            sock.sendall(b"hello")
        with peer:
            assert peer.recv(100) == b"hello"
            assert peer.recv(100) == b""
        assert sock.fileno() == -1
    echo[kind].close()
    with pytest.raises(ConnectionRefusedError):
        conn.__enter__()


def child(work: Callable[[], object]) -> int:
    """The exit code of a forked child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_leaves_its_parents_connections_alone(made: list[Made]) -> None:
    """They are neither used nor closed nor freed there: those of this thread, of others, and in use."""
    freed: list[Made] = []
    Freed = type("Freed", (Made,), {"__del__": lambda self: freed.append(self)})
    pool: ThreadLocalConnection[Made] = ThreadLocalConnection(Freed)
    has, leave = threading.Event(), threading.Event()

    def other() -> None:
        with pool:
            has.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=other)
    thread.start()
    assert has.wait(PATIENCE)
    with pool as mine:
        pass

    def use() -> None:
        with pool as own:
            assert own is not mine
        with pool as again:
            assert again is own
        pool.close()
        assert own.closed == 1
        parents = made[:2]
        made.clear()
        del own, again
        gc.collect()
        assert len(freed) == 1
        assert not any(one.closed for one in parents)

    assert child(use) == 0
    with pool as used:

        def leave_block() -> None:
            pool.__exit__(None, None, None)
            assert used.closed == 0

        assert child(leave_block) == 0
    leave.set()
    thread.join()
    assert [one.closed for one in made] == [1, 0], "that of the thread that has ended"
    assert freed == []


def test_a_forked_child_closes_its_copies_of_sockets(echo: dict[str, socket.socket]) -> None:
    """Which is nothing to the parent; its peer sees the end when the parent closes."""
    conn = ThreadLocalConnection(echo["tcp"].getsockname())
    with conn as sock:
        peer, parents = echo["tcp"].accept()

    def use() -> None:
        with conn as own:
            assert own.getsockname() != parents
            assert sock.fileno() == -1

    with peer:
        assert child(use) == 0
        echo["tcp"].accept()[0].close()
        with conn as again:
            assert again is sock
            again.sendall(b"still here")
        assert peer.recv(100) == b"still here"
        conn.close()
        assert peer.recv(100) == b""


class Clock:
    """Goes on when it is told."""

    now = 5.0

    def __call__(self) -> float:
        return self.now


def test_a_timer_adds_up_what_it_ran() -> None:
    """Start, stop, reset, and what it says while it runs."""
    clock = Clock()
    timer = Timer(clock)
    assert (timer.running, timer.elapsed) == (False, 0.0)
    timer.start()
    clock.now += 2
    assert (timer.running, timer.elapsed) == (True, 2.0)
    timer.stop()
    clock.now += 10
    assert (timer.running, timer.elapsed) == (False, 2.0)
    with timer as same:
        assert same is timer
        clock.now += 1
    assert timer.elapsed == 3.0
    timer.start()
    clock.now += 1
    timer.reset()
    clock.now += 0.5
    timer.stop()
    assert timer.elapsed == 0.5
    timer.reset()
    assert timer.elapsed == 0.0


def test_a_timer_is_started_and_stopped_in_turns() -> None:
    """As the Cookbook's; and it stops where the block raises."""
    timer = Timer()
    with pytest.raises(RuntimeError, match="not started"):
        timer.stop()
    with timer:
        with pytest.raises(RuntimeError, match="started already"):
            timer.start()
    with pytest.raises(ZeroDivisionError):
        with timer:
            raise ZeroDivisionError
    assert not timer.running


def test_a_timer_measures_functions_and_processor_time() -> None:
    """As a decorator, with another clock."""
    timer = Timer(time.process_time)

    @timer
    def count(most: int) -> int:
        return sum(range(most))

    used = 0.0
    for _ in range(3):
        assert count(50_000) == 1_249_975_000
        assert timer.elapsed > used
        used = timer.elapsed
