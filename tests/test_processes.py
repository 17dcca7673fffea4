"""Supervisor and workers: death, replacement, orderly and hurried ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import ExitStack

import pytest

from support import proc
from support.gate import Gate
from support.load import Steady, clients, send_all
from support.serving import Serve, Served
from support.waiting import until
from support.wire import Client, Closed, request


def by_worker(server: Served, stack: ExitStack, count: int, workers: int) -> dict[int, list[Client]]:
    """Connections, sorted by the worker that holds them; at least one each."""
    found: dict[int, list[Client]] = {}
    while len(found) < workers or sum(map(len, found.values())) < count:
        for client in clients(stack, server, count):
            found.setdefault(int(client.ask("/process").text), []).append(client)
        assert sum(map(len, found.values())) < 50 * count, f"only {list(found)} ever answer"
    return found


def test_a_worker_killed_under_load_loses_only_its_own_requests(serve: Serve, gate: Gate) -> None:
    """Requests in other workers, and connections that nobody has accepted yet, are not touched."""
    server = serve(workers=2, threads=8, keep_alive="60s")
    with ExitStack() as stack:
        held = by_worker(server, stack, 8, 2)
        victim, other = held
        few = {victim: held[victim][:4], other: held[other][:4]}
        for mine in few.values():
            send_all([(client, "/wait?name=held") for client in mine])
        guests = [gate.wait("held") for mine in few.values() for _ in mine]
        os.kill(victim, signal.SIGKILL)
        for client in few[victim]:
            with pytest.raises(Closed):
                client.read()
        for guest in guests:
            guest.release("done")
        assert [client.read().text for client in few[other]] == ["done"] * len(few[other])
        until(lambda: len(set(server.workers()) - {victim}) == 2, "the dead worker is replaced")
        assert victim not in {int(server.get("/process").text) for _ in range(20)}


def test_workers_killed_again_and_again_under_load_are_replaced(serve: Serve) -> None:
    """Each kill costs at most the connections that the worker held; new ones are all served."""
    server = serve(workers=2)
    server.wait_workers(2)
    with Steady(server, "/process", 8) as load:
        load.wait(50)
        for _ in range(3):
            victim = server.wait_workers(2)[0]
            # Out of its first seconds, in which a death counts as a failure to boot.
            load.wait(200)
            os.kill(victim, signal.SIGKILL)
            until(lambda gone=victim: gone not in server.workers(), "the worker is gone")  # type: ignore[misc]
            load.wait(50)
    assert set(load.answers) == {200}
    assert load.lost <= 3 * 8
    server.wait_workers(2)


def test_a_worker_that_kills_itself_is_replaced(serve: Serve) -> None:
    """The client of that request sees the end of its connection, the next one is served by another worker."""
    server = serve(workers=1)
    first = server.get("/process").text
    with server.client() as client:
        client.send(request(target="/die"))
        with pytest.raises(Closed):
            client.read()
    assert server.get("/process").text != first


def test_connections_made_while_no_worker_lives_are_served(serve: Serve) -> None:
    """The listening socket is the supervisor's: what lies in its queue waits for the next worker."""
    server = serve(workers=1)
    with server.client() as client:
        client.send(request(target="/die"))
        with pytest.raises(Closed):
            client.read()
        with ExitStack() as stack:
            waiting = clients(stack, server, 20)
            send_all([(one, f"/hello?n={number}") for number, one in enumerate(waiting)])
            assert [one.read().text for one in waiting] == [f"hello {number}" for number in range(20)]


def test_term_drains(serve: Serve, gate: Gate) -> None:
    """TERM: what runs is answered, kept connections get one more answer with `Connection: close`, code 0."""
    server = serve(threads=8, keep_alive="60s", drain_idle_timeout="30s")
    with ExitStack() as stack:
        running = clients(stack, server, 4)
        kept = clients(stack, server, 4)
        assert not any(client.ask("/hello").closes for client in kept)
        send_all([(client, "/wait?name=running") for client in running])
        guests = [gate.wait("running") for _ in running]
        server.signal(signal.SIGTERM)
        until(lambda: refuses(server), "no more connections are taken")
        for number, client in enumerate(kept):
            answer = client.ask(f"/hello?n={number}")
            assert (answer.text, answer.closes) == (f"hello {number}", True)
            client.expect_end()
        assert server.process.poll() is None
        for guest in guests:
            guest.release("done")
        for client in running:
            answer = client.read()
            assert (answer.text, answer.closes) == ("done", True)
            client.expect_end()
    assert server.wait_exit() == 0


def refuses(server: Served) -> bool:
    """Whether nobody listens any more."""
    try:
        server.client().close()
    except OSError:
        return True
    return False


def test_term_serves_what_lies_in_the_accept_queue(serve: Serve, gate: Gate) -> None:
    """Connections that the kernel has taken are answered, even if no worker had accepted them."""
    server = serve(threads=1, worker_connections=1, keep_alive="60s")
    with ExitStack() as stack:
        first, *queued = clients(stack, server, 6)
        first.send(request(target="/wait?name=first"))
        guest = gate.wait("first")
        send_all([(client, f"/hello?n={number}") for number, client in enumerate(queued)])
        server.signal(signal.SIGTERM)
        guest.release("done")
        assert first.read().text == "done"
        assert [client.read().text for client in queued] == [f"hello {number}" for number in range(5)]
    assert server.wait_exit() == 0


def test_term_under_load_loses_nothing_that_was_accepted(serve: Serve) -> None:
    """Every request that was sent on a connection that had been served before is answered."""
    server = serve(workers=2, drain_idle_timeout="60s")
    answers: Counter[bool] = Counter()
    with ExitStack() as stack:
        kept = clients(stack, server, 32)
        for client in kept:
            assert client.ask("/hello").status == 200
        send_all([(client, "/sleep?ms=5") for client in kept])
        server.signal(signal.SIGTERM)
        for client in kept:
            answer = client.read()
            answers[answer.status == 200] += 1
            if not answer.closes:
                answers[client.ask("/hello").closes] += 1
    assert answers[False] == 0
    assert server.wait_exit() == 0


def test_idle_connections_do_not_hold_up_the_end(serve: Serve) -> None:
    """Idle kept-alive connections close after a grace (--drain-idle-timeout)."""
    server = serve(keep_alive="600s", graceful_timeout="600s", drain_idle_timeout="100ms")
    with ExitStack() as stack:
        kept = clients(stack, server, 4)
        assert [client.ask("/hello").status for client in kept] == [200] * 4
        silent = clients(stack, server, 2)
        server.signal(signal.SIGTERM)
        for client in [*kept, *silent]:
            client.expect_end()
        assert server.wait_exit() == 0


def test_graceful_timeout_ends_the_drain(serve: Serve, gate: Gate) -> None:
    """--graceful-timeout: what runs longer is cut."""
    server = serve(graceful_timeout="1s")
    with server.client() as client:
        client.send(request(target="/wait?name=long"))
        gate.wait("long")
        server.signal(signal.SIGTERM)
        with pytest.raises(Closed):
            client.read()
        assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_stop_at_once(serve: Serve, gate: Gate, number: int) -> None:
    """INT and QUIT do not wait for what runs."""
    server = serve(graceful_timeout="600s")
    with server.client() as client:
        client.send(request(target="/wait?name=long"))
        gate.wait("long")
        server.signal(number)
        with pytest.raises(Closed):
            client.read()
        assert server.wait_exit() == 0


def test_a_second_int_kills(serve: Serve, gate: Gate) -> None:
    """Not even a worker whose GIL is held in C can keep the server from ending."""
    server = serve(graceful_timeout="600s")
    with server.client() as client:
        client.send(request(target="/hold-gil?name=held&seconds=100"))
        gate.wait("held")
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT)
        server.signal(signal.SIGINT)
        with pytest.raises(Closed):
            client.read()
        server.wait_exit()


def test_term_while_the_application_is_imported_ends(serve: Serve, gate: Gate) -> None:
    """A server that is still starting can be stopped."""
    server = serve("slow_import:app")
    gate.wait("import")
    server.signal(signal.SIGTERM)
    gate.open("import")
    assert server.wait_exit() == 0


def test_workers_end_when_the_supervisor_is_killed(serve: Serve, gate: Gate) -> None:
    """A worker whose supervisor dies finishes what runs and ends; nobody listens any more."""
    server = serve(workers=2, drain_idle_timeout="100ms")
    with server.client() as client:
        client.send(request(target="/wait?name=running"))
        guest = gate.wait("running")
        server.signal(signal.SIGKILL)
        assert server.wait_exit() == -signal.SIGKILL
        until(lambda: refuses(server), "nobody listens")
        guest.release("done")
        assert client.read().text == "done"
    until(lambda: not server.left_behind(), "all workers have ended")


def test_orphans_are_reaped(serve: Serve, gate: Gate) -> None:
    """The supervisor is the subreaper of its workers: orphans that end leave no zombie."""
    server = serve("orphans:app")
    for _ in range(3):
        assert server.get("/").text == "ok"
        gate.wait("orphan").release()
    until(lambda: not any(one.state == "Z" for one in proc.of_session(server.pid)), "no zombie is left")
    assert len(server.wait_workers(1)) == 1


def test_as_pid_1_it_reaps_orphans_and_ends_in_order(serve: Serve, gate: Gate) -> None:
    """In a container the supervisor is process 1, with no default action for signals, and everyone's heir."""
    within = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare --pid, which needs root or user namespaces")
    server = serve("orphans:app", wrapper=within)
    assert server.get("/").text == "ok"
    supervisor = proc.descendants(server.pid)[0].pid
    gate.wait("orphan").release()
    until(lambda: not proc.zombies(supervisor), "no zombie is left")
    os.kill(supervisor, signal.SIGTERM)
    assert server.wait_exit() == 0


@pytest.mark.parametrize("how", ["one after the other", "all at once"])
def test_accepting_is_even_over_workers(serve: Serve, how: str) -> None:
    """64 steady connections on 2 workers: neither serves more than 1.3 times the other."""
    server = serve(workers=2, keep_alive="60s")
    server.wait_workers(2)
    with ExitStack() as stack:
        # Both are past their import once both have answered.
        by_worker(server, stack, 2, 2)
    with ExitStack() as stack:
        held: list[Client] = []
        if how == "all at once":
            held = clients(stack, server, 64)
        else:
            for _ in range(64):
                held.append(stack.enter_context(server.client()))
                held[-1].ask("/hello")
        served: Counter[str] = Counter()
        for _ in range(10):
            send_all([(client, "/process") for client in held])
            served.update(client.read().text for client in held)
    few, many = sorted(served.values())
    assert few + many == 640
    assert many <= 1.3 * few, f"{served}"
