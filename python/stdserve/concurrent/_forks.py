"""What objects do when their process forks: a registry, so that the order is that in which they were made.

A forked child has a copy of every object, but of the threads only the one that forked. What an object needs
for its life in the child it may prepare before the fork (`before_fork`): what is made later would miss what
the parent does meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Protocol
from weakref import WeakValueDictionary

from stdserve._stdserve import queues_after_fork

from ._reporting import report


class Forks(Protocol):
    """An object that wants to know."""

    def before_fork(self) -> None:
        """In the parent, by the thread that forks; other threads still run."""

    def after_fork_in_parent(self) -> None:
        """In the parent, also where the fork has failed."""

    def after_fork_in_child(self) -> None:
        """In the child, where no other thread is; locks may be held by threads that are no more."""


_known: WeakValueDictionary[int, Forks] = WeakValueDictionary()
_last: list[Callable[[], None]] = []


def tell(one: Forks) -> None:
    """Tells the object of forks for as long as it lives."""
    _known[id(one)] = one


def begin_in_child(start: Callable[[], None]) -> None:
    """Calls `start` in each child when all objects are what they shall be: there threads may be started."""
    _last.append(start)


def is_to_be_forked() -> bool:
    """Whether this is an import by `--preload`: workers have no threads of it, and share its connections."""
    audit = sys.modules.get("stdserve._fork_audit")
    return audit is not None and audit.is_watching()


def _all() -> list[Forks]:
    return [one for one in [reference() for reference in _known.valuerefs()] if one is not None]


def _each(steps: Iterable[Callable[[], None]]) -> None:
    # One that fails (for want of memory, say) must not leave the others with locks that nobody gives back.
    for step in steps:
        try:
            step()
        except Exception as error:
            report(error)


def _before() -> None:
    _each(one.before_fork for one in _all())


def _in_parent() -> None:
    _each(one.after_fork_in_parent for one in _all())


def _in_child() -> None:
    # First of all: what comes then may use a queue.
    queues_after_fork()
    _each(one.after_fork_in_child for one in _all())
    _each(_last)


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
