"""The rules of the engine: baton, run token, cohorts. Each test is named after the rule that it guards.

Order is proved by events: a request that waits at the gate is inside the application for as long as the test
wants, so "hello is answered beside it" means exactly that, on any machine, however slow.
"""

from __future__ import annotations

import random
from contextlib import ExitStack

import pytest

from support.gate import Gate
from support.load import clients, send_all, together
from support.serving import Serve
from support.waiting import PATIENCE, at_some_pace, until
from support.wire import Client, request

BAD = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n"


@pytest.mark.parametrize(("threads", "rounds"), [(2, 300), (8, 200), (64, 100)])
def test_hello_is_answered_beside_a_blocked_request(
    serve: Serve, gate: Gate, threads: int, rounds: int
) -> None:
    """Lost take-over: a hello on another connection waited behind a sleeping request."""
    server = serve(threads=threads)
    with server.client() as blocked, server.client() as quick:
        for number in range(rounds):
            blocked.send(request(target="/wait?name=blocked"))
            if number % 2:  # both orders: hello in the same turn, and hello that finds the leader inside
                guest = gate.wait("blocked")
            quick.send(request(target=f"/hello?n={number}"))
            assert quick.read().text == f"hello {number}"
            if not number % 2:
                guest = gate.wait("blocked")
            guest.release(str(number))
            assert blocked.read().text == str(number)


@pytest.mark.parametrize("threads", [2, 8, 64])
def test_hello_is_answered_beside_all_other_threads_blocked(serve: Serve, gate: Gate, threads: int) -> None:
    """With N threads, N - 1 blocked requests leave one that answers."""
    server = serve(threads=threads)
    with ExitStack() as stack:
        blocked = clients(stack, server, threads - 1)
        quick = stack.enter_context(server.client())
        for _ in range(3):
            send_all([(client, "/wait?name=blocked") for client in blocked])
            guests = [gate.wait("blocked") for _ in blocked]
            for number in range(20):
                assert quick.ask(f"/hello?n={number}").text == f"hello {number}"
            for guest in guests:
                guest.release("done")
            assert [client.read().text for client in blocked] == ["done"] * len(blocked)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_a_worker_with_all_threads_blocked_still_refuses_and_loses_nothing(
    serve: Serve, gate: Gate, threads: int
) -> None:
    """The last free thread does I/O and never enters the application."""
    server = serve(threads=threads)
    with ExitStack() as stack:
        blocked = clients(stack, server, threads)
        send_all([(client, "/wait?name=blocked") for client in blocked])
        guests = [gate.wait("blocked") for _ in blocked]
        waiting = clients(stack, server, 20)
        send_all([(client, f"/hello?n={number}") for number, client in enumerate(waiting)])
        refused = stack.enter_context(server.client())
        refused.send(BAD)
        assert refused.read().status == 400
        refused.expect_end()
        assert not any(client.readable() for client in [*blocked, *waiting])
        for guest in guests:
            guest.release("done")
        assert [client.read().text for client in blocked] == ["done"] * threads
        assert [client.read().text for client in waiting] == [f"hello {n}" for n in range(20)]


def test_no_more_than_threads_requests_are_in_the_application(serve: Serve, gate: Gate) -> None:
    """`--threads` is a promise to applications that count on it (connection pools, state)."""
    server = serve(threads=3)
    with ExitStack() as stack:
        many = clients(stack, server, 12)
        send_all([(client, "/wait?name=in") for client in many])
        for _ in range(4):
            guests = [gate.wait("in") for _ in range(3)]
            server.turn()
            assert gate.count("in") == 0
            for guest in guests:
                guest.release("ok")
        assert [client.read().text for client in many] == ["ok"] * 12


def test_take_over_under_random_sleeps_loses_nothing(serve: Serve) -> None:
    """Sleeps round the take-over's 1 ms, beside quick requests, thousands of times: every answer arrives."""
    server = serve(threads=8)
    chance = random.Random(1)
    plans = [[(n, chance.choice([0, 0, 0.2, 0.9, 1.0, 1.1, 2, 5])) for n in range(200)] for _ in range(16)]

    def converse(plan: list[tuple[int, float]]) -> int:
        right = 0
        with server.client() as client:
            for number, pause in plan:
                target = f"/sleep?ms={pause}&n={number}" if pause else f"/hello?n={number}"
                right += client.ask(target).text in (f"slept {number}", f"hello {number}")
        return right

    assert together(converse, plans) == [200] * 16


def all_but_two(waiting: list[Client]) -> list[Client]:
    """Those that are answered, if they are so many."""
    ready = [client for client in waiting if client.readable()]
    return ready if len(ready) >= len(waiting) - 2 else []


def test_the_gil_held_in_c_stops_no_refusal_and_no_time_out(serve: Serve, gate: Gate) -> None:
    """Whoever holds the baton never attaches to Python: 400, 408 and 503 need no GIL."""
    server = serve(threads=4, header_timeout="1s", limit_concurrency=3)
    with ExitStack() as stack:
        (holder,) = clients(stack, server, 1)
        holder.send(request(target="/hold-gil?name=held"))
        guest = gate.wait("held")
        # None is connected before it is its turn: silence would be ended as a slow head is.
        (slow,) = clients(stack, server, 1)
        slow.send(b"GET / HTTP/1.1\r\nHost:")
        (broken,) = clients(stack, server, 1)
        broken.send(BAD)
        assert broken.read().status == 400
        waiting = []
        for number in range(9):
            waiting += clients(stack, server, 1)
            waiting[-1].send(request(target=f"/hello?n={number}"))
        assert slow.read().status == 408
        ready = until(lambda: all_but_two(waiting), "the others are refused")
        assert [client.read().status for client in ready] == [503] * len(ready)
        assert not holder.readable()
        guest.release()
        assert holder.read().text == "held"
        late = [client.read().status for client in waiting if client not in ready]
        assert late == [200] * len(late)


@at_some_pace
def test_queue_time_outs_go_on_while_the_gil_is_held(serve: Serve, gate: Gate, pace: int) -> None:
    """Waiting for the GIL counts as being in the application, and the queue behind it is timed."""
    server = serve(threads=2, queue_timeout=f"{500 * pace}ms")
    with ExitStack() as stack:
        holder, *waiting = clients(stack, server, 9)
        guest = gate.enter(holder, "/hold-gil?name=held", "held")
        send_all([(client, "/hello") for client in waiting])
        # One thread at most has gone to queue for the GIL; with it a request that can no longer be timed out.
        ready = until(lambda: all_but_two(waiting), "the others are refused", patience=PATIENCE + pace)
        assert {client.read().status for client in ready} == {503}
        assert not holder.readable()
        guest.release()
        assert holder.read().text == "held"


def test_hello_is_answered_beside_a_computing_request(serve: Serve, gate: Gate) -> None:
    """A request that computes holds the GIL in slices; others get theirs between."""
    server = serve(threads=4)
    with server.client() as busy, server.client() as quick:
        busy.send(request(target="/compute?name=busy"))
        guest = gate.wait("busy")
        for number in range(20):
            assert quick.ask(f"/hello?n={number}").text == f"hello {number}"
        assert not busy.readable()
        guest.release()
        assert busy.read().text == "computed"


def test_a_request_that_arrives_while_its_connection_is_busy_is_answered(serve: Serve, gate: Gate) -> None:
    """Lost edge: a pipelined request came while the first ran, and hung for ever."""
    server = serve(threads=4)
    with server.client() as client:
        for number in range(50):
            client.send(request(target="/wait?name=first"))
            guest = gate.wait("first")
            client.send(request(target=f"/hello?n={number}") + request(target=f"/hello?n={number}b"))
            guest.release("first")
            assert [client.read().text for _ in range(3)] == ["first", f"hello {number}", f"hello {number}b"]


def test_half_of_a_request_that_arrives_while_its_connection_is_busy_is_kept(
    serve: Serve, gate: Gate
) -> None:
    """The same lost edge, with the second request cut in two by the first one's end."""
    server = serve(threads=4)
    second = request(target="/hello?n=2")
    with server.client() as client:
        for cut in range(1, len(second)):
            client.send(request(target="/wait?name=first"))
            guest = gate.wait("first")
            client.send(second[:cut])
            guest.release("first")
            assert client.read().text == "first"
            client.send(second[cut:])
            assert client.read().text == "hello 2"


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    """One request a connection in a cohort; the leftovers put it back in the ready queue."""
    server = serve(threads=8)
    with server.client() as client:
        client.send(b"".join(request(target=f"/hello?n={number}") for number in range(500)))
        assert [client.read().text for _ in range(500)] == [f"hello {number}" for number in range(500)]


def test_pipelined_requests_do_not_run_side_by_side(serve: Serve, gate: Gate) -> None:
    """The second request of a connection starts after the first one's response, as RFC 9112 9.3.2 implies."""
    server = serve(threads=8)
    with server.client() as client:
        client.send(request(target="/wait?name=first") + request(target="/told?name=second"))
        guest = gate.wait("first")
        assert server.get("/hello").status == 200
        assert gate.count("second") == 0
        guest.release("first")
        assert [client.read().text, client.read().text] == ["first", "0"]
        gate.wait("second")


def test_a_finished_response_does_not_wait_for_a_slow_neighbour(serve: Serve, gate: Gate) -> None:
    """Each response is published as it is complete, before the next request of its cohort starts."""
    server = serve(threads=4)
    with ExitStack() as stack:
        quick = clients(stack, server, 16)
        slow = stack.enter_context(server.client())
        for turn in range(50):
            targets = [(client, f"/hello?n={turn}") for client in quick]
            targets.insert(turn % 16, (slow, "/wait?name=slow"))
            send_all(targets)
            assert {client.read().text for client in quick} == {f"hello {turn}"}
            gate.wait("slow").release("slow")
            assert slow.read().text == "slow"


@pytest.mark.parametrize("threads", [1, 4])
def test_a_close_that_blocks_holds_up_neither_its_response_nor_others(
    serve: Serve, gate: Gate, threads: int
) -> None:
    """Each response is published before the iterable's close()."""
    server = serve(threads=threads)
    with server.client() as client, server.client() as other:
        client.send(request(target="/slow-close?name=closing"))
        assert client.read().text == "quick"
        guest = gate.wait("closing")
        if threads > 1:
            assert other.ask("/hello?n=1").text == "hello 1"
        guest.release()
        assert client.ask("/hello?n=2").text == "hello 2"


def test_an_application_that_calls_itself_with_one_thread_gets_503(serve: Serve) -> None:
    """`--threads 1` and an application that calls its own address: the queue time-out ends it."""
    server = serve("selfcall:app", threads=1, queue_timeout="1s")
    assert server.get(f"/call?port={server.port}").text == "inner 503"
    assert server.get("/").text == "plain"


def test_an_application_that_calls_itself_with_two_threads_is_answered(serve: Serve) -> None:
    """The take-over lets the inner request run."""
    server = serve("selfcall:app", threads=2, queue_timeout="20s")
    for _ in range(20):
        assert server.get(f"/call?port={server.port}").text == "inner 200"


def test_queue_time_outs_race_with_returns_and_each_request_has_one_answer(serve: Serve) -> None:
    """An exchange has one atomic state; who wins it writes, the others discard."""
    server = serve(threads=1, queue_timeout="20ms")

    def converse(which: int) -> set[int]:
        seen = set()
        client: Client | None = None
        for number in range(60):
            client = client or server.client()
            answer = client.ask(f"/sleep?ms=10&n={which}.{number}")
            seen.add(answer.status)
            assert answer.status == 503 or answer.text == f"slept {which}.{number}"
            if answer.closes:
                client.expect_end()
                client = None
        return seen

    assert set().union(*together(converse, list(range(6)))) <= {200, 503}
    assert server.get("/hello?n=after").text == "hello after"


def test_a_reused_slot_gets_no_answer_of_its_predecessor(serve: Serve, gate: Gate) -> None:
    """Tokens and responses carry slot, generation and exchange number; stale ones are dropped."""
    server = serve(threads=4)
    for number in range(50):
        gone = server.client()
        gone.send(request(target="/wait?name=gone"))
        guest = gate.wait("gone")
        gone.reset()
        with server.client() as fresh:
            assert fresh.ask("/hello?n=a").text == "hello a"
            guest.release(f"stale {number}")
            assert fresh.ask(f"/hello?n={number}").text == f"hello {number}"


def test_streamed_blocks_are_sent_as_they_are_yielded(serve: Serve, gate: Gate) -> None:
    """An iterable of unknown length ends the cohort: publish, then stream, each block at once (PEP 3333)."""
    server = serve(threads=2)
    with server.client() as client, server.client() as other:
        client.send(request(target="/steps?name=step&count=5"))
        head = client.head()
        assert head.status == 200
        assert head.get("Transfer-Encoding") == "chunked"
        for number, chunk in enumerate(client.chunks()):
            assert chunk == f"step {number}\n".encode()
            assert other.ask("/hello?n=x").text == "hello x"
            gate.wait("step").release()
        gate.wait("step closed")


def test_a_cut_stream_is_closed_by_the_server(serve: Serve, gate: Gate) -> None:
    """A client that leaves a stream: the iterable's close() runs, the thread is free again."""
    server = serve(threads=1)
    client = server.client()
    client.send(request(target="/steps?name=step&count=1000"))
    assert client.head().status == 200
    client.reset()
    gate.open("step")
    gate.wait("step closed")
    assert server.get("/hello?n=1").text == "hello 1"


def test_light_load_is_answered_after_long_idling(serve: Serve) -> None:
    """The standby sleeps without a limit after some 50 ms without work; `put_down` wakes it from there."""
    server = serve(threads=2)
    with server.client() as client, server.client() as other:
        for number in range(8):
            # Nothing can be waited for here: the pause itself is what is tested.
            assert not client.readable(0.08)
            client.send(request(target=f"/sleep?ms=50&n={number}"))
            assert other.ask(f"/hello?n={number}").text == f"hello {number}"
            assert client.read().text == f"slept {number}"


def test_a_gone_client_cannot_have_the_next_ones_request_run_twice(serve: Serve, gate: Gate) -> None:
    """While a crew thread owns a request, the loop may shut the socket down, never close it."""
    server = serve(threads=2)
    client = server.client()
    client.send(request(target="/wait?name=once"))
    guest = gate.wait("once")
    client.half_close()
    client.close()
    assert server.get("/hello?n=1").status == 200
    guest.release()
    assert server.get("/hello?n=2").status == 200
    assert gate.count("once") == 0
