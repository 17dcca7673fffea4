"""`acquire` against a model: what would close a cycle is refused, nothing else is, and nothing deadlocks."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdserve.concurrent import LockOrderViolation, acquire
from stdserve.concurrent._lock_order import Cycle, Lockable, LockOrder, Spot

from support.waiting import PATIENCE

#: Names of locks, each before those that it was held for.
Edges = set[tuple[int, int]]


def reaches(edges: Edges, start: int, ends: Iterable[int]) -> bool:
    """Whether there is a way from `start` to one of `ends`."""
    ends, seen, found = set(ends), {start}, [start]
    while found:
        one = found.pop()
        if one in ends:
            return True
        new = {other for first, other in edges if first == one} - seen
        seen |= new
        found += new
    return False


class Call:
    """What the graph knows of a call."""

    spot: Spot = (reaches.__code__, 0)
    thread = "a thread"


#: Outer locks, wanted ones, and whether the call is still at it when the next one comes.
Step = tuple[list[int], list[int], bool]
LOCKS = 7
some_locks = st.lists(st.integers(0, LOCKS - 1), unique=True, min_size=1, max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(some_locks | st.just([]), some_locks, st.booleans()), max_size=40))
def test_the_graph_refuses_what_closes_a_cycle_and_orders_by_what_it_knows(steps: list[Step]) -> None:
    """Calls that are still taking their locks count as long as they do, nestings for ever."""
    order = LockOrder()
    locks: list[Lockable] = [threading.Lock() for _ in range(LOCKS)]
    nested: Edges = set()
    passing: dict[Call, Edges] = {}
    for outer, wanted, stays in steps:
        wanted = [name for name in wanted if name not in outer]
        if not wanted:
            continue
        call = Call()
        edges = nested.union(*passing.values())
        arranged = order.arrange(
            call, [locks[name] for name in wanted], [(locks[name], Call()) for name in outer]
        )
        if any(reaches(edges, name, outer) for name in wanted):
            assert isinstance(arranged, Cycle)
            check_reason(arranged, locks, outer, wanted, edges)
            continue
        assert not isinstance(arranged, Cycle)
        nested |= {(first, second) for first in outer for second in wanted}
        chosen = [locks.index(lock) for lock in arranged]
        assert sorted(chosen) == sorted(wanted)
        edges = nested.union(*passing.values())
        for index, name in enumerate(chosen):
            assert not reaches(edges, name, chosen[:index]), "an order that fits"
        if len(chosen) > 1 and stays:
            passing[call] = set(itertools.pairwise(chosen))
        else:
            order.done(call)
        if len(passing) > 2:
            oldest = next(iter(passing))
            del passing[oldest]
            order.done(oldest)


@pytest.mark.parametrize("late", [False, True])
def test_ranks_that_change_while_a_call_chooses_its_order(late: bool) -> None:
    """A nesting just before it says in which order it takes its locks counts; one just after is refused."""
    order = LockOrder()
    older, younger = threading.Lock(), threading.Lock()
    call = Call()
    order.arrange(call, [older, younger], [])
    order.done(call)
    nested: list[bool] = []

    class Amid(dict[Any, Sequence[Lockable]]):
        """What another thread does when this one is about to set its item, or has just set it."""

        def __setitem__(self, key: object, locks: Sequence[Lockable]) -> None:
            if late:
                super().__setitem__(key, locks)
            if not nested:
                nested.append(True)
                nested[0] = not isinstance(order.arrange(Call(), [older], [(younger, Call())]), Cycle)
            super().__setitem__(key, locks)

    order._taking = Amid()
    arranged = order.arrange(call, [older, younger], [])
    assert nested == [not late]
    assert not isinstance(arranged, Cycle)
    expected = [older, younger] if late else [younger, older]
    assert [one is other for one, other in zip(arranged, expected, strict=True)] == [True, True]


def check_reason(
    cycle: Cycle, locks: Sequence[Lockable], outer: Sequence[int], wanted: Sequence[int], edges: Edges
) -> None:
    """It leads from what is wanted to what is held, by nestings that have been."""
    path = [(index_of(locks, link.first.lock()), index_of(locks, link.second.lock())) for link in cycle.path]
    assert set(path) <= edges
    assert all(one[1] == next_one[0] for one, next_one in itertools.pairwise(path))
    assert path[0][0] == index_of(locks, cycle.wanted)
    assert path[-1][1] == index_of(locks, cycle.held)
    assert (path[0][0] in wanted, path[-1][1] in outer) == (True, True)


def index_of(locks: Sequence[Lockable], lock: Lockable | None) -> int:
    """Which one it is."""
    return next(index for index, one in enumerate(locks) if one is lock)


@dataclass(frozen=True)
class Event:
    """What a thread tells the test."""

    who: int
    what: str
    lock: int = -1


class Watched:
    """A lock that tells when somebody waits for it, has it, and gives it back."""

    def __init__(self, name: int, events: queue.Queue[Event]) -> None:
        self.name = name
        self._events = events
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool:
        who = int(threading.current_thread().name)
        if not self._lock.acquire(False):
            if not blocking:
                return False
            self._events.put(Event(who, "waits", self.name))
            self._lock.acquire(True, timeout)
        self._events.put(Event(who, "has", self.name))
        return True

    def release(self) -> None:
        self._events.put(Event(int(threading.current_thread().name), "gives", self.name))
        self._lock.release()


@dataclass
class Player:
    """A thread that enters and leaves blocks as it is told."""

    name: int
    locks: Sequence[Watched]
    events: queue.Queue[Event]
    orders: queue.Queue[list[int] | None] = field(default_factory=queue.Queue)
    #: What the test knows: the blocks that it is in, whether it is at work, and the lock that it waits for.
    blocks: list[list[int]] = field(default_factory=list)
    asked: list[int] | None = None
    waits: int | None = None
    busy: bool = False

    def start(self) -> None:
        """Runs until it is told an empty list."""
        self.thread = threading.Thread(target=self._run, name=str(self.name), daemon=True)
        self.thread.start()

    def _run(self) -> None:
        stacks: list[ExitStack] = []
        while (order := self.orders.get()) != []:
            if order is None:
                stacks.pop().close()
                self.events.put(Event(self.name, "left"))
                continue
            stack = ExitStack()
            try:
                stack.enter_context(acquire(*(self.locks[name] for name in order)))
            except LockOrderViolation as error:
                self.events.put(
                    Event(self.name, "refused by itself" if error.held is error.wanted else "refused")
                )
            else:
                stacks.append(stack)
                self.events.put(Event(self.name, "entered"))


class Game:
    """Threads with locks, moved one step at a time, and the model of what they do."""

    def __init__(self, players: int, locks: int) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.locks = [Watched(name, self.events) for name in range(locks)]
        self.players = [Player(name, self.locks, self.events) for name in range(players)]
        self.owners: dict[int, int] = {}
        self.nested: Edges = set()
        for player in self.players:
            player.start()

    def held(self, player: Player) -> set[int]:
        return {name for block in player.blocks for name in block}

    def passing(self) -> Edges:
        """What calls that are amid it may wait for, in whatever order they take their locks."""
        amid = [set(player.asked or ()) - self.held(player) for player in self.players if player.busy]
        return {(one, other) for names in amid for one in names for other in names if one != other}

    def enter(self, player: Player, names: list[int]) -> None:
        """Has a thread take locks, and says whether it did as the model does."""
        held = self.held(player)
        twice, fresh = held & set(names), set(names) - held
        surely = any(reaches(self.nested, name, held) for name in fresh)
        perhaps = any(reaches(self.nested | self.passing(), name, held) for name in fresh)
        player.asked, player.busy = names, True
        player.orders.put(names)
        last = self.settle(player)
        if twice:
            assert last == "refused by itself"
        elif surely:
            assert last == "refused"
        elif not perhaps:
            assert last in ("entered", "waits")
        if last in ("entered", "waits"):
            self.nested |= {(one, other) for one in held for other in fresh}

    def leave(self, player: Player) -> None:
        """Has a thread leave its innermost block."""
        player.asked, player.busy = None, True
        player.orders.put(None)
        self.settle(player)

    def settle(self, player: Player) -> str:
        """Reads events until each thread is idle, or waits for what another one has; this one's last."""
        last = ""
        while not self.at_rest():
            event = self.events.get(timeout=PATIENCE)
            actor = self.players[event.who]
            if actor is player:
                last = event.what
            if event.what == "waits":
                actor.waits = event.lock
            elif event.what == "has":
                assert event.lock not in self.owners, "one owner"
                self.owners[event.lock] = event.who
                actor.waits = None
            elif event.what == "gives":
                assert self.owners.pop(event.lock) == event.who
            else:
                if event.what == "entered":
                    actor.blocks.append(actor.asked or [])
                elif event.what == "left":
                    actor.blocks.pop()
                actor.busy, actor.asked = False, None
        return last

    def at_rest(self) -> bool:
        return all(
            not player.busy or (player.waits is not None and player.waits in self.owners)
            for player in self.players
        )

    def end(self) -> None:
        """All leave; whoever cannot is in a deadlock."""
        while any(player.blocks or player.busy for player in self.players):
            free = [player for player in self.players if player.blocks and not player.busy]
            assert free, "a deadlock"
            self.leave(free[0])
        for player in self.players:
            player.orders.put([])
            player.thread.join(PATIENCE)
            assert not player.thread.is_alive()


PLAYERS = 4
moves = st.lists(
    st.tuples(
        st.integers(0, PLAYERS - 1),
        st.none() | st.lists(st.integers(0, 3), unique=True, min_size=1, max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(moves)
def test_random_nestings_never_deadlock_and_are_refused_only_for_a_cycle(
    moves: list[tuple[int, list[int] | None]],
) -> None:
    """Real threads: whoever is refused goes on without, and in the end all can leave."""
    game = Game(PLAYERS, 4)
    for who, names in moves:
        player = game.players[who]
        if player.busy:
            continue
        if names is not None:
            game.enter(player, names)
        elif player.blocks:
            game.leave(player)
        # Between steps somebody can always move.
        assert not all(player.busy for player in game.players), "a deadlock"
    game.end()
