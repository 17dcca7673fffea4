"""Requests that take too long: what clients are told, what is found out, that nobody else is touched."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack

import pytest

from support.gate import Gate
from support.load import Steady, together
from support.lossless import SteadyLoad
from support.serving import Serve, Served
from support.waiting import TooSlow, at_some_pace, until
from support.wire import Client, Closed, Response, request

APP = "late:app"


def ask(server: Served, target: str) -> int:
    """One request; the status of its answer."""
    return server.get(target).status


def in_time(answer: Response) -> Response:
    """The answer of a request that is quick, unless the machine is not."""
    if answer.status in (503, 504):
        raise TooSlow
    return answer


def held(server: Served, gate: Gate, target: str, name: str) -> Client:
    """A request that is inside the application."""
    client = server.client()
    client.send(request(target=target))
    gate.wait(name)
    return client


@pytest.mark.parametrize("threads", [1, 4])
@at_some_pace
def test_past_its_time_a_request_is_answered_504_and_its_line_is_named(
    serve: Serve, threads: int, pace: int
) -> None:
    """The client is told, the log says where it was, and others are served as before and after."""
    server = serve(APP, threads=threads, timeout=f"{200 * pace}ms")
    assert in_time(server.get("/pid")).status == 200
    answer = server.get("/turns?with=query")
    assert (answer.status, answer.closes) == (504, True)
    found = server.log.wait(
        r"request timed out: GET /turns\?with=query from 127\.0\.0\.1:\d+ \(request [0-9a-f]{32}\)"
    )
    for said in (
        r"waited \d+\.\d+ s for a thread and has been in the application for \d+\.\d+ s",
        r"answered 504; \d+ MiB resident",
    ):
        server.log.wait(said, start=found.start())
    server.log.wait(r'File ".*/late\.py", line \d+, in turns\n +(while True:|for _ in range\(1000\):|pass)')
    assert in_time(server.get("/pid")).status == 200


@at_some_pace
def test_others_are_not_touched(serve: Serve, pace: int) -> None:
    """While a request is ended, all others of its worker are answered."""
    server = serve(APP, threads=4, timeout=f"{100 * pace}ms", graceful_timeout="5s")
    with Steady(server, "/pid", 3) as load:
        load.wait(100)
        for _ in range(3):
            assert ask(server, "/turns") == 504
        load.wait(100)
    if 504 in load.answers:
        raise TooSlow
    assert set(load.answers) == {200}


def test_code_that_catches_exceptions_does_not_swallow_it(serve: Serve, gate: Gate) -> None:
    """RequestTimeout derives from BaseException; what stands in `finally` is done."""
    server = serve(APP, threads=2, timeout="100ms")
    assert ask(server, "/swallows") == 504
    gate.wait("ended by stdserve.RequestTimeout: the request took longer than --timeout allows")
    gate.wait("finally")


def test_what_is_answered_after_the_time_reaches_nobody(serve: Serve) -> None:
    """Code that catches even the time-out talks to nobody."""
    server = serve(APP, threads=2, timeout="100ms")
    with server.client() as client:
        assert client.ask("/swallows_all").status == 504
        with pytest.raises(Closed):
            client.read()


def test_code_in_c_sees_it_when_it_returns(serve: Serve, gate: Gate) -> None:
    """time.sleep() is not interrupted; the client does not wait for it."""
    server = serve(APP, threads=2, timeout="100ms")
    assert ask(server, "/sleeps?1") == 504
    gate.wait("woke into the time-out")


@at_some_pace
def test_a_streamed_answer_is_cut(serve: Serve, pace: int) -> None:
    """It cannot be answered otherwise any more; the client can tell that it is not whole."""
    server = serve(APP, threads=2, timeout=f"{100 * pace}ms")
    with server.client() as client:
        client.send(request(target="/streams"))
        assert in_time(client.head()).status == 200
        with pytest.raises(Closed):
            list(client.chunks())
    server.log.wait("request timed out: GET /streams .* its answer had begun and was cut")


@at_some_pace
def test_a_close_that_does_not_end_is_ended(serve: Serve, pace: int) -> None:
    """The answer was complete: the client has it, and the thread is told all the same."""
    server = serve(APP, threads=2, timeout=f"{100 * pace}ms")
    with server.client() as client:
        assert in_time(client.ask("/closes")).text == "whole"
        server.log.wait("request timed out: GET /closes .* its answer was complete")
    server.log.wait(r"in closes\.<locals>\.Body\.close")


def test_an_event_loop_inside_a_request_ends(serve: Serve, gate: Gate) -> None:
    """asyncio.run() in a request: its tasks are ended."""
    server = serve(APP, threads=2, timeout="200ms")
    assert ask(server, "/loops") == 504
    gate.wait("the task has ended")


@at_some_pace
def test_gevent_and_its_hub_stand_it(serve: Serve, gate: Gate, pace: int) -> None:
    """The exception finds its way through the hub, and the thread serves on."""
    server = serve("gevent_app:app", threads=2, timeout=f"{500 * pace}ms")
    assert in_time(server.get("/?1")).text == "1 3"
    assert ask(server, "/stuck") == 504
    gate.wait("ended by RequestTimeout")
    assert in_time(server.get("/?2")).text == "2 3"


@at_some_pace
def test_the_worker_is_replaced_and_no_other_request_fails(serve: Serve, pace: int) -> None:
    """A lock may have stayed taken: a new worker takes the place of the one whose thread was ended."""
    server = serve(APP, workers=2, timeout=f"{300 * pace}ms")
    with SteadyLoad(server) as load:
        before = server.wait_workers(2)
        assert ask(server, "/turns") == 504

        def replaced() -> bool:
            now = server.workers()
            return len(now) == 2 and len(set(now) & set(before)) == 1

        until(lambda: replaced() or not set(server.workers()) & set(before), "one worker replaced")
        counts = load.end()
    if any(why.startswith("HTTP/1.1 504") for why in counts.failed):
        raise TooSlow
    assert counts.failed == {}
    assert counts.good == counts.sent


def test_the_exception_never_meets_the_next_request(serve: Serve) -> None:
    """Requests that take about as long as they may, one after the other: none sees another's time-out."""
    server = serve(APP, threads=4, timeout="20ms", graceful_timeout="5s")

    def hammer(number: int) -> list[int]:
        statuses = []
        for time in range(40):
            lasts = 0.017 + (number * 40 + time) * 0.000_04
            statuses.append(ask(server, f"/around?{lasts}"))
        return statuses

    found = [status for statuses in together(hammer, list(range(4))) for status in statuses]
    # One that met the exception of another would be answered 500, with a traceback in the log.
    assert set(found) <= {200, 504}
    assert 504 in found
    assert "Traceback" not in server.log.text


@at_some_pace
def test_c_that_holds_the_lock_of_the_interpreter(serve: Serve, gate: Gate, pace: int) -> None:
    """In one worker of two: its client is answered, the other worker goes on, it is named and replaced."""
    server = serve(APP, workers=2, timeout=f"{500 * pace}ms", queue_timeout=f"{200 * pace}ms")
    before = server.wait_workers(2)
    with ExitStack() as stack:
        of: dict[int, Client] = {}
        while len(of) < 2:
            client = stack.enter_context(server.client())
            of.setdefault(int(in_time(client.ask("/pid")).text), client)
        pid, other = before
        gate.enter(of[pid], "/holds_the_lock_of_the_interpreter", f"holding {pid}")
        # Its loop needs no interpreter.
        assert of[pid].read().status == 504
        for _ in range(100):
            assert in_time(of[other].ask("/pid")).text == str(other)
    server.log.wait(rf"stacks of worker {pid}, whose interpreter's lock cannot be had")
    server.log.wait(r"GET /holds_the_lock_of_the_interpreter")
    server.log.wait(r'late\.py", line \d+ in holds_the_lock_of_the_interpreter')
    until(lambda: pid not in server.workers() and len(server.workers()) == 2, "the worker replaced")
    assert other in server.workers()
    assert in_time(server.get("/pid")).status == 200


@at_some_pace
def test_who_comes_while_the_interpreter_cannot_be_had_is_left_to_other_workers(
    serve: Serve, gate: Gate, pace: int
) -> None:
    """A worker that can only refuse accepts nobody, as long as another serves."""
    server = serve(APP, workers=2, queue_timeout=f"{200 * pace}ms")
    before = server.wait_workers(2)
    with ExitStack() as stack:
        of: dict[int, Client] = {}
        while len(of) < 2:
            client = stack.enter_context(server.client())
            of.setdefault(int(in_time(client.ask("/pid")).text), client)
        pid = before[0]
        second = stack.enter_context(server.client())
        while int(in_time(second.ask("/pid")).text) != pid:
            second = stack.enter_context(server.client())
        gate.enter(of[pid], "/holds_the_lock_of_the_interpreter", f"holding {pid}")
        # From now on it is known to wait for its interpreter.
        assert second.ask("/pid").status == 503
        for _ in range(100):
            assert ask(server, "/pid") == 200
        assert pid in server.workers()
        os.kill(pid, signal.SIGKILL)


@at_some_pace
def test_slow_requests_are_told_once_for_a_place(serve: Serve, gate: Gate, pace: int) -> None:
    """The same autopsy, without an end; the same place is not told again within the minute."""
    server = serve(APP, threads=4, slow_request=f"{50 * pace}ms")
    clients = [held(server, gate, target, "waits") for target in ("/waits?one", "/waits?two")]
    server.log.wait("slow request: GET /waits.one .* it goes on")
    clients.append(held(server, gate, "/waits_elsewhere", "waits elsewhere"))
    # They are looked at in the order in which they began, so the second has had its turn.
    server.log.wait("slow request: GET /waits_elsewhere")
    if re.search(r"in _?(tell|connect)\n", server.log.text):
        raise TooSlow  # one of them had not come to its place
    assert "GET /waits?two" not in server.log.text
    server.log.wait(r"in waits\n +RELEASED\.wait\(\)")
    assert ask(server, "/release") == 200
    for client in clients:
        assert client.read().status == 200
        client.close()


def test_a_deadlock_is_told_once_with_every_stack(serve: Serve, gate: Gate) -> None:
    """All threads are inside, and none comes out."""
    server = serve(APP, threads=2, deadlock_timeout="200ms", graceful_timeout="100ms")
    clients = []
    guests = []
    for number in (0, 1):
        client = server.client()
        client.send(request(target=f"/deadlock?{number}"))
        guests.append(gate.wait(f"lock {number}"))
        clients.append(client)
    for guest in guests:
        guest.release()
    found = server.log.wait("all 2 threads have been in the application for")
    for number in (0, 1):
        server.log.wait(rf"GET /deadlock\?{number} from .* for \d+\.\d+ s", start=found.start())
    server.log.wait(r"(?s)(in deadlock\n.*with LOCKS\[1 - first\].*){2}", start=found.start())
    assert server.log.text.count("all 2 threads") == 1
    for client in clients:
        client.close()


def test_the_queue_is_bounded(serve: Serve, gate: Gate) -> None:
    """One request runs, one waits; a third is refused at once, and told when to try again."""
    server = serve(APP, threads=1, queue_size=1)
    running = server.client()
    running.send(request(target="/hold"))
    guest = gate.wait("hold")
    with server.client() as waiting:
        waiting.send(request(target="/pid"))
        server.turn()
        refused = server.get("/pid")
        assert (refused.status, refused.get("Retry-After"), refused.closes) == (503, "1", True)
        guest.release()
        assert waiting.read().status == 200
    assert running.read().status == 200
    running.close()


@at_some_pace
def test_who_waits_too_long_is_told_when_to_try_again(serve: Serve, gate: Gate, pace: int) -> None:
    """503 after --queue-timeout, with Retry-After."""
    server = serve(APP, threads=1, queue_timeout=f"{50 * pace}ms")
    running = server.client()
    guest = gate.enter(running, "/hold", "hold")
    refused = server.get("/pid")
    assert (refused.status, refused.get("Retry-After")) == (503, "1")
    guest.release()
    assert running.read().status == 200
    running.close()


@at_some_pace
def test_in_an_overload_the_newest_goes_first(serve: Serve, gate: Gate, pace: int) -> None:
    """With --lifo, once a request has waited for 100 ms."""
    server = serve(APP, threads=1, lifo=True)
    running = server.client()
    running.send(request(target="/hold"))
    guest = gate.wait("hold")
    waiting = []
    for number in (1, 2, 3):
        client = server.client()
        client.send(request(target=f"/hold_named?{number}"))
        server.turn()
        waiting.append(client)
    # An overload is a matter of time: the oldest of them has waited for long enough.
    refused_after = serve(APP, threads=1, queue_timeout=f"{150 * pace}ms")
    other = refused_after.client()
    second = gate.enter(other, "/hold", "hold")
    assert refused_after.get("/pid").status == 503
    second.release()
    other.close()
    guest.release()
    for name in ("3", "2", "1"):
        gate.wait(name).release()
    for client in [running, *waiting]:
        assert client.read().status == 200
        client.close()


@at_some_pace
def test_all_threads_are_shown_where_that_is_wanted(serve: Serve, gate: Gate, pace: int) -> None:
    """--autopsy-all: the other request's thread is in the autopsy, too."""
    server = serve(APP, threads=4, timeout=f"{300 * pace}ms", autopsy_all=True)
    other = server.client()
    gate.enter(other, "/waits?other", "waits")
    # It begins later, so the other one's autopsy comes first.
    late = server.client()
    late.send(request(target="/turns?late"))
    server.turn()
    if other.readable():
        raise TooSlow
    assert late.read().status == 504
    server.log.wait(r"request timed out: GET /turns")
    first = server.log.wait(r"(?s)request timed out: GET /waits.*?in waits\n.*?request timed out")
    assert "in turns" in first[0]
    assert other.read().status == 504
    other.close()


def test_a_remote_call_is_ended(serve: Serve, gate: Gate) -> None:
    """`stdserve rpc` has the same time-out."""
    server = serve(None, "rpc", "late:Calls()", timeout="100ms")
    body = b"<methodCall><methodName>turns</methodName><params/></methodCall>"
    with server.client() as client:
        answer = client.ask("/RPC2", "POST", [("Content-Type", "text/xml")], body)
    assert answer.status == 504
    gate.wait("ended by RequestTimeout")


def test_a_handler_is_ended(serve: Serve, gate: Gate) -> None:
    """`stdserve tcp`: the connection ends with its handler."""
    server = serve("late:Handler", "tcp", timeout="100ms")
    with server.client() as client:
        client.send(b"anything\n")
        gate.wait("ended by RequestTimeout")
        assert client.socket.recv(100) == b""
    server.log.wait(r"request timed out: a handler from 127\.0\.0\.1")


def test_zero_ends_nothing(serve: Serve, gate: Gate) -> None:
    """The default, and what gunicorn means by it."""
    server = serve(APP, threads=2, timeout=0, slow_request="20ms")
    with server.client() as client:
        client.send(request(target="/hold"))
        guest = gate.wait("hold")
        server.log.wait("slow request: GET /hold")
        guest.release("done")
        assert client.read().text == "done"


def test_a_drain_does_not_wait_for_what_was_given_up(serve: Serve) -> None:
    """A thread that is stuck in C for ever does not keep its worker for --graceful-timeout."""
    server = serve(APP, threads=2, timeout="100ms", graceful_timeout="600s")
    assert ask(server, "/sleeps?600") == 504
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
