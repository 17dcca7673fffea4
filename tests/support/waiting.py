"""Waiting for something to become true, for at most a generous time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

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
