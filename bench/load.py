"""One burst of load by wrk, on the load's core, and what it cost the server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass

from clients import Idle
from processes import Running, spent
from servers import BENCH
from workloads import Workload

_LEAD = 0.3
"""Seconds that a second load runs before the measured one starts."""


@dataclass(frozen=True)
class Burst:
    """What one burst showed."""

    requests: int
    seconds: float
    cpu: float
    """Microseconds of the server's CPU for each request."""
    rate: float
    """Requests a second."""
    p50: float
    """Milliseconds; wrk corrects for requests it could not send while it waited."""
    p99: float
    max: float
    errors: int
    """Wrong status, socket errors and time-outs."""
    timeouts: int
    """Answers that took longer than wrk's 2 s."""
    voluntary: float
    """Context switches for each request."""
    involuntary: float
    beside: int | None = None
    """Requests of the second load."""
    crowd: int | None = None
    """Idle connections that were still open when the burst had ended."""


class Crowded(Exception):
    """The crowd of clients could not be gathered."""


def _wrk(port: int, workload: Workload, path: str, connections: int, seconds: int) -> subprocess.Popen[str]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(BENCH / "wrk.lua")]
    for header in workload.headers:
        command += ["-H", header]
    command += [f"http://127.0.0.1:{port}{path}", "--", workload.method, str(workload.body)]
    # The bench itself runs on the load's core, and wrk inherits that.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _figures(wrk: subprocess.Popen[str], limit: float) -> dict[str, float]:
    try:
        output = wrk.communicate(timeout=limit)[0]
    except BaseException:
        wrk.kill()
        wrk.wait()
        raise
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise RuntimeError(f"wrk: {output.strip()[-200:]}")
    figures: dict[str, float] = json.loads(line)
    return figures


@contextlib.contextmanager
def _ending(process: subprocess.Popen[str]) -> Generator[None, None, None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def warm_up(running: Running, workload: Workload, seconds: float = 0.4) -> None:
    """Let the interpreter specialise and the caches fill."""
    wrk = _wrk(running.port, workload, workload.path, workload.connections, 5)
    with _ending(wrk):
        time.sleep(seconds)
        wrk.send_signal(signal.SIGINT)
        wrk.communicate(timeout=5)


def burst(running: Running, workload: Workload, seconds: int) -> Burst:
    """Run one burst, with its crowd or second load, and measure."""
    with contextlib.ExitStack() as stack:
        beside = idle = None
        if workload.beside:
            path, connections = workload.beside
            beside = _wrk(running.port, workload, path, connections, seconds + 1)
            stack.enter_context(_ending(beside))
            time.sleep(_LEAD)
        if workload.crowd:
            idle = _gather(running, workload.crowd, seconds, stack)
        before = spent(running.pid)
        figures = _figures(
            _wrk(running.port, workload, workload.path, workload.connections, seconds), seconds + 10
        )
        cost = spent(running.pid).since(before)
        crowd = idle.alive() if idle else None
        other = int(_figures(beside, 15)["requests"]) if beside else None
    requests = int(figures["requests"])
    share = max(1, requests)
    return Burst(
        requests, figures["seconds"], cost.cpu * 1e6 / share, requests / figures["seconds"],
        figures["p50"] / 1e3, figures["p99"] / 1e3, figures["max"] / 1e3,
        int(figures["bad_status"] + figures["socket_errors"] + figures["timeouts"]), int(figures["timeouts"]),
        cost.voluntary / share, cost.involuntary / share, other, crowd,
    )  # fmt: skip


def _gather(
    running: Running, crowd: tuple[str, int], seconds: int, stack: contextlib.ExitStack
) -> Idle | None:
    kind, count = crowd
    if kind == "drip":
        command = [sys.executable, str(BENCH / "clients.py"), str(running.port), str(count), str(seconds + 2)]
        stack.enter_context(_ending(subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True)))
        time.sleep(_LEAD)
        return None
    idle = Idle(running.port, count)
    stack.callback(idle.close)
    answered = idle.top_up()
    if answered < count:
        raise Crowded(f"answered {answered} of {count} idle connections")
    return idle


def pin(core: int) -> None:
    """Keep the bench, and what it starts for the load, on this core."""
    os.sched_setaffinity(0, {core})
