"""Applications that return rubbish of every type: the worker lives, and nothing invalid is on the wire."""

from __future__ import annotations

import pytest

from support.serving import Serve, Served
from support.wire import Closed, Response, request

RETURNS = 31
STARTS = 50


def ask(server: Served, path: str) -> Response | None:
    """The response, strictly read; None where the connection was cut instead."""
    with server.client() as client:
        client.send(request(target=path))
        try:
            answer = client.read()
        except Closed:
            return None
        if answer.closes:
            client.expect_end()
        else:
            assert client.ask("/").status == 200
        return answer


@pytest.fixture
def server(serve: Serve) -> Served:
    """One worker for all rubbish of a test."""
    return serve("rubbish:app", threads=2)


def test_the_tables_are_walked_whole() -> None:
    """The numbers above are those of the application."""
    import rubbish

    assert (len(rubbish.RETURNS), len(rubbish.STARTS)) == (RETURNS, STARTS)


def test_returned_rubbish_does_not_hurt_the_worker(server: Served) -> None:
    """Every type that an application may return instead of an iterable of bytes."""
    worker = server.wait_workers(1)
    for number in range(RETURNS):
        answer = ask(server, f"/returns-{number}")
        assert answer is None or answer.status in (200, 500), f"returns-{number}: {answer}"
        assert server.get("/").status == 200
    assert server.workers() == worker


def test_what_is_no_iterable_of_bytes_is_a_500_or_a_cut_connection(server: Served) -> None:
    """Never a 200 that looks complete: None, numbers, text, nested lists, what cannot be iterated."""
    for number in (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 18, 19):
        answer = ask(server, f"/returns-{number}")
        assert answer is None or answer.status == 500, f"returns-{number}: {answer}"


def test_rubbish_in_start_response_is_never_on_the_wire(server: Served) -> None:
    """Statuses and headers of every wrong type and content; control bytes are a 500 and a logged error."""
    worker = server.wait_workers(1)
    for number in range(STARTS):
        answer = ask(server, f"/starts-{number}")
        if answer is not None:
            assert answer.get("X-Injected") is None
            assert 200 <= answer.status < 1000
            assert answer.status == 500 or answer.body == b"body", f"starts-{number}: {answer}"
        assert server.get("/").status == 200
    assert server.workers() == worker


@pytest.mark.parametrize("number", [*range(4), *range(16, 21), 24, 25, 27, 28, 32, 33, 34, 35, 40, 41, 43])
def test_a_broken_start_response_is_a_500(server: Served, number: int) -> None:
    """And the log says what was wrong."""
    answer = ask(server, f"/starts-{number}")
    assert answer is not None
    assert answer.status == 500
    server.log.wait("Traceback|Error|error")


@pytest.mark.parametrize(
    "shape",
    [
        "no_start",
        "start_twice",
        "start_too_late",
        "raises_an_odd_exception",
        "raises_deeply",
        "runs_out_of_memory",
    ],
)
def test_failures_before_the_head_are_500(server: Served, shape: str) -> None:
    """Exceptions before headers: 500, and the connection or at least the server goes on."""
    worker = server.wait_workers(1)
    answer = ask(server, f"/{shape}")
    assert answer is not None
    assert answer.status == 500
    assert server.workers() == worker


@pytest.mark.parametrize("shape", ["too_short", "write_rubbish"])
def test_a_response_that_cannot_be_completed_is_cut(server: Served, shape: str) -> None:
    """The client can tell that it did not get all."""
    answer = ask(server, f"/{shape}")
    assert answer is None or answer.status == 500
    server.log.wait("(?i)content-length|bytes")
    assert server.get("/").status == 200


@pytest.mark.parametrize("shape", ["too_long", "too_long_in_one", "too_long_in_pieces"])
def test_more_than_content_length_is_not_sent(server: Served, shape: str) -> None:
    """The surplus would be read as the next response: it is dropped, logged, and the connection closes."""
    with server.client() as client:
        client.send(request(target=f"/{shape}") + request())
        try:
            answer = client.read()
        except Closed as end:
            assert b"r long" not in end.after  # noqa: PT017
        else:
            assert answer.body == b"rath" or answer.status == 500
            if answer.body == b"rath":
                client.expect_end()
    server.log.wait("(?i)content-length")
    assert server.get("/").status == 200


def test_a_204_has_no_body(server: Served) -> None:
    """Whatever the application returns; the next response on the connection is readable."""
    with server.client() as client:
        answer = client.ask("/body_of_204")
        assert answer.status in (204, 500)
        if not answer.closes:
            assert client.ask("/").status == 200


def test_a_spoilt_environ_spoils_only_itself(server: Served) -> None:
    """environ is the application's own copy."""
    for _ in range(3):
        answer = ask(server, "/spoilt_environ")
        assert answer is not None
        assert answer.body == b"body"
