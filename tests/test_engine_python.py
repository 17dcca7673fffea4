"""The rules of the engine that concern Python: threads, fork, signals, greenlets, contexts, late calls."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack

import pytest

from support import proc
from support.gate import Gate
from support.load import clients, together
from support.serving import Serve
from support.waiting import until
from support.wire import Closed, request

APP = "python_rules:app"


def test_fork_and_return_writes_only_once(serve: Serve) -> None:
    """If the application returns in a child that it forked, the child writes to no socket and ends."""
    server = serve(APP, threads=2)
    with server.client() as client:
        for _ in range(5):
            assert client.ask("/fork_and_return").text.startswith("child ended with")
            assert client.ask("/hello").text == "hello"
    assert len(server.workers()) == 1


def test_fork_and_raise_leaves_no_child_behind(serve: Serve) -> None:
    """An exception that leaves the application in a forked child ends that child, and nothing else."""
    server = serve(APP, threads=2)
    with server.client() as client:
        assert client.ask("/fork_and_raise").text == "parent"
        assert client.ask("/hello").text == "hello"
    assert len(server.workers()) == 1


def test_a_forked_child_that_stays_holds_none_of_the_servers_sockets(serve: Serve, gate: Gate) -> None:
    """After a fork in the application, listeners, epoll and connections are closed in the child."""
    server = serve(APP, threads=2)
    with server.client() as client:
        child = int(client.ask("/fork_and_stay").text)
        guest = gate.wait("child")
        held = proc.descriptors(child)
        assert not any("eventpoll" in target for target in held), held
        assert proc.sockets(child) <= 1, f"more than its own connection to the gate: {held}"
        assert client.ask("/hello").text == "hello"
        guest.release()
        assert client.ask("/reap").text == "0"


@pytest.mark.parametrize("shape", ["exit_in_call", "interrupt_in_call", "generator_exit_in_call"])
def test_exits_from_the_application_are_500_and_do_not_end_the_worker(serve: Serve, shape: str) -> None:
    """SystemExit, KeyboardInterrupt and GeneratorExit from an application do not end the worker."""
    server = serve(APP)
    worker = server.get("/pid").text
    assert server.get(f"/{shape}").status == 500
    assert server.get("/pid").text == worker


def test_sys_exit_in_a_generator_cuts_the_response_and_not_the_worker(serve: Serve) -> None:
    """After the head, a failure shows as a response without its end."""
    server = serve(APP)
    worker = server.get("/pid").text
    with server.client() as client:
        client.send(request(target="/exit_in_generator"))
        with pytest.raises(Closed):
            client.read()
    assert server.get("/pid").text == worker


def test_sys_exit_in_close_does_not_end_the_worker(serve: Serve) -> None:
    """close() may fail in any way; the response was complete before it."""
    server = serve(APP)
    worker = server.get("/pid").text
    assert server.get("/exit_in_close").text == "body"
    assert server.get("/pid").text == worker


def test_an_application_that_closes_its_input_hurts_nobody(serve: Serve) -> None:
    """A new input object for each request: what was closed is not handed out again."""
    server = serve(APP)
    with server.client() as client:
        for body in (b"", b"x" * 10, b"x" * 3_000_000):
            assert client.ask("/close_input", "POST", body=body).text == "closed"
            assert client.ask("/keep_input", "POST", body=b"next").status == 200


def test_an_input_kept_after_its_request_shows_no_other_requests_body(serve: Serve) -> None:
    """wsgi.input is ended with its exchange."""
    server = serve(APP, threads=1)
    with server.client() as client:
        assert client.ask("/keep_input", "POST", body=b"first").text == "seen "
        assert client.ask("/keep_input", "POST", body=b"second").text in ("seen ", "seen first")


def test_write_from_a_greenlet(serve: Serve) -> None:
    """Nothing that Python can reach points into a Rust stack: greenlets swap stacks."""
    server = serve(APP, threads=4)
    wanted = "".join(f"{number} " for number in range(100)) + "end"
    assert together(lambda _: server.get("/greenlet_write").text, list(range(16))) == [wanted] * 16


@pytest.mark.parametrize("shape", ["late_start", "late_write"])
def test_a_late_call_from_another_thread_is_refused(serve: Serve, gate: Gate, shape: str) -> None:
    """start_response and write carry an "ended" flag: a call after the exchange reaches no other request."""
    server = serve(APP, threads=2)
    with server.client() as client:
        for _ in range(10):
            assert client.ask(f"/{shape}").text == "in time"
            guest = gate.wait("late")
            client.send(request(target="/hello"))
            guest.release()
            assert client.read().text == "hello"
            until(lambda: any(gate.count("refused " + e) for e in ERRORS), "the late call was refused")
            assert not gate.count("swallowed")
            for error in ERRORS:
                while gate.count("refused " + error):
                    gate.wait("refused " + error)


#: How a late call may be refused: what fits Python's own files and generators.
ERRORS = ("RuntimeError", "ValueError", "AssertionError", "OSError", "BrokenPipeError")


def test_start_response_from_another_thread_in_time(serve: Serve) -> None:
    """A thread of the application's own may start the response, as long as the application is in its call."""
    server = serve(APP)
    assert server.get("/start_in_thread").text == "ok"


def test_asyncio_run_inside_the_application(serve: Serve) -> None:
    """An event loop, a subprocess and a thread of the application's own work in a crew thread."""
    server = serve(APP, threads=4)
    assert together(lambda _: server.get("/run_asyncio").text, list(range(8))) == ["hi 42"] * 8


def test_gevent_patch_all(serve: Serve) -> None:
    """The crew does not rest on anything that patch_all swaps."""
    server = serve("gevent_app:app", threads=4)

    def converse(which: int) -> list[str]:
        with server.client() as client:
            return [client.ask(f"/?{which}.{number}").text for number in range(25)]

    wanted = [[f"{which}.{number} 3" for number in range(25)] for which in range(8)]
    assert together(converse, list(range(8))) == wanted


def test_one_context_for_call_iteration_and_close(serve: Serve, gate: Gate) -> None:
    """A new contextvars context for each request, and one thread for all of it."""
    server = serve(APP, threads=4)

    def converse(which: int) -> None:
        with server.client() as client:
            for number in range(10):
                name = f"{which}.{number}"
                before, *steps = client.ask(f"/context?{name}").text.split()
                assert before == "nobody"
                assert {step.partition("@")[0] for step in steps} == {name}
                assert len({step.partition("@")[2] for step in steps}) == 1
                gate.wait(f"closed {name}")

    together(converse, list(range(8)))


def test_crew_threads_are_daemonic_threads_that_last(serve: Serve) -> None:
    """Real Thread objects, one thread state for life (Django keeps a database connection a thread)."""
    server = serve(APP, threads=1)
    with server.client() as client:
        seen = [client.ask("/crew").text.split() for _ in range(20)]
    assert {(one[1], one[2]) for one in seen} == {("True", "False")}
    assert all("Dummy" not in one[0] for one in seen)
    # The crew is one more than `threads`; where the machine is busy the standby takes over: two that count.
    counts = Counter(int(one[3]) for one in seen)
    assert counts[1] <= 2
    assert all(counts[n + 1] <= counts[n] for n in counts)


def test_deep_recursion_is_an_exception_and_not_a_crash(serve: Serve) -> None:
    """Crew threads have a stack of 8 MiB."""
    server = serve(APP)
    assert server.get("/deep").text == "RecursionError"


def test_nothing_of_the_server_is_inherited_by_programs(serve: Serve) -> None:
    """Everything is close-on-exec, even where the application starts programs with close_fds=False."""
    server = serve(APP)
    inherited = {int(number) for number in server.get("/subprocess_open").text.split()}
    # 0 to 2, and the descriptor with which /proc/self/fd itself was read.
    assert inherited <= {0, 1, 2, 3}


def test_a_signal_handler_set_at_import_runs_in_the_main_thread(serve: Serve, gate: Gate) -> None:
    """The worker's main thread attaches and calls PyErr_CheckSignals, idle or busy."""
    server = serve(APP, threads=2)
    worker = int(server.get("/pid").text)
    for _ in range(5):
        os.kill(worker, signal.SIGUSR1)
        gate.wait("handler SIGUSR1 main")
    assert int(server.get("/pid").text) == worker


def test_an_application_that_replaces_sigterms_handler_is_drained_nevertheless(
    serve: Serve, gate: Gate
) -> None:
    """The supervisor speaks to workers through a socketpair, not by signals."""
    server = serve(APP)
    assert server.get("/hello").text == "hello"
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert gate.count("handler SIGTERM main") <= 1


def test_many_connections_see_a_context_of_their_own(serve: Serve) -> None:
    """Requests of one cohort run back to back on one thread, and share nothing."""
    server = serve(APP, threads=2)
    with ExitStack() as stack:
        everyone = clients(stack, server, 32)
        for client in everyone:
            client.send(request(target="/crew"))
        assert all(client.read().status == 200 for client in everyone)
