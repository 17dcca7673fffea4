"""The order in which locks are nested, learned while a program runs.

A graph has an edge from each lock that was held to each that was wanted meanwhile. As long as it has no cycle
no threads can wait for one another for ever; so whoever is about to close one is refused. Two things count as
an edge:

- a nesting: a lock wanted inside the block of another one. It is remembered for as long as both locks live.
- a call that takes several locks and is not done yet: it holds the first while it waits for the second. The
  order that it takes them in is nobody's business but its own, so this is forgotten when it is done.

Each lock has a rank, and every edge leads to a higher one. At first the rank is the lock's age; a nesting
against it moves the ranks in between (D. J. Pearce and P. H. J. Kelly, "A dynamic topological sort algorithm
for directed acyclic graphs", ACM JEA 11, 2006). So locks sorted by rank are in an order that fits all that
was learned.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import NamedTuple, Protocol


class Lockable(Protocol):
    """What `acquire` takes: the locks of `threading` and `multiprocessing`, and what behaves like them."""

    def acquire(self, blocking: bool = ..., timeout: float = ..., /) -> bool:
        """Waits for the lock, or looks only (`blocking` false); says whether it was had."""

    def release(self) -> object:
        """Gives it back."""


#: A line of code, cheaply: the code and the place of the instruction.
Spot = tuple[CodeType, int]


class Call(Protocol):
    """One call of `acquire`."""

    @property
    def spot(self) -> Spot:
        """Where it stands."""

    @property
    def thread(self) -> str:
        """The name of the thread that makes it."""


class Nesting(NamedTuple):
    """One lock wanted while another one was held."""

    #: The name of the thread.
    thread: str
    #: Where the call stands that has the first lock.
    held_at: Spot
    #: Where the call stands that wants the second.
    wanted_at: Spot
    #: One call takes both, and has not got them yet.
    passing: bool = False


class Node:
    """A lock in the graph."""

    __slots__ = ("after", "before", "key", "lock", "rank")

    def __init__(self, lock: Lockable, rank: int, died: Callable[[int, object], None]) -> None:
        self.key = id(lock)
        self.rank = rank
        #: What was wanted while this was held, and the first time that it was.
        self.after: dict[Node, Nesting] = {}
        self.before: set[Node] = set()
        self.lock: Callable[[], Lockable | None]
        try:
            self.lock = weakref.ref(lock, partial(died, self.key))
        except TypeError:
            self.lock = lambda: lock


class Link(NamedTuple):
    """An edge: `first` was held while `second` was wanted."""

    first: Node
    second: Node
    nesting: Nesting


@dataclass(frozen=True)
class Cycle:
    """Why a lock must not be waited for."""

    held: Lockable
    #: The call that has it.
    since: Call
    wanted: Lockable
    #: From what is wanted to what is held.
    path: Sequence[Link]


class LockOrder:
    """The graph of all locks of a process."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._mutex = threading.RLock()
        #: Somebody is in `_learn`. Who sees it with the mutex is a signal handler or a finalizer amid that.
        self._busy = False
        #: Odd while ranks change.
        self._epoch = 0
        self._nodes: dict[int, Node] = {}
        self._ages = itertools.count()
        #: Locks that have died and still stand in the sets of others.
        self._dead: deque[Node] = deque()
        #: Calls that take several locks and are not done, with these in the order that they take them in.
        self._taking: dict[Call, Sequence[Lockable]] = {}

    def __len__(self) -> int:
        """How many locks it knows."""
        return len(self._nodes)

    def arrange(
        self, call: Call, wanted: Sequence[Lockable], outer: Collection[tuple[Lockable, Call]]
    ) -> Sequence[Lockable] | Cycle:
        """Learns that all of `wanted` are to be had while `outer` are held by the same thread.

        Returns them in the order to take them in; where they are more than one `done` has to follow. Or,
        having learned nothing, why they must not be waited for.
        """
        nodes, epoch = self._nodes, self._epoch
        try:
            # Without the mutex: what is in these dicts stays there while the locks live.
            for lock, _ in outer:
                after = nodes[id(lock)].after
                for other in wanted:
                    after[nodes[id(other)]]
            if len(wanted) == 1:
                return wanted
            self._taking[call] = order = self._sorted(wanted)
        except KeyError:
            return self._learn(call, wanted, outer)
        # Whoever changes ranks says so first, and then looks who is taking.
        if epoch & 1 or self._epoch != epoch:
            return self._learn(call, wanted, outer)
        return order

    def done(self, call: Call) -> None:
        """The call has its locks, or has given up."""
        self._taking.pop(call, None)

    def after_fork(self, calls: Iterable[Call]) -> None:
        """In a child: what was learned holds there, too. `calls`: those of the thread that is left."""
        if self._busy:
            # Another thread was at it, and left it half done.
            self._renew()
            return
        self._mutex = threading.RLock()
        own = set(calls)
        self._taking = {call: nodes for call, nodes in self._taking.items() if call in own}

    def _sorted(self, locks: Sequence[Lockable]) -> Sequence[Lockable]:
        nodes = self._nodes
        if len(locks) == 2:
            first, second = locks
            return locks if nodes[id(first)].rank < nodes[id(second)].rank else (second, first)
        return sorted(locks, key=lambda lock: nodes[id(lock)].rank)

    def _learn(
        self, call: Call, wanted: Sequence[Lockable], outer: Collection[tuple[Lockable, Call]]
    ) -> Sequence[Lockable] | Cycle:
        thread = call.thread
        with self._mutex:
            if self._busy:
                return wanted
            self._busy = True
            try:
                self._taking.pop(call, None)
                self._bury()
                held = {self._node(lock): (lock, since) for lock, since in outer}
                mine = {self._node(lock): lock for lock in wanted}
                new = [
                    Link(first, second, Nesting(thread, since.spot, call.spot))
                    for first, (_, since) in held.items()
                    for second in mine
                    if second not in first.after
                ]
                refused = self._add(new)
                if refused is not None:
                    link, path = refused
                    return Cycle(*held[link.first], mine[link.second], path)
                order = self._sorted(wanted)
                if len(order) > 1:
                    self._taking[call] = order
                return order
            finally:
                self._busy = False

    def _add(self, links: Sequence[Link]) -> tuple[Link, list[Link]] | None:
        """Adds them all, or none: then says which would close a cycle, and with which path."""
        against = [link for link in links if link.first.rank > link.second.rank]
        if not against:
            for link in links:
                _join(link)
            return None
        self._epoch += 1
        try:
            # A copy, which is made in one step: calls come and go meanwhile, also in finalizers that the
            # collector runs. One that comes now will look at the ranks again.
            taking = list(self._taking.copy().items())
            edges = _Edges((call, [self._node(lock) for lock in locks]) for call, locks in taking)
            for link in against:
                path = edges.path(link.second, link.first)
                if path is not None:
                    return link, path
            for link in links:
                if link.first.rank > link.second.rank:
                    edges.lift(link.first, link.second)
                _join(link)
            return None
        finally:
            self._epoch += 1

    def _node(self, lock: Lockable) -> Node:
        node = self._nodes.get(id(lock))
        if node is None:
            node = self._nodes[id(lock)] = Node(lock, next(self._ages), self._died)
        return node

    def _died(self, key: int, _: object) -> None:
        # Called wherever the last reference goes: nothing may be waited for here.
        node = self._nodes.pop(key, None)
        if node is not None:
            self._dead.append(node)

    def _bury(self) -> None:
        while self._dead:
            node = self._dead.popleft()
            for other in node.after:
                other.before.discard(node)
            for other in node.before:
                other.after.pop(node, None)


class _Edges:
    """The nestings, and beside them what is being taken now."""

    def __init__(self, taking: Iterable[tuple[Call, Sequence[Node]]]) -> None:
        self._links: list[Link] = [
            Link(first, second, Nesting(call.thread, call.spot, call.spot, passing=True))
            for call, nodes in taking
            for first, second in itertools.pairwise(nodes)
        ]

    def _after(self, node: Node) -> Iterable[Link]:
        for second, nesting in node.after.items():
            yield Link(node, second, nesting)
        yield from (link for link in self._links if link.first is node)

    def _before(self, node: Node) -> Iterable[Node]:
        yield from node.before
        yield from (link.first for link in self._links if link.second is node)

    def path(self, start: Node, end: Node) -> list[Link] | None:
        """A shortest way along the edges."""
        reached: dict[Node, Link | None] = {start: None}
        queue = deque([start])
        while queue:
            for link in self._after(queue.popleft()):
                if link.second in reached or link.second.rank > end.rank:
                    continue
                reached[link.second] = link
                if link.second is end:
                    return _walk_back(reached, end)
                queue.append(link.second)
        return None

    def lift(self, first: Node, second: Node) -> None:
        """Moves `first`, and what is before it, below `second` and what is after that."""
        low, high = second.rank, first.rank

        def later(node: Node) -> Iterable[Node]:
            return (link.second for link in self._after(node) if link.second.rank < high)

        def earlier(node: Node) -> Iterable[Node]:
            return (other for other in self._before(node) if other.rank > low)

        parts = _closure(first, earlier), _closure(second, later)
        moved = [node for part in parts for node in sorted(part, key=_rank)]
        for node, rank in zip(moved, sorted(node.rank for node in moved), strict=True):
            node.rank = rank


def _rank(node: Node) -> int:
    return node.rank


def _join(link: Link) -> None:
    link.first.after[link.second] = link.nesting
    link.second.before.add(link.first)


def _closure(start: Node, neighbours: Callable[[Node], Iterable[Node]]) -> set[Node]:
    found = {start}
    queue = [start]
    while queue:
        for node in neighbours(queue.pop()):
            if node not in found:
                found.add(node)
                queue.append(node)
    return found


def _walk_back(reached: Mapping[Node, Link | None], end: Node) -> list[Link]:
    path = []
    link = reached[end]
    while link is not None:
        path.append(link)
        link = reached[link.first]
    return path[::-1]
