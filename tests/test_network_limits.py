"""Every size and count of the open network, each with its option."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from typing import Any

import pytest

from support.gate import Gate
from support.load import clients, send_all
from support.serving import Serve
from support.wire import request

EASY: dict[str, Any] = {"keep_alive": "60s", "header_timeout": "60s"}


def line(length: int) -> bytes:
    """A request whose request line is so long, its end of line not counted."""
    path = b"/hello?" + b"x" * (length - len(b"GET /hello? HTTP/1.1"))
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def field(length: int) -> bytes:
    """A request with a field that is so long, its end of line not counted."""
    return b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * (length - len(b"X-Long: ")) + b"\r\n\r\n"


def fields(count: int) -> bytes:
    """A request with so many fields, Host among them."""
    more = b"".join(b"X-%d: y\r\n" % number for number in range(count - 1))
    return b"GET /hello HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"


@pytest.mark.parametrize(
    ("options", "data", "status"),
    [
        ({}, line(4092), 200),
        ({}, line(4100), 414),
        ({"limit_request_line": 200}, line(198), 200),
        ({"limit_request_line": 200}, line(206), 414),
        ({}, field(8188), 200),
        ({}, field(8200), 431),
        ({"limit_request_field_size": 100}, field(98), 200),
        ({"limit_request_field_size": 100}, field(106), 431),
        ({}, fields(100), 200),
        ({}, fields(101), 431),
        ({"limit_request_fields": 10}, fields(10), 200),
        ({"limit_request_fields": 10}, fields(11), 431),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else str(value),
)
def test_limits_of_the_head(serve: Serve, options: dict[str, Any], data: bytes, status: int) -> None:
    """gunicorn's names and defaults: 4094 for the line (414), 100 fields, 8190 for one of them (431)."""
    server = serve(**options)
    for piece in (0, 100):
        with server.client() as client:
            client.send(data, piece)
            assert client.read().status == status
            if status != 200:
                client.expect_end()


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"", b"x", b"\r\n"])
def test_an_endless_head_is_refused_before_it_ends(serve: Serve, start: bytes) -> None:
    """A head is bounded while it is read, not only when it is complete."""
    server = serve(header_timeout="60s")
    filler = b"\r\n" * 512 if start in (b"", b"\r\n") else b"x" * 1024
    with server.client() as client:
        try:
            client.send(start)
            for _ in range(2048):
                if client.readable():
                    break
                client.send(filler)
        except OSError:
            pass
        else:
            assert client.readable(10), "two MiB of a head, and no answer"


def test_the_head_as_a_whole_is_bounded(serve: Serve) -> None:
    """--limit-request-head: all fields together, 64 KiB by default; each alone would be within its limit."""
    for server, most in ((serve(), 8), (serve(limit_request_head="16KiB"), 2)):
        for count, status in ((most - 1, 200), (most + 1, 431)):
            with server.client() as client:
                answer = client.ask("/hello", fields=[(f"X-{number}", "y" * 8000) for number in range(count)])
                assert answer.status == status


def test_worker_connections_bounds_what_is_accepted(serve: Serve) -> None:
    """--worker-connections: one more waits in the kernel's queue until another has ended."""
    server = serve(worker_connections=4, **EASY)
    with ExitStack() as stack:
        held = clients(stack, server, 4)
        assert [client.ask("/hello").status for client in held] == [200] * 4
        late = stack.enter_context(server.client())
        late.send(request(target="/hello?n=late"))
        for client in held:
            assert client.ask("/hello").status == 200
        assert not late.readable()
        held[0].close()
        assert late.read().text == "hello late"


def test_backlog_is_what_listen_is_told(serve: Serve) -> None:
    """--backlog, with gunicorn's default of 2048 (the kernel's net.core.somaxconn bounds it)."""
    if shutil.which("ss") is None:
        pytest.skip("needs ss (Debian package iproute2)")
    with open("/proc/sys/net/core/somaxconn") as file:
        most = int(file.read())
    for server, wanted in [(serve(), min(2048, most)), (serve(backlog=77), 77)]:
        said = subprocess.run(
            ["ss", "-Hltn", f"sport = :{server.port}"], capture_output=True, text=True, check=True
        ).stdout.split()
        assert said[2] == str(wanted)


def test_limit_concurrency_answers_503(serve: Serve, gate: Gate) -> None:
    """--limit-concurrency: past it the answer is 503 at once; below it all is as before."""
    server = serve(limit_concurrency=2, threads=4)
    with ExitStack() as stack:
        held = clients(stack, server, 2)
        send_all([(client, "/wait?name=held") for client in held])
        guests = [gate.wait("held") for _ in held]
        for _ in range(5):
            assert server.get("/told?name=ghost").status == 503
        guests[0].release("done")
        assert held[0].read().text == "done"
        assert server.get("/hello").status == 200
        guests[1].release("done")
        assert held[1].read().text == "done"
        assert gate.count("ghost") == 0


def test_idle_connections_do_not_count_for_limit_concurrency(serve: Serve) -> None:
    """--limit-concurrency is about requests."""
    server = serve(limit_concurrency=2, **EASY)
    with ExitStack() as stack:
        for client in clients(stack, server, 10):
            assert client.ask("/hello").status == 200


def test_a_request_of_a_reset_client_is_not_run(serve: Serve, gate: Gate) -> None:
    """A request whose client has gone while it waited is not run."""
    server = serve(threads=1)
    with server.client() as blocked:
        blocked.send(request(target="/wait?name=blocked"))
        guest = gate.wait("blocked")
        gone = [server.client() for _ in range(5)]
        send_all([(client, "/told?name=ghost") for client in gone])
        # This answer proves that the loop has read what was sent before it.
        server.turn()
        for client in gone:
            client.reset()
        server.turn()
        guest.release("done")
        assert blocked.read().text == "done"
    assert server.get("/hello").status == 200
    assert gate.count("ghost") == 0


def test_a_request_of_a_client_that_has_half_closed_is_served(serve: Serve, gate: Gate) -> None:
    """End of stream after a complete request is not gone: many clients half-close."""
    server = serve(threads=1)
    with server.client() as blocked, server.client() as half:
        blocked.send(request(target="/wait?name=blocked"))
        guest = gate.wait("blocked")
        half.send(request(target="/hello?n=half"))
        half.half_close()
        guest.release("done")
        assert half.read().text == "hello half"
        half.expect_end()
        assert blocked.read().text == "done"


def test_several_pipelined_requests_of_a_half_closed_client_are_served(serve: Serve) -> None:
    """The end of stream waits behind the requests that came before it."""
    server = serve()
    with server.client() as client:
        client.send(b"".join(request(target=f"/hello?n={number}") for number in range(5)))
        client.half_close()
        assert [client.read().text for _ in range(5)] == [f"hello {number}" for number in range(5)]
        client.expect_end()


def test_no_half_close_treats_the_end_of_stream_as_gone(serve: Serve, gate: Gate) -> None:
    """--no-half-close: for servers whose clients never half-close."""
    server = serve(threads=1, half_close=False)
    with server.client() as blocked, server.client() as half:
        blocked.send(request(target="/wait?name=blocked"))
        guest = gate.wait("blocked")
        half.send(request(target="/told?name=ghost"))
        half.half_close()
        server.turn()
        guest.release("done")
        assert blocked.read().text == "done"
        half.expect_end()
    assert server.get("/hello").status == 200
    assert gate.count("ghost") == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n\r\n",
        b"GET /hello HTTP/3.0\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["smuggling", "chunk size", "too large", "no host", "version", "TLS"],
)
@pytest.mark.parametrize("piece", [0, 1])
def test_leftovers_of_a_refused_request_never_become_a_request(
    serve: Serve, gate: Gate, bad: bytes, piece: int
) -> None:
    """One refusal, then the end of the connection; what followed is not looked at."""
    server = serve(max_body=1000)
    with server.client() as client:
        try:
            client.send(bad + request(target="/told?name=ghost") * 3, piece)
        except OSError:
            assert piece, "sent at once, it must arrive"
        answer = client.read()
        assert 400 <= answer.status < 600
        assert answer.closes
        client.expect_end()
    assert server.get("/hello").status == 200
    assert gate.count("ghost") == 0
