"""What happens to a steady load when processes are told to change, or die.

The client asks for 2,000 requests a second and counts every answer; see support/steady.py. Only the end of a
connection that was used before, before any byte of an answer, counts as a retry.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.lossless import SteadyLoad
from support.serving import Serve, Served
from support.waiting import until

APP = "steady_app:app"

#: A connection that nobody has taken.
REFUSED = "ConnectionRefusedError on a new connection"


@pytest.fixture
def two(serve: Serve) -> Served:
    """The application, in two workers."""
    return serve(APP, workers=2)


def renewed(server: Served, before: list[int], count: int = 2) -> list[int]:
    """Waits until none of the workers before is left, and so many serve."""

    def others() -> list[int]:
        found = server.workers()
        return found if len(found) == count and not set(found) & set(before) else []

    return until(others, f"{count} new workers")


def gone(server: Served, worker: int) -> None:
    """Waits until this worker is no more."""
    until(lambda: worker not in server.workers(), "the end of the worker")


def test_reloads_lose_nothing(two: Served) -> None:
    """20 times HUP."""
    with SteadyLoad(two) as load:
        for _ in range(20):
            before = two.wait_workers(2)
            two.signal(signal.SIGHUP)
            renewed(two, before)
        counts = load.end()
    assert counts.failed == {}
    assert counts.good == counts.sent


def test_a_reload_that_fails_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    """The old workers go on, and the log says why."""
    source = Path(__file__).parent / "apps" / "steady_app.py"
    module = tmp_path / "breakable.py"
    module.write_text(source.read_text())
    server = serve("breakable:app", workers=2, cwd=tmp_path)
    with SteadyLoad(server) as load:
        before = server.wait_workers(2)
        module.write_text("raise RuntimeError('broken on purpose')\n")
        server.signal(signal.SIGHUP)
        server.log.wait("broken on purpose")
        load.wait(1000)
        assert server.workers() == before
        module.write_text(source.read_text())
        server.signal(signal.SIGHUP)
        renewed(server, before)
        counts = load.end()
    assert counts.failed == {}
    assert counts.good == counts.sent


def test_term_loses_nothing_that_was_accepted(two: Served) -> None:
    """TERM: what fails has not been accepted."""
    with SteadyLoad(two) as load:
        load.wait(1000)
        two.signal(signal.SIGTERM)
        assert two.wait_exit() == 0
        counts = load.end()
    assert counts.without(REFUSED) == {}
    assert counts.good + counts.lost == counts.sent


def test_killed_workers_lose_only_what_ran_in_them(two: Served) -> None:
    """kill -9 of a worker, again and again: each costs at most the requests on its own connections."""
    kills, connections = 10, 32
    with SteadyLoad(two, connections=connections) as load:
        for _ in range(kills):
            victim = two.wait_workers(2)[0]
            os.kill(victim, signal.SIGKILL)
            gone(two, victim)
            load.wait(500)
        two.wait_workers(2)
        counts = load.end()
    allowed = {"connection ended on a new connection", "ConnectionResetError on a new connection"}
    assert counts.without(*allowed) == {}, "an answer was cut, wrong, or did not come"
    assert counts.lost <= kills * connections
    assert counts.good + counts.lost == counts.sent


def test_a_killed_supervisor_leaves_nobody_without_an_answer(two: Served) -> None:
    """kill -9 of the supervisor: workers finish what runs and leave; what fails has not been accepted."""
    with SteadyLoad(two) as load:
        load.wait(1000)
        workers = two.workers()
        two.process.kill()
        two.process.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the end of the workers")
        counts = load.end()
    assert counts.without(REFUSED) == {}
    assert counts.good + counts.lost == counts.sent
