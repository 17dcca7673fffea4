"""The figures of `/metrics`: what docs/metrics.md says of them, and that they are right (`--admin`)."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.gate import Gate
from support.lossless import SteadyLoad
from support.metrics import Admin, Figures
from support.serving import Serve
from support.waiting import until
from support.wire import Client, Closed, request

DOCS = Path(__file__).parents[1] / "docs" / "metrics.md"
REQUESTS = "stdserve_requests_total"
QUEUE = "stdserve_request_queue_seconds"
APPLICATION = "stdserve_request_application_seconds"


@pytest.fixture
def admin(short_path: Path) -> Admin:
    """Where the server of the test is asked."""
    return Admin(short_path / "admin")


def seen(admin: Admin, check: Callable[[Figures], bool], what: str) -> Figures:
    """The figures, once they are so: an answer is counted only after its client has it."""

    def look() -> Figures | None:
        figures = admin.figures()
        return figures if check(figures) else None

    figures = until(look, what)
    assert figures is not None
    return figures


def requests_now(admin: Admin) -> list[dict[str, Any]]:
    """What is in flight."""
    with Client(str(admin.path)) as client:
        listed: list[dict[str, Any]] = json.loads(client.ask("/requests").text)["requests"]
    return listed


def both(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Them, if they are two."""
    return found if len(found) == 2 else []


def never_fell(before: Figures, after: Figures) -> None:
    """No counter has fallen, or is gone."""
    later = after.counters()
    for key, value in before.counters().items():
        assert later[key] >= value, key


def test_everything_that_is_told_is_documented_and_the_other_way_round(serve: Serve, admin: Admin) -> None:
    """The table of docs/metrics.md has each metric with its type."""
    table = re.findall(r"^\| `(stdserve_\w+)` \| (\w+) \|", DOCS.read_text(), re.MULTILINE)
    server = serve(admin=admin.option)
    assert server.get("/hello").status == 200
    figures = admin.figures()
    # The parser takes the suffix of counters away.
    told = {
        name + "_total" if family.type == "counter" else name: family.type
        for name, family in figures.families.items()
    }
    assert told == dict(table)


def test_requests_are_counted_by_class_exactly(serve: Serve, admin: Admin) -> None:
    """As many as were sent, summed over the workers; what was refused never was in the queue."""
    server = serve(admin=admin.option, workers=2)
    wanted = {"200": 40, "302": 13, "404": 7, "500": 5}
    for status, count in wanted.items():
        for _ in range(count):
            assert server.get(f"/answer?status={status}").status == int(status)
    for _ in range(3):
        server.turn()
    total = sum(wanted.values()) + 3
    # That a thread has left the application is told after that its request has ended.
    left = APPLICATION + "_count"
    figures = seen(
        admin,
        lambda now: now.sum(REQUESTS) >= total and now.sum(left) >= total - 3,
        "all requests are counted",
    )
    expected = {"1xx": 0, "2xx": 40, "3xx": 13, "4xx": 10, "5xx": 5, "aborted": 0}
    assert figures.each(REQUESTS, "status") == expected
    assert figures.sum("stdserve_worker_requests_total") == total
    assert figures.sum("stdserve_connections_accepted_total") == total
    for histogram in (QUEUE, APPLICATION):
        assert figures.sum(histogram + "_count") == total - 3
        assert figures.sum(histogram + "_bucket", le="+Inf") == total - 3


def test_aborted_requests_are_counted_apart(serve: Serve, admin: Admin) -> None:
    """An application that fails in the middle of its answer."""
    server = serve(admin=admin.option)
    with server.client() as client, pytest.raises(Closed):
        client.ask("/die?exit=0")
    # It has taken its worker with it, and the figures of that are all that is left.
    figures = seen(admin, lambda now: now.sum("stdserve_requests_unfinished_total") == 1, "it is counted")
    assert figures.sum(REQUESTS) == 0


def test_bytes_are_those_of_the_connections(serve: Serve, admin: Admin) -> None:
    """Heads and bodies, as they went over the wire."""
    server = serve(admin=admin.option)
    bodies = [
        request("POST" if body else "GET", "/echo", body=body) for body in (None, b"x" * 10, b"y" * 300_000)
    ]
    sent = received = 0
    for requests in (bodies, [request(target="/large?size=3000000")], [request(target="/hello")]):
        with server.client() as client:
            for asked in requests:
                client.send(asked)
                sent += len(asked)
            client.half_close()
            while data := client.socket.recv(1 << 20):
                received += len(data)
    assert received > 3_000_000

    def exact(now: Figures) -> bool:
        told = [now.sum(f"stdserve_{way}_bytes_total") for way in ("received", "sent")]
        return now.sum(REQUESTS) == 5 and told == [sent, received]

    seen(admin, exact, f"{sent} and {received} bytes are counted")


def test_the_time_in_the_application_is_its_own(serve: Serve, admin: Admin) -> None:
    """Sums and buckets of the histograms agree with how long the application slept."""
    server = serve(admin=admin.option)
    for _ in range(3):
        assert server.get("/sleep?ms=60").status == 200
    figures = seen(admin, lambda now: now.sum(APPLICATION + "_count") == 3, "all three are counted")
    assert figures.sum(APPLICATION + "_bucket", le="0.05") == 0
    assert figures.sum(APPLICATION + "_sum") >= 0.18
    bounds = {float(le): count for le, count in figures.each(APPLICATION + "_bucket", "le").items()}
    counts = [bounds[le] for le in sorted(bounds)]
    assert counts == sorted(counts)
    assert len(counts) == 22


def test_what_runs_and_waits_is_shown_with_line_and_age(serve: Serve, admin: Admin, gate: Gate) -> None:
    """Also which thread, from where, and what waits behind it."""
    server = serve(admin=admin.option, threads=1)
    with server.client() as runs, server.client() as waits:
        runs.send(request(target="/wait?name=held&x=" + "long" * 100))
        guest = gate.wait("held")
        waits.send(request(target="/hello?n=behind", fields=[("X-Forwarded-For", "192.0.2.7")]))
        one, other = until(lambda: both(requests_now(admin)), "both are shown")
        assert one["line"].startswith("GET /wait?name=held&x=longlong")
        assert len(one["line"]) == 200
        assert (one["phase"], one["pid"], one["client"]) == ("running", guest.pid, "127.0.0.1")
        assert Path(f"/proc/{guest.pid}/task/{one['thread']}").exists()
        assert (other["phase"], other["line"], other["thread"]) == (
            "queued",
            "GET /hello?n=behind HTTP/1.1",
            0,
        )
        until(lambda: requests_now(admin)[0]["age"] > one["age"], "it grows older")
        figures = admin.figures()
        assert figures.each("stdserve_threads", "state")["busy"] == 1
        assert figures.sum("stdserve_worker_threads_busy") == 1
        assert figures.sum("stdserve_queue_length") == figures.sum("stdserve_worker_queue_length") == 1
        assert figures.sum("stdserve_connections") == 2
        assert figures.sum("stdserve_worker_oldest_request_seconds") > 0
        guest.release()
        assert (runs.read().status, waits.read().status) == (200, 200)
    until(lambda: not requests_now(admin), "nothing is left")
    figures = seen(admin, lambda now: now.sum("stdserve_connections") == 0, "the clients have left")
    assert figures.each("stdserve_threads", "state")["busy"] == 0
    assert figures.sum("stdserve_queue_length") == 0
    assert figures.sum("stdserve_worker_oldest_request_seconds") == 0


def test_more_requests_than_can_be_shown_are_no_trouble(serve: Serve, admin: Admin, gate: Gate) -> None:
    """There is room for 80 with long lines; counted are all."""
    server = serve(admin=admin.option, threads=100)
    clients = [server.client() for _ in range(90)]
    for client in clients:
        client.send(request(target="/wait?name=many&x=" + "long" * 100))
    guests = [gate.wait("many") for _ in clients]
    seen(admin, lambda now: now.each("stdserve_threads", "state")["busy"] == 90, "all are counted")
    until(lambda: len(requests_now(admin)) == 80, "as many as there is room for")
    for guest in guests:
        guest.release()
    for client in clients:
        assert client.read().status == 200
        client.close()
    figures = seen(admin, lambda now: now.sum(REQUESTS) == 90, "all have ended")
    assert figures.each("stdserve_threads", "state")["busy"] == 0


def test_figures_come_while_the_interpreter_hangs(serve: Serve, admin: Admin, gate: Gate) -> None:
    """The supervisor asks no worker; what runs in the one that hangs is shown, and that it hangs."""
    server = serve(admin=admin.option)
    with server.client() as client:
        client.send(request(target="/hold-gil?name=held"))
        guest = gate.wait("held")
        silence = "stdserve_worker_interpreter_silence_seconds"
        figures = seen(admin, lambda now: now.sum(silence) > 2, "the lock cannot be had")
        assert figures.sum(silence) > figures.sum("stdserve_worker_loop_silence_seconds")
        assert [one["line"] for one in requests_now(admin)] == ["GET /hold-gil?name=held HTTP/1.1"]
        guest.release()
        assert client.read().status == 200


def test_a_killed_worker_leaves_its_figures(serve: Serve, admin: Admin, gate: Gate) -> None:
    """All that it had counted; only what ran in it is missing, and is counted as unfinished."""
    server = serve(admin=admin.option)
    for _ in range(25):
        assert server.get("/hello").status == 200
    before = seen(admin, lambda now: now.sum(REQUESTS) == 25, "all are counted")
    with server.client() as client:
        client.send(request(target="/wait?name=held"))
        victim = gate.wait("held").pid
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(Closed):
            client.read()
    until(lambda: server.workers() not in ([], [victim]), "it is replaced")
    assert server.get("/hello").status == 200
    after = seen(admin, lambda now: now.sum(REQUESTS, status="2xx") == 26, "the next one counts on")
    never_fell(before, after)
    assert requests_now(admin) == []
    assert after.sum(REQUESTS) == 26
    assert after.sum("stdserve_requests_unfinished_total") == 1
    assert after.each("stdserve_restarts_total", "cause") in ({"SIGKILL": 1}, {"early": 1})
    # The one that ran was taken from the queue, and never came back.
    assert after.sum(QUEUE + "_count") == after.sum(APPLICATION + "_count") + 1 == 27


def test_a_reload_loses_no_figure(serve: Serve, admin: Admin) -> None:
    """Every worker is replaced, and nothing falls."""
    server = serve(admin=admin.option, workers=2)
    for _ in range(20):
        assert server.get("/hello").status == 200
    before = seen(admin, lambda now: now.sum(REQUESTS) == 20, "all are counted")
    old = set(server.wait_workers(2))
    server.signal(signal.SIGHUP)
    until(lambda: len(new := set(server.workers())) == 2 and not new & old, "all are replaced")
    after = seen(
        admin, lambda now: now.sum("stdserve_restarts_total", cause="reload") == 2, "both are counted"
    )
    never_fell(before, after)
    assert after.sum(REQUESTS) == 20
    assert after.sum("stdserve_requests_unfinished_total") == 0
    assert after.sum("stdserve_generation") == 2


def test_recycling_loses_no_figure(serve: Serve, admin: Admin) -> None:
    """Workers that have answered enough are replaced; what they answered is still counted, each once."""
    server = serve(admin=admin.option, workers=2, max_requests=50)
    restarts = "stdserve_restarts_total"
    sent = 0
    server.wait_workers(2)
    last = admin.figures()
    while last.sum(restarts, cause="max-requests") < 3:
        for _ in range(20):
            assert server.get("/hello").status == 200
            sent += 1
        now = admin.figures()
        never_fell(last, now)
        last = now
    figures = seen(
        admin,
        lambda now: now.sum(REQUESTS) == sent and now.sum(APPLICATION + "_count") == sent,
        "all are counted",
    )
    assert figures.each(restarts, "cause").keys() == {"max-requests"}
    assert figures.sum("stdserve_requests_unfinished_total") == 0
    assert figures.sum(QUEUE + "_count") == figures.sum(APPLICATION + "_count") == sent


def test_no_counter_falls_under_load_while_workers_are_killed_and_replaced(
    serve: Serve, admin: Admin
) -> None:
    """Looked at all the time; in the end at most what ran in the killed ones is missing."""
    server = serve("steady_app:app", admin=admin.option, workers=2)
    killed = 0
    with SteadyLoad(server, rate=500, connections=8) as load:
        last = admin.figures()
        for round_ in range(4):
            victim = server.wait_workers(2)[0]
            if round_ == 2:
                server.signal(signal.SIGHUP)
            else:
                # Out of its first moments, in which a death counts as a failure to boot.
                load.wait(200)
                os.kill(victim, signal.SIGKILL)
                killed += 1
            while victim in server.workers():
                now = admin.figures()
                never_fell(last, now)
                last = now
            load.wait(100)
        counts = load.end()
    figures = seen(
        admin,
        lambda now: now.sum(REQUESTS, status="2xx") >= counts.good - 8 * killed,
        "all that were answered are counted",
    )
    never_fell(last, figures)
    # An answer that was sent and not yet counted when its worker was killed is missing.
    assert figures.sum(REQUESTS) <= counts.sent + counts.retries
    assert figures.sum(REQUESTS, status="2xx") == figures.sum(REQUESTS) - figures.sum(
        REQUESTS, status="aborted"
    )


def test_what_the_processes_use_is_told(serve: Serve, admin: Admin) -> None:
    """Memory and processor time of each worker and the supervisor, from /proc."""
    serve(admin=admin.option, workers=2).wait_workers(2)
    memory, cpu = "stdserve_worker_resident_memory_bytes", "stdserve_worker_cpu_seconds_total"
    figures = seen(admin, lambda now: len(now.each(memory, "worker")) == 2, "both were looked at")
    assert all(used > 5 << 20 for used in figures.each(memory, "worker").values())
    assert set(figures.each(cpu, "worker")) == {"0", "1"}
    assert figures.sum("stdserve_supervisor_resident_memory_bytes") > 5 << 20
