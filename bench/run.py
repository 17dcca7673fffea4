#!/usr/bin/env python3
"""Measures stdserve against its peers: see README.md."""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import clients
import envs
import figures
import load
import report
from processes import Running, memory
from servers import BENCH, SERVERS, Server
from workloads import WORKLOADS, Workload

RESULTS = BENCH / "results"


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, _terminated)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("two cores are needed: one for the server, one for the load", file=sys.stderr)
        return 2
    try:
        absent = envs.prepare(options.servers)
    except (envs.Missing, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, reason in absent.items():
        print(f"without {name}: {reason}", file=sys.stderr)
    servers = [server for server in options.servers if server.name not in absent]
    load.pin(cores[1])
    results: report.Outcomes = {}
    (RESULTS / "logs").mkdir(parents=True, exist_ok=True)
    try:
        for workload in options.only:
            fit = [server for server in servers if server.kind == workload.kind]
            fit = [server for server in fit if server.role != "floor" or workload.floor]
            results[workload.name] = _measure(workload, fit, cores[0], options.seconds, options.rounds)
            print(report.workload_table(workload, results[workload.name]), flush=True)
    except KeyboardInterrupt:
        print("\nstopped: the tables show what was finished", file=sys.stderr)
    done = [workload for workload in options.only if workload.name in results]
    rows = figures.judged(servers, results)
    print(report.ratio_table(done, servers, results))
    print(figures.table(rows))
    _write(options, servers, results, rows)
    return 0 if len(done) == len(options.only) else 130


def _measure(
    workload: Workload, servers: list[Server], core: int, seconds: int, rounds: int
) -> dict[str, report.Outcome]:
    """Run one workload on all servers, bursts interleaved."""
    outcomes = {server.name: report.Outcome() for server in servers}
    groups = [[server] for server in servers] if workload.alone else [servers]
    for group in groups:
        with contextlib.ExitStack() as stack:
            fit = []
            for server in group:
                outcome = outcomes[server.name]
                running = _start(workload, server, core, stack, outcome)
                if running and not outcome.failed:
                    fit.append(running)
            for turn in range(1 if workload.alone else rounds):
                # Each round starts with another server, so that none always runs after the same one.
                for running in fit[turn % max(1, len(fit)) :] + fit[: turn % max(1, len(fit))]:
                    _round(running, workload, seconds, outcomes[running.server.name])
            for running in fit:
                outcomes[running.server.name].memory = memory(running.pid)
    report.judge(workload, outcomes)
    return outcomes


def _start(
    workload: Workload, server: Server, core: int, stack: contextlib.ExitStack, outcome: report.Outcome
) -> Running | None:
    log = RESULTS / "logs" / f"{workload.name}-{server.name}.log"
    _progress(f"{workload.name}: starting {server.name}")
    try:
        running = stack.enter_context(Running(server, workload.app, workload.threads, core, log))
        outcome.failed = clients.probe(running.port, workload)
        if not outcome.failed:
            load.warm_up(running, workload)
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        outcome.failed = str(error)
        return None
    return running


def _round(running: Running, workload: Workload, seconds: int, outcome: report.Outcome) -> None:
    if outcome.failed:
        return
    _progress(f"{workload.name}: {running.server.name}")
    try:
        outcome.bursts.append(load.burst(running, workload, seconds))
    except (OSError, RuntimeError, load.Crowded, subprocess.TimeoutExpired) as error:
        outcome.failed = str(error)
    if running.ended():
        outcome.failed = f"died: {running.last_words()}"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="\r", file=sys.stderr, flush=True)


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _write(
    options: argparse.Namespace,
    servers: list[Server],
    results: report.Outcomes,
    rows: list[dict[str, object]],
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    target = options.json or RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    content = {
        "when": now.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": _processor(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "load_average": os.getloadavg(),
        "commands": {server.name: server.command(0, "APP", None) for server in servers},
        "results": {
            workload: {name: dataclasses.asdict(outcome) for name, outcome in outcomes.items()}
            for workload, outcomes in results.items()
        },
        "figures": rows,
    }
    target.write_text(json.dumps(content, indent=1) + "\n")
    print(f"\n{target}")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    workloads = {workload.name: workload for workload in WORKLOADS}
    servers = {server.name: server for server in SERVERS}
    usual = [server for server in SERVERS if server.usual]

    def named(known: dict[str, object], text: str) -> list[object]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return [known[name] for name in text.split(",")]

    def positive(text: str) -> int:
        if not text.isdigit() or int(text) < 1:
            raise argparse.ArgumentTypeError("a whole number from 1 on")
        return int(text)

    parser.add_argument(
        "--only", metavar="NAMES", default=list(WORKLOADS), type=lambda text: named(dict(workloads), text),
        help=f"workloads, with commas: {', '.join(workloads)}",
    )  # fmt: skip
    parser.add_argument(
        "--servers", metavar="NAMES", default=usual, type=lambda text: named(dict(servers), text),
        help=f"servers, with commas: {', '.join(servers)}",
    )  # fmt: skip
    parser.add_argument("--seconds", type=positive, default=2, help="length of a burst (default %(default)s)")
    parser.add_argument(
        "--rounds", type=positive, default=5, help="bursts of each server (default %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where the figures go (default bench/results/)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
