"""Every time-out of the open network, each with its option.

The options are set short, and the tests wait for what the server does; no test measures how long it took.
"""

from __future__ import annotations

import threading

import pytest

from support.gate import Gate
from support.serving import Serve
from support.waiting import TooSlow, at_some_pace, until
from support.wire import Client, Closed, request

#: Long enough never to happen in a test.
NEVER = "600s"


def drip(client: Client, data: bytes, pause: float = 0.05) -> int:
    """Send byte after byte, slowly, until the server says something; how many went."""
    for sent, byte in enumerate(data):
        if client.readable(pause):
            return sent
        try:
            client.send(bytes([byte]))
        except OSError:
            return sent
    return len(data)


def test_a_head_that_does_not_come_is_answered_408(serve: Serve) -> None:
    """--header-timeout: the whole head, from its first byte on."""
    server = serve(header_timeout="1s", keep_alive=NEVER)
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        assert client.read().status == 408
        client.expect_end()


def test_a_head_in_drips_gets_no_more_time_than_another(serve: Serve) -> None:
    """--header-timeout is for the whole head: a byte now and then does not prolong it (slow loris)."""
    server = serve(header_timeout="1s", keep_alive=NEVER)
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert drip(client, b"X-Long: " + b"x" * 1000) < 600
        assert client.read().status == 408


def test_a_connection_that_never_says_anything_is_closed(serve: Serve) -> None:
    """--header-timeout counts from accepting."""
    server = serve(header_timeout="1s", keep_alive=NEVER)
    with server.client() as client:
        said = client.rest()
    assert said == b"" or said.startswith(b"HTTP/1.1 408 ")


def test_the_second_head_of_a_connection_is_timed_too(serve: Serve) -> None:
    """--header-timeout, not --keep-alive, once the first byte of a request has come."""
    server = serve(header_timeout="1s", keep_alive=NEVER)
    with server.client() as client:
        assert client.ask("/hello").status == 200
        client.send(b"G")
        assert client.read().status == 408
        client.expect_end()


def test_a_body_that_stops_is_answered_408_and_not_run(serve: Serve, gate: Gate) -> None:
    """--body-rate and --body-period: an incomplete body never reaches the application."""
    server = serve(body_rate=1000, body_period="1s", header_timeout=NEVER)
    with server.client() as client:
        client.send(request("POST", "/told?name=ghost", body=b"x" * 50_000)[:-40_000])
        assert client.read().status == 408
        client.expect_end()
    assert server.get("/hello").status == 200
    assert gate.count("ghost") == 0


def test_a_body_in_drips_is_answered_408(serve: Serve) -> None:
    """--body-rate: bytes that come too slowly do not count as progress."""
    server = serve(body_rate=10_000, body_period="1s", header_timeout=NEVER)
    with server.client() as client:
        client.send(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert drip(client, b"x" * 2000) < 1000
        assert client.read().status == 408


def test_a_chunked_body_that_stops_is_answered_408(serve: Serve) -> None:
    """--body-rate holds for chunked bodies as well."""
    server = serve(body_rate=1000, body_period="1s", header_timeout=NEVER)
    with server.client() as client:
        client.send(b"POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert client.read().status == 408


@at_some_pace
def test_a_slow_body_above_the_rate_is_served(serve: Serve, pace: int) -> None:
    """--body-rate is a minimum, not a limit on how long a body may take."""
    server = serve(body_rate=100, body_period=f"{500 * pace}ms", header_timeout=f"{pace}s")
    with server.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n")
        for _ in range(40):
            # So long a pause of ours is a body that does not come.
            if client.readable(0.05 * pace):
                assert client.read().status == 408
                raise TooSlow
            client.send(b"x" * 200)
        assert client.read().status == 200


def test_an_idle_connection_is_closed_without_a_word(serve: Serve) -> None:
    """--keep-alive: between requests there is nobody to tell."""
    server = serve(keep_alive="1s")
    with server.client() as client:
        assert not client.ask("/hello").closes
        client.expect_end()


def test_no_connection_is_kept_with_keep_alive_0(serve: Serve) -> None:
    """--keep-alive 0 says so in the response."""
    server = serve(keep_alive=0)
    with server.client() as client:
        assert client.ask("/hello").closes
        client.expect_end()


@at_some_pace
def test_a_connection_in_use_outlives_keep_alive(serve: Serve, gate: Gate, pace: int) -> None:
    """--keep-alive counts from one answer to the next request, and not while a request runs."""
    server = serve(keep_alive=f"{500 * pace}ms", threads=2)
    with server.client() as client:
        try:
            for _ in range(15):
                assert client.ask("/hello").status == 200
                # So long a pause of ours is one in which no request comes.
                if client.readable(0.1 * pace):
                    client.expect_end()
                    raise TooSlow
            guest = gate.enter(client, "/wait?name=long", "long")
        except (Closed, BrokenPipeError, ConnectionResetError):
            raise TooSlow from None
        assert not client.readable(1.5 * pace)
        guest.release("done")
        assert client.read().text == "done"


def test_a_client_that_reads_nothing_is_cut_off(serve: Serve, gate: Gate) -> None:
    """--write-timeout: the response lies in the buffer, the application is done, the client takes nothing."""
    server = serve(write_timeout="1s", response_buffer="64MiB", threads=1)
    with server.client(receive_buffer=4096) as client:
        client.send(request(target="/large?size=30000000&name=left"))
        gate.wait("left")
        until(lambda: not server.holds(client), "the connection is closed")
        with pytest.raises(Closed):
            client.read()
    assert server.get("/hello").status == 200


@at_some_pace
def test_a_client_that_reads_slowly_is_not_cut_off(serve: Serve, pace: int) -> None:
    """--write-timeout asks for some progress, not for the whole response."""
    server = serve(write_timeout=f"{pace}s", response_buffer="64MiB")
    with server.client(receive_buffer=65536) as client:
        client.send(request(target="/large?size=8000000"))
        assert client.head().status == 200
        taken = len(client.buffer)
        client.buffer.clear()
        try:
            for _ in range(30):
                data = client.socket.recv(50_000)
                assert data, f"an orderly end after {taken} bytes"
                taken += len(data)
                # The pause is what is tested: a reader that is in all slower than the time-out.
                threading.Event().wait(0.1 * pace)
            while taken < 8_000_000:
                data = client.socket.recv(1 << 20)
                assert data, f"an orderly end after {taken} bytes"
                taken += len(data)
        except ConnectionResetError:
            # So long a pause of ours is a client that takes nothing.
            raise TooSlow from None


@at_some_pace
def test_a_refused_client_that_goes_on_sending_gets_its_answer_and_is_closed(serve: Serve, pace: int) -> None:
    """--linger-timeout: what it still sends is thrown away for a while: no reset eats the 413."""
    server = serve(max_body=1000, linger_timeout=f"{pace}s")
    with server.client() as client:
        client.send(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(50):
                client.send(b"x" * 10_000)
            assert client.read().status == 413
        except (Closed, BrokenPipeError, ConnectionResetError):
            raise TooSlow from None
        until(lambda: cut(client), "the server stops listening to it")


def cut(client: Client) -> bool:
    """Send a little more; whether the other side has gone."""
    try:
        client.send(b"x" * 1000)
    except OSError:
        return True
    return False


def test_a_refused_client_that_says_nothing_more_is_closed(serve: Serve) -> None:
    """--linger-timeout: the connection of a silent client does not stay either."""
    server = serve(linger_timeout="1s")
    with server.client() as client:
        client.send(b"BROKEN\r\n\r\n")
        assert client.read().status == 400
        until(lambda: not server.holds(client), "the connection is closed")


def test_a_request_that_finds_no_thread_is_answered_503(serve: Serve, gate: Gate) -> None:
    """--queue-timeout: it is not run afterwards."""
    server = serve(threads=1, queue_timeout="1s")
    with server.client() as blocked, server.client() as waiting:
        blocked.send(request(target="/wait?name=blocked"))
        guest = gate.wait("blocked")
        waiting.send(request(target="/told?name=ghost"))
        assert waiting.read().status == 503
        guest.release("done")
        assert blocked.read().text == "done"
        assert server.get("/hello").status == 200
        assert gate.count("ghost") == 0


def test_a_stream_to_a_client_that_stops_reading_lets_its_thread_go(serve: Serve, gate: Gate) -> None:
    """Past --response-buffer the thread waits for the client, and not for ever: --write-timeout ends it."""
    server = serve(write_timeout="1s", response_buffer="64KiB", threads=1)
    with server.client(receive_buffer=4096) as client:
        client.send(request(target="/stream?size=65536&count=1000&name=left"))
        gate.wait("left")
        assert server.get("/hello").status == 200
        with pytest.raises(Closed):
            client.read()
