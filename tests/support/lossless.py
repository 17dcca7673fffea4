"""A steady load beside a running server; see `steady.py`, which is the client."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from .serving import Served

#: Connections of the load, each with at most one request on its way.
CONNECTIONS = 32
PROGRAM = Path(__file__).with_name("steady.py")


@dataclass
class Counts:
    """What became of the requests that were sent."""

    sent: int
    good: int
    retries: int
    failed: dict[str, int]
    seconds: float
    slowest: float
    lost_on: list[tuple[int, str]] = field(default_factory=list, repr=False)
    """Of each failure the port of its connection, and why; in the last counts only, as what follows."""
    retried_on: list[tuple[int, int]] = field(default_factory=list, repr=False)
    """Of each retry who had answered on its connection before, and its port."""
    by_worker: dict[str, int] = field(default_factory=dict, repr=False)
    """How many requests each process has answered."""

    @property
    def lost(self) -> int:
        """Failed or wrong answers."""
        return sum(self.failed.values())

    def without(self, *reasons: str) -> dict[str, int]:
        """What failed for other reasons than these."""
        return {why: count for why, count in self.failed.items() if why not in reasons}


class SteadyLoad:
    """The client as a process of its own, from its first answers to the end of the `with`."""

    def __init__(self, server: Served, rate: int = 2000, connections: int = CONNECTIONS) -> None:
        host, port = server.address
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, host, str(port), f"--rate={rate}", f"--connections={connections}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._last: Counts | None = None

    def __enter__(self) -> SteadyLoad:
        assert self._line() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind:
            self._process.kill()
        else:
            self.end()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def wait(self, more: int) -> Counts:
        """Waits until so many more requests have been answered or have failed; the counts then."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{more}\n")
        self._process.stdin.flush()
        return Counts(**json.loads(self._line()))

    def end(self) -> Counts:
        """Sends no more, and waits for what is due; the last counts."""
        if self._last is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._last = Counts(**json.loads(self._line()))
        return self._last
