"""Several locks at once, in an order that cannot end in a deadlock.

    with acquire(one, other):
        ...

Whoever nests locks in the opposite order of what any thread has done before is refused before it waits:
`_lock_order` says how that is known.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from stdserve.concurrent._lock_order import Cycle, Lockable, LockOrder, Spot

__all__ = ["LockNesting", "LockOrderViolation", "LockPlace", "acquire"]


class LockPlace(NamedTuple):
    """A line of code that takes a lock."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}, in {self.function}"
        source = linecache.getline(self.file, self.line).strip()
        return f"{text}: {source}" if source else text


@dataclass(frozen=True)
class LockNesting:
    """That a thread held one lock while it wanted another."""

    #: The name of the thread.
    thread: str
    #: The locks as text. Of one that has died since, that it has.
    held: str
    wanted: str
    #: Where the one was taken.
    held_at: LockPlace
    #: Where the other was wanted.
    wanted_at: LockPlace
    #: One call takes both, and is amid that.
    passing: bool = False

    def __str__(self) -> str:
        if self.passing:
            return (
                f"thread {self.thread!r} is just taking {self.held}, then {self.wanted}\n"
                f"    at {self.wanted_at}"
            )
        return (
            f"thread {self.thread!r} had {self.held}\n    from {self.held_at}\n"
            f"  when it wanted {self.wanted}\n    at {self.wanted_at}"
        )


class LockOrderViolation(RuntimeError):
    """To wait for this lock could be a deadlock, now or in another run."""

    def __init__(
        self,
        held: Lockable,
        wanted: Lockable,
        held_at: LockPlace,
        wanted_at: LockPlace,
        seen: Sequence[LockNesting],
    ) -> None:
        #: The lock that this thread has.
        self.held = held
        #: The lock that it wants; the same, where that is taken already and cannot be taken twice.
        self.wanted = wanted
        #: Where it has taken the one.
        self.held_at = held_at
        #: Where it wants the other.
        self.wanted_at = wanted_at
        #: The opposite order, as it was seen first: from `wanted` to `held`, one nesting or a chain of them.
        self.seen = tuple(seen)
        text = f"{wanted!r} is wanted\n    at {wanted_at}\n"
        if held is wanted:
            text += f"  by the thread that has it\n    from {held_at}\nIt would wait for itself."
        else:
            text += f"  while {held!r} is held\n    from {held_at}\nThe opposite order was seen:"
            text += "".join(f"\n  {nesting}" for nesting in seen)
        super().__init__(text)


class acquire:
    """Takes several locks, and gives them back at the end of the block.

    In which order they are named makes no difference: they are taken in one that fits how locks were nested
    so far in this process, the older ones first. Blocks may be nested. A lock that is named twice is taken
    once. One that the thread has already is taken again if that can be had at once, as with an RLock.

    `timeout`: seconds for all of them together. With 0 nothing is waited for, so that any order will do.

    Entering raises `LockOrderViolation`, before anything is waited for, where a thread has nested the same
    locks the other way round, or where this thread would wait for itself; `TimeoutError` when time is up.
    What was taken by then is given back, as with every other exception.

    Only locks that are taken by `acquire` are seen.
    """

    __slots__ = ("_at", "_code", "_held", "_locks", "_taken", "_thread", "_timeout")

    def __init__(self, *locks: Lockable, timeout: float | None = None) -> None:
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be 0 or more, not {timeout!r}")
        frame = sys._getframe(1)
        self._code, self._at = frame.f_code, frame.f_lasti
        self._locks = locks
        self._timeout = timeout
        #: The blocks of its thread, while it is one of them.
        self._held: list[acquire] | None = None
        self._taken: Sequence[Lockable] = ()

    @property
    def spot(self) -> Spot:
        """Where it stands in the code."""
        return self._code, self._at

    @property
    def thread(self) -> str:
        """The name of the thread that takes the locks."""
        return self._thread.name

    def __enter__(self) -> None:
        if self._held is not None:
            raise RuntimeError("this block has been entered already: each needs an acquire() of its own")
        held = _here.held
        if held or self._timeout is not None or len(self._locks) != 1:
            self._thread = _here.thread
            self._enter(held)
            return
        # One lock, and no other: no order.
        self._locks[0].acquire()
        self._taken = self._locks
        self._held = held
        held.append(self)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held, taken = self._held, self._taken
        if held is None:
            raise RuntimeError("this block was not entered")
        self._held, self._taken = None, ()
        try:
            if len(taken) == 1:
                taken[0].release()
            else:
                _give_back(taken)
        finally:
            # Blocks may end in any order, and on another thread.
            if held[-1] is self:
                held.pop()
            else:
                held.remove(self)

    def _enter(self, held: list[acquire]) -> None:
        fresh: Sequence[Lockable] = self._locks
        again: Sequence[Lockable] = ()
        mine: dict[int, tuple[Lockable, acquire]] = {}
        for block in held:
            for lock in block._taken:
                mine[id(lock)] = lock, block
        named = {*map(id, fresh)}
        if len(named) != len(fresh):
            fresh = list({id(lock): lock for lock in fresh}.values())
        if not named.isdisjoint(mine):
            again = [lock for lock in fresh if id(lock) in mine]
            fresh = [lock for lock in fresh if id(lock) not in mine]
        taken: list[Lockable] = []
        self._held, self._taken = held, taken
        held.append(self)
        try:
            for lock in again:
                if not lock.acquire(False):
                    place = _place(mine[id(lock)][1].spot)
                    raise LockOrderViolation(lock, lock, place, _place(self.spot), ())
                taken.append(lock)
            # Who never waits closes no cycle.
            if self._timeout != 0 and (len(fresh) > 1 or (mine and fresh)):
                arranged = _order.arrange(self, fresh, mine.values())
                if isinstance(arranged, Cycle):
                    raise _violation(arranged, self)
                fresh = arranged
            if self._timeout is None:
                for lock in fresh:
                    lock.acquire()
                    taken.append(lock)
            else:
                self._take_in_time(fresh, taken, self._timeout)
        except BaseException as error:
            self._held, self._taken = None, ()
            held.remove(self)
            try:
                _give_back(taken)
            except Exception as trouble:
                error.add_note(f"and a lock could not be given back: {trouble!r}")
            raise
        finally:
            if len(fresh) > 1:
                _order.done(self)

    def _take_in_time(self, fresh: Sequence[Lockable], taken: list[Lockable], timeout: float) -> None:
        end = time.monotonic() + timeout
        for lock in fresh:
            left = min(end - time.monotonic(), threading.TIMEOUT_MAX)
            if not (lock.acquire(True, left) if left > 0 else lock.acquire(False)):
                raise TimeoutError(f"{lock!r} could not be had within {timeout:g} s")
            taken.append(lock)


class _Here(threading.local):
    """What is each thread's own."""

    def __init__(self) -> None:
        #: The blocks that it is in, the innermost last.
        self.held: list[acquire] = []
        self.thread = threading.current_thread()


_here = _Here()
_order = LockOrder()


def _give_back(taken: Sequence[Lockable]) -> None:
    """All of them, whatever happens; raises the first exception."""
    trouble: BaseException | None = None
    for lock in reversed(taken):
        try:
            lock.release()
        except BaseException as error:
            trouble = trouble or error
    if trouble is not None:
        raise trouble


def _place(spot: Spot) -> LockPlace:
    code, at = spot
    lines = (line for start, end, line in code.co_lines() if start <= at < end and line is not None)
    return LockPlace(code.co_filename, next(lines, code.co_firstlineno), code.co_qualname)


def _violation(cycle: Cycle, call: acquire) -> LockOrderViolation:
    def name(lock: Lockable | None) -> str:
        return "a lock that is no more" if lock is None else repr(lock)

    seen = [
        LockNesting(
            nesting.thread,
            name(first.lock()),
            name(second.lock()),
            _place(nesting.held_at),
            _place(nesting.wanted_at),
            nesting.passing,
        )
        for first, second, nesting in cycle.path
    ]
    return LockOrderViolation(cycle.held, cycle.wanted, _place(cycle.since.spot), _place(call.spot), seen)


def _after_fork_in_child() -> None:
    _order.after_fork(_here.held)
    # Locks of multiprocessing are shared: what the parent holds is not the child's.
    shared = sys.modules.get("multiprocessing.synchronize")
    if shared is not None:
        for block in _here.held:
            block._taken = [lock for lock in block._taken if not isinstance(lock, shared.SemLock)]


os.register_at_fork(after_in_child=_after_fork_in_child)
