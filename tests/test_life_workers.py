"""Workers come and go while the server runs: scaling, draining, recycling; and log files that are moved."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

from support import proc
from support.gate import Gate
from support.load import clients
from support.lossless import SteadyLoad
from support.serving import Serve, Served
from support.waiting import until
from support.wire import Client, request


def replaced(server: Served, worker: int) -> None:
    """Waits until this worker is no more."""
    until(lambda: worker not in server.workers(), f"the end of worker {worker}")


def test_ttin_and_ttou_are_bounded(serve: Serve) -> None:
    """One more each time, as far as there is room; one less each time, but never the last."""
    server = serve(workers=1)
    server.wait_workers(1)
    for count in range(2, 8):
        server.signal(signal.SIGTTIN)
        server.wait_workers(count)
    server.signal(signal.SIGTTIN)
    server.log.wait("7 is the most that it can have in workers")
    for count in range(6, 0, -1):
        server.signal(signal.SIGTTOU)
        server.wait_workers(count)
    server.signal(signal.SIGTTOU)
    server.log.wait("1 is the least that it can have in workers")
    assert server.get("/hello").status == 200
    assert len(server.workers()) == 1


def test_ttou_lets_what_runs_end(serve: Serve, gate: Gate) -> None:
    """The worker that leaves answers first."""
    server = serve(workers=2)
    server.wait_workers(2)
    with ExitStack() as stack:
        running = clients(stack, server, 8)
        for client in running:
            client.send(request(target="/wait?name=running"))
        guests = [gate.wait("running") for _ in running]
        server.signal(signal.SIGTTOU)
        server.log.wait("2 workers become 1")
        for guest in guests:
            guest.release("done")
        assert [client.read().text for client in running] == ["done"] * len(running)
    server.wait_workers(1)


def test_a_worker_that_is_killed_while_scaled_up_is_replaced(serve: Serve) -> None:
    """The number that was asked for counts, not the one at the start."""
    server = serve(workers=1)
    server.wait_workers(1)
    server.signal(signal.SIGTTIN)
    victim = server.wait_workers(2)[0]
    until(lambda: victim in {int(server.get("/process").text) for _ in range(8)}, "it serves")
    os.kill(victim, signal.SIGKILL)
    replaced(server, victim)
    server.wait_workers(2)


def order(socket: Path, target: str) -> int:
    """Order something of the operations plane; the status of its answer."""
    with Client(str(socket)) as client:
        client.send(request("POST", target, fields=[("X-Stdserve", "1")]))
        return client.read().status


def test_drain_replaces_one_worker(serve: Serve, gate: Gate, short_path: Path) -> None:
    """Another serves before it leaves, and what runs in it is answered."""
    socket = short_path / "admin"
    server = serve(workers=2, admin=f"unix:{socket}")
    server.wait_workers(2)
    with server.client() as client:
        worker = int(client.ask("/process").text)
        client.send(request(target="/wait?name=running"))
        guest = gate.wait("running")
        assert order(socket, f"/drain?pid={worker}") == 202
        server.log.wait(f"worker {worker} is replaced, as asked")
        until(lambda: len(server.workers()) == 3, "another worker")
        guest.release("done")
        assert client.read().text == "done"
    replaced(server, worker)
    server.wait_workers(2)


def test_max_requests_under_load_loses_nothing(serve: Serve) -> None:
    """Workers are replaced again and again, one at a time."""
    server = serve("steady_app:app", workers=2, max_requests=300)
    seen: set[int] = set()

    def several() -> bool:
        now = server.workers()
        seen.update(now)
        # Those that end while /proc is read were there at different times.
        assert sum(map(proc.alive, now)) <= 3, "one is replaced at a time"
        return len(seen) >= 7

    with SteadyLoad(server, rate=1000) as load:
        until(several, "seven workers, one after the other", patience=60)
        counts = load.end()
    assert counts.failed == {}
    assert counts.good == counts.sent
    server.log.wait(r"info: worker [0-9]+ is replaced: it has answered [0-9]+ requests")


def test_max_lifetime_replaces_a_worker_that_finishes_what_runs(serve: Serve, gate: Gate) -> None:
    """Another serves before it leaves."""
    server = serve(workers=1, max_lifetime="2s")
    with server.client() as client:
        client.send(request(target="/wait?name=running"))
        guest = gate.wait("running")
        worker = guest.pid
        server.log.wait(rf"worker {worker} is replaced: it has lived for \d+ s \(--max-lifetime\)")
        until(lambda: int(server.get("/process").text) != worker, "another serves")
        guest.release("done")
        answer = client.read()
        assert (answer.text, answer.closes) == ("done", True)
    replaced(server, worker)


def test_max_rss_replaces_a_worker_that_has_grown(serve: Serve, tmp_path: Path) -> None:
    """The others are let alone."""
    (tmp_path / "grows.py").write_text(
        """
import os
KEPT = []
def app(environ, start_response):
    if environ["PATH_INFO"] == "/grow":
        KEPT.append(os.urandom(1) * (160 << 20))
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    )
    server = serve("grows:app", cwd=tmp_path, workers=2, max_rss="120MiB")
    before = server.wait_workers(2)
    grown = int(server.get("/grow").text)
    (other,) = set(before) - {grown}
    replaced(server, grown)
    server.log.wait(rf"worker {grown} is replaced: it uses [0-9]+ MiB of memory \(--max-rss\)")
    assert other in server.wait_workers(2)


def test_a_lock_that_is_held_for_ever_costs_one_worker(serve: Serve, gate: Gate) -> None:
    """Another serves before it is killed; the other worker does not notice."""
    server = serve(workers=2, timeout="1s", keep_alive="60s")
    workers = server.wait_workers(2)
    with ExitStack() as stack:
        held: dict[int, Client] = {}
        while len(held) < 2:
            client = stack.enter_context(server.client())
            held.setdefault(int(client.ask("/process").text), client)
        stuck, other = workers
        held[stuck].send(request(target="/hold-gil?name=held&seconds=600"))
        gate.wait("held")
        server.log.wait(f"worker {stuck} is replaced: the interpreter's lock could not be had")
        assert held[other].ask("/hello").status == 200
        replaced(server, stuck)
        assert held[other].ask("/hello").status == 200
    assert other in server.wait_workers(2)


def test_usr1_opens_the_logs_again(serve: Serve, tmp_path: Path, short_path: Path) -> None:
    """After logrotate has moved them: the supervisor's lines and the workers'."""
    access, errors, address = tmp_path / "access", tmp_path / "errors", short_path / "socket"
    server = serve(workers=1, access_logfile=access, error_logfile=errors, bind=f"unix:{address}")
    until(lambda: errors.exists() and "ready" in errors.read_text(), "the start-up lines")

    def ask(target: str) -> None:
        with Client(str(address)) as client:
            client.ask(target)

    ask("/hello?before")
    until(lambda: "/hello?before" in access.read_text(), "the line of the first request")
    for log in (access, errors):
        log.rename(log.with_suffix(".1"))
    server.signal(signal.SIGUSR1)
    until(lambda: access.exists() and errors.exists(), "the new files")
    ask("/boom")
    until(lambda: "/boom" in access.read_text(), "the line of the second request")
    until(lambda: "Traceback" in errors.read_text(), "what the worker has to say of it")
    assert "log files are opened again" in errors.read_text()
    assert "/boom" not in access.with_suffix(".1").read_text()
    assert "Traceback" not in errors.with_suffix(".1").read_text()
