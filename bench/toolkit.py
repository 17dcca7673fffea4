"""Compares parts of `stdserve.concurrent` with the recipes that they take the place of: CPU per operation.

    python bench/toolkit.py [--only queues,actor,acquire,exchange,robots] [--rounds 5]

Each side of a workload (`bench/toolkit/`) runs in a process of its own, in turns; its CPU time is that of the
process and its children, less that of the same program with next to nothing to do. The ratio is the median of
the ratios of the rounds. `must` is what the project asks of itself. What a workload reads is made before, by
a process whose time is not counted, in a temporary folder that is gone afterwards.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).with_name("toolkit")
SIDES = ("recipe", "ours")


@dataclass(frozen=True)
class Workload:
    """A program of `bench/toolkit`, how many operations it is asked for, and the highest ratio."""

    name: str
    count: int
    must: float
    what: str
    prepared: bool = False
    """It is called with `prepare` first, for files in `tempfile.gettempdir()`."""


WORKLOADS = [
    Workload("queues", 300_000, 1 / 3, "PollableQueue put and get / the socketpair recipe"),
    Workload("actor", 1_000_000, 1 / 2, "messages to an Actor / the queue.Queue recipe"),
    Workload("acquire", 100_000, 1, "acquire of one lock, of two, and nested / the recipe by id()"),
    Workload("exchange", 20_000, 1 / 5, "Exchange across processes / redis-py publish and subscribe"),
    Workload(
        "robots", 1_000_000, 1 / 4, "lines of gzipped logs / the ProcessPoolExecutor recipe", prepared=True
    ),
]


def cpu(workload: Workload, side: str, count: int) -> float:
    """Seconds of CPU time that one side takes for so many operations, its children included."""
    program = HERE / f"{workload.name}.py"
    process = subprocess.Popen([sys.executable, str(program), side, str(count)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{program.name} {side} {count} failed with code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def compare(workload: Workload, rounds: int) -> None:
    """Runs both sides in turns and prints what an operation costs."""
    if workload.prepared:
        for count in (1, workload.count):
            cpu(workload, "prepare", count)
    idle = {side: statistics.median(cpu(workload, side, 1) for _ in range(rounds)) for side in SIDES}
    costs: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES if turn % 2 else reversed(SIDES):
            spent = max(cpu(workload, side, workload.count) - idle[side], 1e-9)
            costs[side].append(spent / workload.count * 1e6)
    ratio = statistics.median(
        ours / theirs for ours, theirs in zip(costs["ours"], costs["recipe"], strict=True)
    )
    ours, theirs = statistics.median(costs["ours"]), statistics.median(costs["recipe"])
    verdict = "reached" if ratio <= workload.must else "missed"
    figures = f"{ours:8.2f} us {theirs:8.2f} us {ratio:7.3f} {workload.must:7.3f}"
    print(f"{workload.name:9} {figures}  {verdict:8} {workload.what}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(workload.name for workload in WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'':9} {'ours':>11} {'recipe':>11} {'ratio':>7} {'must':>7}")
    with tempfile.TemporaryDirectory(prefix="stdserve-bench-") as folder:
        os.environ["TMPDIR"] = folder
        for workload in WORKLOADS:
            if workload.name in arguments.only.split(","):
                compare(workload, arguments.rounds)


if __name__ == "__main__":
    main()
