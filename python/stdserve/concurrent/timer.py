"""A watch to be started and stopped (Python Cookbook, 13.13)."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ContextDecorator
from types import TracebackType
from typing import Self

__all__ = ["Timer"]


class Timer(ContextDecorator):
    """Adds up the time between `start()` and `stop()`, or that its blocks take, or the functions that it
    decorates.

    `func`: the clock, in seconds; `time.process_time` for processor time. A timer is one watch: threads, and
    functions that call themselves, need one each.
    """

    def __init__(self, func: Callable[[], float] = time.perf_counter) -> None:
        self._func = func
        self._start: float | None = None
        self._sum = 0.0

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._start is not None

    @property
    def elapsed(self) -> float:
        """Seconds so far; of one that runs, up to now."""
        start = self._start
        return self._sum if start is None else self._sum + (self._func() - start)

    def start(self) -> None:
        """Goes on from where it was stopped. Raises RuntimeError where it runs."""
        if self._start is not None:
            raise RuntimeError("this timer has been started already")
        self._start = self._func()

    def stop(self) -> None:
        """Keeps what has elapsed. Raises RuntimeError where it does not run."""
        if self._start is None:
            raise RuntimeError("this timer was not started")
        self._sum += self._func() - self._start
        self._start = None

    def reset(self) -> None:
        """Begins at 0 again, and runs on if it runs."""
        self._sum = 0.0
        if self._start is not None:
            self._start = self._func()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
