"""`acquire`: what it takes, refuses, gives back and says. The order itself: test_concurrent_lock_order.py."""

from __future__ import annotations

import gc
import multiprocessing
import os
import queue
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from stdserve.concurrent import LockOrderViolation, acquire
from stdserve.concurrent.locks import _order

from support.waiting import PATIENCE


def in_thread(work: Callable[[], object], name: str = "the other") -> None:
    """Does it in another thread, to its end."""
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    if trouble:
        raise trouble[0]


def in_child(work: Callable[[], bool]) -> bool:
    """Asks it in a forked child."""
    child = os.fork()
    if child == 0:
        answer = 2
        try:
            answer = 0 if work() else 1
        finally:
            os._exit(answer)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Named:
    """A lock that is neither of threading nor of multiprocessing."""

    def __init__(self, name: str, trouble: BaseException | None = None) -> None:
        self.name = name
        self.trouble = trouble
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return self.name

    def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool:
        if self.trouble:
            raise self.trouble
        return self.lock.acquire(blocking, timeout)

    def release(self) -> None:
        self.lock.release()


def nest(outer: Named, inner: Named) -> None:
    with acquire(outer):
        with acquire(inner):
            pass


def nests(outer: Named, inner: Named) -> bool:
    nest(outer, inner)
    return True


def test_orders_that_disagree_are_refused_though_nobody_waits() -> None:
    """The error says which locks, where each is taken, and where and by whom it was the other way round."""
    one, other = Named("one"), Named("other")
    in_thread(lambda: nest(one, other), "first")
    with pytest.raises(LockOrderViolation) as caught:
        nest(other, one)
    error = caught.value
    assert (error.held, error.wanted) == (other, one)
    lines = nest.__code__.co_firstlineno
    assert (error.held_at.line, error.wanted_at.line) == (lines + 1, lines + 2)
    assert (error.held_at.file, error.held_at.function) == (__file__, "nest")
    (seen,) = error.seen
    assert (seen.thread, seen.held, seen.wanted) == ("first", "one", "other")
    assert (seen.held_at, seen.wanted_at) == (error.held_at, error.wanted_at)
    at = f"{__file__}:{lines + 1}, in nest: with acquire(outer):"
    to = f"{__file__}:{lines + 2}, in nest: with acquire(inner):"
    assert str(error) == (
        f"one is wanted\n    at {to}\n  while other is held\n    from {at}\n"
        f"The opposite order was seen:\n"
        f"  thread 'first' had one\n    from {at}\n  when it wanted other\n    at {to}"
    )
    # Given back, and good for the right order.
    in_thread(lambda: nest(one, other))


def test_a_cycle_over_several_nestings_is_told_step_by_step() -> None:
    """Each step with its own place."""
    a, b, c = Named("a"), Named("b"), Named("c")
    nest(a, b)
    nest(b, c)
    with pytest.raises(LockOrderViolation) as caught:
        nest(c, a)
    assert [(step.held, step.wanted) for step in caught.value.seen] == [("a", "b"), ("b", "c")]


def test_one_call_takes_them_in_an_order_that_fits_the_nestings() -> None:
    """Whatever the order of arguments, and also where an older lock has to come later."""
    taken: list[str] = []

    class Noted(Named):
        def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool:
            taken.append(self.name)
            return super().acquire(blocking, timeout)

    a, b, c = (Noted(name) for name in "abc")
    for locks in ((a, b, c), (c, a, b), (b, c, a), (c, a, c)):
        with acquire(*locks):
            pass
    assert "".join(taken) == "abc" * 3 + "ac"
    # Nobody has nested them, so this is right.
    nest(c, a)
    taken.clear()
    with acquire(a, b, c):
        assert all(lock.lock.locked() for lock in (a, b, c))
    assert taken.index("c") < taken.index("a")


def test_a_call_that_is_amid_it_counts() -> None:
    """It has the one and waits for the other, which the nesting has: that would be the deadlock."""
    one, other = Named("one"), Named("other")
    waits = threading.Event()

    class Told(Named):
        def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool:
            waits.set()
            return super().acquire(blocking, timeout)

    other = Told("other")
    with acquire(one, other):
        pass
    waits.clear()

    def both() -> None:
        with acquire(one, other):
            pass

    with acquire(Named("outermost"), other):
        waits.clear()
        thread = threading.Thread(target=both, name="both", daemon=True)
        thread.start()
        assert waits.wait(PATIENCE)
        with pytest.raises(LockOrderViolation, match="'both' is just taking one, then other"):
            acquire(one).__enter__()
    thread.join(PATIENCE)
    # Now nobody is, so that the nesting is as good as any.
    nest(other, one)
    in_thread(both)


@pytest.mark.parametrize("twice", [threading.Lock, multiprocessing.Lock, lambda: threading.Semaphore(1)])
def test_a_lock_that_would_wait_for_its_own_thread_is_refused(twice: Callable[[], threading.Lock]) -> None:
    """Instead of waiting for ever; what the call has taken by then is given back."""
    lock, more = twice(), threading.Lock()
    with acquire(lock):
        with pytest.raises(LockOrderViolation, match="It would wait for itself") as caught:
            acquire(lock, more, timeout=PATIENCE).__enter__()
        assert caught.value.held is caught.value.wanted is lock
        assert caught.value.seen == ()
        assert not more.locked()
        # And was not learned.
        in_thread(lambda: acquire(more).__enter__())
    assert lock.acquire(False)


@pytest.mark.parametrize(
    "twice",
    [threading.RLock, multiprocessing.RLock, threading.Condition, lambda: threading.Semaphore(3)],
)
def test_what_can_be_taken_again_is(twice: Callable[[], threading.Lock]) -> None:
    """Also within other locks, in whatever order: nothing is waited for."""
    lock, more = twice(), threading.Lock()
    with acquire(lock):
        with acquire(more):
            with acquire(lock, more := threading.Lock()):
                pass
            assert not more.locked()
    in_thread(lambda: acquire(lock, timeout=PATIENCE).__enter__())


def test_time_that_is_up_gives_all_back() -> None:
    """For all of them together."""
    first, free, taken = (threading.Lock() for _ in range(3))
    with acquire(first, free, taken):
        pass
    taken.acquire()
    with acquire(first):
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match=rf"could not be had within {timeout:g} s"):
                acquire(free, taken, timeout=timeout).__enter__()
            assert not free.locked()
    assert not first.locked()
    taken.release()
    with acquire(free, taken, timeout=float("inf")):
        assert free.locked()
        assert taken.locked()
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout must be 0 or more"):
            acquire(first, timeout=wrong)


def test_without_waiting_any_order_is_good() -> None:
    """It cannot deadlock, so it is neither refused nor learned."""
    one, other = Named("one"), Named("other")
    nest(one, other)
    with acquire(other):
        with acquire(one, timeout=0):
            pass
    nest(one, other)


def test_an_exception_amid_it_gives_back_what_was_taken() -> None:
    """And leaves nothing behind in the thread."""
    good, bad = Named("good"), Named("bad", KeyError("broken"))
    for locks in ((good, bad), (bad, good)):
        with pytest.raises(KeyError, match="broken"):
            acquire(*locks).__enter__()
        assert not good.lock.locked()
    with pytest.raises(KeyError, match="broken"):
        acquire(bad).__enter__()
    bad.trouble = None
    nest(bad, good)
    with pytest.raises(ZeroDivisionError):
        with acquire(good, bad):
            raise ZeroDivisionError
    assert not good.lock.locked()


def test_a_lock_that_cannot_be_given_back_leaves_none_of_the_others_taken() -> None:
    """The first exception is told."""
    locks = [Named(name) for name in "abc"]
    block = acquire(*locks)
    block.__enter__()
    locks[1].lock.release()
    with pytest.raises(RuntimeError, match="unlocked"):
        block.__exit__(None, None, None)
    assert not any(lock.lock.locked() for lock in locks)
    nest(locks[2], locks[0])


def test_blocks_may_end_in_any_order_and_on_another_thread() -> None:
    """What is held is what was not given back yet."""
    a, b = Named("a"), Named("b")
    outer, inner = acquire(a), acquire(b)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    in_thread(lambda: acquire(a).__enter__())
    a.release()
    in_thread(lambda: inner.__exit__(None, None, None))
    assert not b.lock.locked()
    with acquire(b):
        pass


def test_a_block_is_entered_once_at_a_time() -> None:
    """With one that is used again afterwards."""
    block = acquire(threading.Lock(), threading.Lock())
    for _ in range(2):
        with block:
            with pytest.raises(RuntimeError, match="entered already"):
                block.__enter__()
    with pytest.raises(RuntimeError, match="not entered"):
        block.__exit__(None, None, None)
    with acquire():
        pass


def test_locks_that_die_leave_the_graph() -> None:
    """And what was learned of them is forgotten."""
    gc.collect()
    before = len(_order)
    stays = Named("stays")
    for _ in range(100):
        nest(Named("goes"), stays)
        nest(stays, Named("goes"))
    gc.collect()
    assert len(_order) <= before + 1
    nest(stays, Named("last"))
    node = _order._node(stays)
    assert (len(node.before), len(node.after)) == (0, 1)


def test_what_a_finalizer_takes_while_something_is_learned_does_not_hang() -> None:
    """It runs on the thread that has the graph."""
    one, other = threading.Lock(), threading.Lock()
    with _order._mutex:
        _order._busy = True
        try:
            nest(Named("a"), Named("b"))
            with acquire(one, other):
                assert one.locked()
                assert other.locked()
        finally:
            _order._busy = False


def test_a_child_knows_the_order_and_none_of_its_parents_threads() -> None:
    """Also when another thread was learning, or was amid a call, when it was forked."""
    one, other, third = Named("one"), Named("other"), Named("third")
    nest(one, other)
    holds, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with _order._mutex:
            holds.set()
            leave.wait(PATIENCE)

    def refused() -> bool:
        nest(other, third)
        with pytest.raises(LockOrderViolation):
            nest(third, one)
        return True

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(PATIENCE)
    assert in_child(refused)
    _order._busy = True
    assert in_child(lambda: nests(other, one)), "half learned: learned anew"
    _order._busy = False
    leave.set()
    thread.join()

    with acquire(one):
        with acquire(other):
            # Copies of what this thread has are the child's.
            assert in_child(lambda: one.lock.locked() and nests(third, Named("fourth")))
            with pytest.raises(LockOrderViolation):
                acquire(one).__enter__()


def test_a_lock_of_multiprocessing_that_the_parent_has_is_waited_for_in_the_child() -> None:
    """It is not the child's: neither refused there, nor given back."""
    lock = multiprocessing.get_context("fork").Lock()
    reader, writer = os.pipe()
    block = acquire(lock)
    block.__enter__()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            block.__exit__(None, None, None)
            os.write(writer, b"." if not lock.acquire(False) else b"!")
            with acquire(lock):
                code = 0
        finally:
            os._exit(code)
    assert os.read(reader, 1) == b"."
    block.__exit__(None, None, None)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reader)
    os.close(writer)


def test_many_threads_at_once_do_not_deadlock() -> None:
    """Some nest as they like: whoever is refused gives everything back and goes on."""
    locks = [threading.Lock() for _ in range(6)]
    counts = [0] * len(locks)
    refused: queue.Queue[int] = queue.Queue()

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(300):
            with ExitStack() as stack:
                for _ in range(dice.randint(1, 2)):
                    chosen = dice.sample(range(len(locks)), dice.randint(1, 3))
                    try:
                        stack.enter_context(acquire(*(locks[index] for index in chosen)))
                    except LockOrderViolation:
                        refused.put(seed)
                        break
                    for index in chosen:
                        counts[index] += 1

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a deadlock"
    assert not any(lock.locked() for lock in locks)
    assert sum(counts) > 0
    assert not refused.empty()


AT_EXIT = """
import threading
from stdserve.concurrent import acquire
lock, waits = threading.Lock(), threading.Event()
lock.acquire()
def wait():
    waits.set()
    with acquire(threading.Lock(), lock):
        pass
for _ in range(3):
    threading.Thread(target=wait, daemon=True).start()
waits.wait()
"""


def test_threads_that_still_wait_do_not_hold_up_the_exit() -> None:
    """Several times, side by side: how it ends is a race."""
    runs = [subprocess.Popen([sys.executable, "-c", AT_EXIT], stderr=subprocess.PIPE) for _ in range(3)]
    for run in runs:
        assert run.communicate(timeout=PATIENCE)[1] == b""
        assert run.returncode == 0


def test_an_interrupt_while_it_waits_gives_all_back() -> None:
    """Ctrl-C in the main thread."""
    one, other = threading.Lock(), threading.Lock()
    with acquire(one, other):
        pass
    other.acquire()

    def raise_it(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            acquire(one, other).__enter__()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not one.locked()
    nest(Named("a"), Named("b"))
