"""Waiting for something to become true, for at most a generous time."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Nothing here takes this long; it only keeps a broken server from holding up the run.
PATIENCE = 30.0


def until(check: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Return `check()` as soon as it is true.

    For facts that cannot be waited for as an event (another process's entry in /proc). Asks often at first,
    then every 50 ms.
    """
    end = time.monotonic() + patience
    pause = 0.001
    never = threading.Event()
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:.0f} s: {what} (last seen: {value!r})")
        never.wait(pause)
        pause = min(pause * 2, 0.05)


class TooSlow(Exception):
    """The machine was too slow for what a test arranges: whether the server is right cannot be told."""


def at_some_pace(test: Callable[..., None]) -> Callable[..., None]:
    """A test whose time-outs must be longer than what this machine takes for something else.

    How long that is depends on what else runs. The test is given a `pace`, a factor of its time-outs, and
    raises `TooSlow` where it sees that one was over too early; then it has another try, with longer ones.
    """

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        for pace in (1, 5, 25, 100):
            try:
                return test(**fixtures, pace=pace)
            except TooSlow:
                continue
        raise AssertionError("no machine should be so slow")

    signature = inspect.signature(test)
    others = [one for name, one in signature.parameters.items() if name != "pace"]
    run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    return run
