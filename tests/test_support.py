"""The tools of the tests do what they say: a tool that lets everything pass proves nothing."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from support.gate import Gate
from support.serving import Log, Serve
from support.waiting import TooSlow, at_some_pace
from support.wire import Broken, Client, Closed

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n"


def say(data: bytes) -> Client:
    """A client whose server says these bytes and closes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = Client(listener.getsockname())
        connection, _ = listener.accept()

    def answer() -> None:
        with connection:
            connection.sendall(data)

    threading.Thread(target=answer).start()
    return client


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        OK.replace(b"\r\n", b"\n") + b"\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        OK + b"Content-Length: +2\r\n\r\nok",
        OK + b"\r\nuntil the end, unannounced",
        OK + b"Bad Name: x\r\n\r\n",
        OK + b"Folded: x\r\n y\r\n\r\n",
        OK + b"Bell: \x07\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n",
    ],
)
def test_the_client_refuses_what_is_not_http(data: bytes) -> None:
    with say(data) as client, pytest.raises(Broken):
        client.read()


def test_the_client_reads_interim_chunked_and_closing_responses() -> None:
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        + OK
        + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    with say(data + OK + b"Connection: close\r\n\r\nrest") as client:
        first, second = client.read(), client.read()
    assert (first.interim, first.body, first.chunked) == ([100], b"abc", True)
    assert (second.body, second.closes) == (b"rest", True)


def test_the_client_tells_a_cut_response_from_a_whole_one() -> None:
    with say(OK + b"Content-Length: 10\r\n\r\nshort") as client, pytest.raises(Closed) as end:
        client.read()
    assert not end.value.reset


def test_a_served_application_is_met_at_the_gate(serve: Serve, gate: Gate) -> None:
    server = serve()
    with server.client() as client:
        client.send(b"GET /wait?name=here HTTP/1.1\r\nHost: x\r\n\r\n")
        guest = gate.wait("here")
        assert not client.readable()
        guest.release("onwards")
        assert client.read().text == "onwards"


def test_a_test_that_is_too_slow_has_more_time_and_one_that_fails_has_none() -> None:
    paces: list[int] = []

    def needs(enough: int) -> None:
        @at_some_pace
        def test(pace: int) -> None:
            paces.append(pace)
            if pace < enough:
                raise TooSlow

        test()

    needs(20)
    assert paces == [1, 5, 25]
    with pytest.raises(AssertionError, match="so slow"):
        needs(1000)

    @at_some_pace
    def fails(pace: int) -> None:
        assert pace > 1, "at once"

    with pytest.raises(AssertionError, match="at once"):
        fails()


def test_what_was_written_is_in_the_log_at_once() -> None:
    """Its reader had to have its turn first; and a character may come in two parts."""
    reading, writing = os.pipe()
    log = Log(reading)
    text = "one · two\n" * 2000
    data = text.encode()
    for start in range(0, len(data), 1001):
        os.write(writing, data[start : start + 1001])
        assert log.text.encode() == data[: start + 1001].decode(errors="ignore").encode()
    assert log.text == text
    os.write(writing, b"end")
    os.close(writing)
    assert log.text == log.wait_end() == text + "end"
