#!/usr/bin/env python3
"""Counts what a steady load loses while servers are told to change, or die: see README.md."""

import argparse
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from support.events import EVENTS, FULL, Outcome, Size, Stage  # noqa: E402
from support.serving import Served, starter  # noqa: E402
from support.wire import request  # noqa: E402


def main() -> int:
    """Play the events; 1 if one of them loses what it may not."""
    options = _options()
    print(f"{'event':<62} {'sent':>7} {'failed':>7} {'wrong':>6} {'retries':>8} {'slowest':>8}  also")
    lost = 0
    for name in options.only:
        started: list[Served] = []
        try:
            with tempfile.TemporaryDirectory() as folder:
                stage = Stage(starter(started, {}), Path(folder), Size() if options.short else FULL)
                lost += _tell(name, EVENTS[name](stage))
        except (AssertionError, PermissionError) as error:
            lost += isinstance(error, AssertionError)
            print(f"{name:<62} {error}", flush=True)
        finally:
            for server in started:
                server.clean_up()
    if options.address:
        for beside in ("", "a worker stuck in C", "a child that the application forked"):
            print(
                f"address free after kill -9{' beside ' if beside else ''}{beside}: {_address_free(beside)}"
            )
    return 1 if lost else 0


def _tell(name: str, outcome: Outcome) -> int:
    counts, wrong = outcome.counts, sum(outcome.wrong.values())
    rate = f"{counts.sent / counts.seconds:.0f} requests/s"
    failures = [f"{count} of {why}" for why, count in counts.failed.items()]
    also = ", ".join([rate, *outcome.notes, *failures])
    print(
        f"{name:<62} {counts.sent:>7} {counts.lost:>7} {wrong:>6} {counts.retries:>8}"
        f" {counts.slowest * 1000:>5.0f} ms  {also}",
        flush=True,
    )
    return wrong + counts.sent - counts.good - counts.lost


def _address_free(beside: str) -> str:
    """Kill supervisors, and see when another process can listen where they did."""
    times = []
    for _ in range(5):
        started: list[Served] = []
        server = starter(started, {})("steady_app:app", workers=2, graceful_timeout="1s")
        child = int(server.get("/child?1").text.split()[2]) if "child" in beside else 0
        with server.client() as client:
            if "stuck" in beside:
                client.send(request(target="/stuck"))
                server.log.wait("stuck in")
            began = time.monotonic()
            server.process.kill()
            while not _listens(server.port):
                pass
            times.append((time.monotonic() - began) * 1000)
        if child:
            os.kill(child, signal.SIGKILL)
        server.clean_up()
    return f"{statistics.median(times):.1f} ms (median), {max(times):.1f} ms (most of {len(times)})"


def _listens(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            return False
        return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)

    def some(text: str) -> list[str]:
        found = [name for name in EVENTS if any(part in name for part in text.split(","))]
        if not found:
            raise argparse.ArgumentTypeError(f"nothing of {', '.join(EVENTS)}")
        return found

    parser.add_argument(
        "--only", metavar="TEXTS", default=list(EVENTS), type=some,
        help="events whose names hold one of these, with commas",
    )  # fmt: skip
    parser.add_argument("--short", action="store_true", help="as long as in the tests")
    parser.add_argument("--no-address", dest="address", action="store_false", help="leave out the last lines")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
