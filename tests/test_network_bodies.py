"""Bodies in both directions: where they are kept, how much of them, and what a slow client costs."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import proc
from support.gate import Gate
from support.load import clients, send_all, together
from support.serving import Serve
from support.waiting import until
from support.wire import request

MIB = 1 << 20


def chunked(target: str, body: bytes, size: int = 4096) -> bytes:
    """A POST whose body comes in chunks of that size."""
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 65_536, MIB - 1, MIB, MIB + 1, 5 * MIB])
def test_a_body_arrives_whole_whatever_its_size(serve: Serve, how: str, size: int) -> None:
    """In memory up to --body-buffer, then in a file: the application sees no difference."""
    server = serve("bodies:app")
    body = os.urandom(size)
    with server.client() as client:
        for _ in range(2):
            if how == "length":
                client.send(request("POST", "/digest", body=body))
            else:
                client.send(chunked("/digest", body))
            assert client.read().text == f"{size} {hashlib.sha256(body).hexdigest()}"


def test_a_body_beyond_body_buffer_lies_in_an_unlinked_file(serve: Serve, gate: Gate, tmp_path: Path) -> None:
    """--body-buffer and --temp-dir: nothing is left in the folder, even if the worker is killed."""
    server = serve("bodies:app", body_buffer="64KiB", temp_dir=tmp_path, threads=2)
    with server.client() as client:
        client.send(request("POST", "/digest-at-gate?held", body=b"x" * MIB))
        guest = gate.wait("held")
        assert list(tmp_path.iterdir()) == []
        files = [target for target in proc.descriptors(guest.pid) if str(tmp_path) in target]
        assert len(files) == 1
        guest.release()
        assert client.read().text == f"{MIB} {hashlib.sha256(b'x' * MIB).hexdigest()}"
    assert server.get("/digest").status == 200
    assert not [target for target in proc.descriptors(guest.pid) if str(tmp_path) in target]


def test_a_declared_body_beyond_max_body_is_413_before_it_is_read(serve: Serve, gate: Gate) -> None:
    """--max-body: the answer comes on the head alone, and 100 Continue is not sent first."""
    server = serve(max_body=1000)
    head = b"POST /told?name=ghost HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n"
    for more in (b"\r\n", b"Expect: 100-continue\r\n\r\n"):
        with server.client() as client:
            client.send(head + more)
            answer = client.read()
            assert (answer.status, answer.interim) == (413, [])
    with server.client() as client:
        assert client.ask("/told?name=fits", "POST", body=b"x" * 1000).text == "1000"
    assert gate.count("ghost") == 0


def test_a_chunked_body_beyond_max_body_is_413(serve: Serve, gate: Gate) -> None:
    """--max-body holds for bodies that do not say their size beforehand."""
    server = serve(max_body=1000)
    with server.client() as client:
        client.send(chunked("/told?name=fits", b"x" * 1000, 100))
        assert client.read().text == "1000"
        client.send(chunked("/told?name=ghost", b"x" * 1001, 100))
        assert client.read().status == 413
        client.expect_end()
    assert gate.count("ghost") == 0


def test_expect_100_continue_is_answered_before_the_body(serve: Serve) -> None:
    """The client waits for it; the connection stays good."""
    server = serve()
    with server.client() as client:
        for number in range(3):
            client.send(
                b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
            )
            assert client.readable(10)
            client.send(b"bod%d" % number)
            answer = client.read()
            assert (answer.status, answer.interim) == (200, [100])
            assert json.loads(answer.text)["body"] == (b"bod%d" % number).hex()


def test_http_1_0_gets_no_100_continue(serve: Serve) -> None:
    """RFC 9110 section 10.1.1: an expectation in an HTTP/1.0 request is ignored."""
    server = serve()
    with server.client() as client:
        client.send(b"POST /echo HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        client.send(b"body")
        answer = client.read()
        assert (answer.status, answer.interim) == (200, [])


def test_an_incomplete_body_never_reaches_the_application(serve: Serve, gate: Gate) -> None:
    """The client leaves, in whichever way, before its body is complete."""
    server = serve()
    for ending in ("close", "reset", "half"):
        for data in (
            request("POST", "/told?name=ghost", body=b"x" * 1000)[:-1],
            chunked("/told?name=ghost", b"x" * 1000)[:-2],
            chunked("/told?name=ghost", b"x" * 1000)[:-5],
        ):
            client = server.client()
            client.send(data)
            if ending == "reset":
                client.reset()
            elif ending == "close":
                client.close()
            else:
                client.half_close()
                assert b" 200 " not in client.rest()
                client.close()
    server.turn()
    assert server.get("/hello").status == 200
    assert gate.count("ghost") == 0


def test_buffer_total_bounds_what_uploads_cost(serve: Serve) -> None:
    """--buffer-total: past it bodies are spooled early, or answered 503; memory stays bounded."""
    server = serve("bodies:app", buffer_total="4MiB", body_buffer="4MiB", body_rate=0)
    body = os.urandom(MIB)
    assert server.get("/digest").status == 200
    worker = server.wait_workers(1)[0]
    before = proc.resident(worker)
    with ExitStack() as stack:
        uploads = clients(stack, server, 64)
        data = request("POST", "/digest", body=body)
        together(lambda client: client.send(data[:-1]), uploads)
        server.turn()
        grown = proc.resident(worker) - before
        assert grown < 4 * MIB + 16 * MIB, f"64 MiB of uploads cost {grown / MIB:.0f} MiB of memory"
        for client in uploads:
            client.send(data[-1:])
        answers = [client.read() for client in uploads]
    assert {answer.status for answer in answers} <= {200, 503}
    wanted = f"{MIB} {hashlib.sha256(body).hexdigest()}"
    assert all(answer.text == wanted for answer in answers if answer.status == 200)
    assert server.get("/digest").status == 200


def test_a_slow_reader_keeps_no_thread(serve: Serve, gate: Gate) -> None:
    """What the socket does not take is kept, up to --response-buffer: the application is left at once."""
    server = serve(threads=1)
    with ExitStack() as stack:
        slow = [stack.enter_context(server.client(receive_buffer=4096)) for _ in range(4)]
        for client in slow:
            client.send(request(target="/stream?size=65536&count=64&name=left"))
            gate.wait("left")
        assert server.get("/hello").status == 200
        for client in slow:
            assert len(client.read().body) == 64 * 65536


@pytest.mark.parametrize("shape", ["stream?size=65536&count=1000", "large?size=65536000"])
def test_the_response_buffer_is_bounded(serve: Serve, gate: Gate, shape: str) -> None:
    """--response-buffer: past it the thread waits; others are served beside, and all of it arrives."""
    server = serve(threads=2, response_buffer="1MiB")
    assert server.get("/hello").status == 200
    worker = server.wait_workers(1)[0]
    with server.client(receive_buffer=4096) as slow:
        slow.send(request(target=f"/{shape}&name=left"))
        for _ in range(50):
            assert server.get("/hello").status == 200
        if shape.startswith("stream"):
            assert gate.count("left") == 0
            # One piece of the application's is 64 KiB; the kernel's send buffer is not the process's memory.
            assert proc.resident(worker) < 64 * MIB
        assert len(slow.read().body) == 65_536_000
        gate.wait("left")


def test_a_client_that_leaves_a_full_buffer_frees_its_thread(serve: Serve, gate: Gate) -> None:
    """The thread that waits for a slow client learns that it has gone."""
    server = serve(threads=1, response_buffer="64KiB", write_timeout="600s")
    slow = server.client(receive_buffer=4096)
    slow.send(request(target="/stream?size=65536&count=1000&name=left"))
    slow.head()
    slow.reset()
    gate.wait("left")
    assert server.get("/hello").status == 200


def test_data_is_sent_as_soon_as_the_socket_takes_it(serve: Serve, gate: Gate) -> None:
    """A reader that was slow, and reads again, gets the rest while the application is elsewhere."""
    server = serve(threads=1)
    with server.client(receive_buffer=4096) as slow, server.client() as other:
        slow.send(request(target="/large?size=4000000&name=left"))
        gate.wait("left")
        other.send(request(target="/wait?name=elsewhere"))
        guest = gate.wait("elsewhere")
        assert len(slow.read().body) == 4_000_000
        guest.release("done")
        assert other.read().text == "done"


def test_an_unread_body_does_not_spoil_the_next_request(serve: Serve) -> None:
    """Bodies are complete before the application runs; whether it reads them is its own affair."""
    server = serve()
    with server.client() as client:
        for size in (1, 100_000, 3 * MIB):
            assert (
                client.ask("/hello?n=a", "POST", body=b"GET / HTTP/1.1\r\n\r\n" * (size // 18 + 1)).status
                == 200
            )
            assert client.ask("/hello?n=b").text == "hello b"


def test_uploads_in_parallel_do_not_mix(serve: Serve) -> None:
    """Spooled and unspooled bodies of many connections, in small pieces."""
    server = serve("bodies:app", body_buffer="16KiB", threads=4)

    def upload(number: int) -> bool:
        body = bytes([number]) * (1000 * (number + 1))
        with server.client() as client:
            client.send(request("POST", "/digest", body=body), 1500)
            return client.read().text == f"{len(body)} {hashlib.sha256(body).hexdigest()}"

    assert all(together(upload, list(range(40))))


def test_responses_to_leaving_clients_leave_no_descriptor_behind(serve: Serve, tmp_path: Path) -> None:
    """Whatever a client left behind (spooled body, buffered response) is freed."""
    server = serve("bodies:app", body_buffer="1KiB", temp_dir=tmp_path)
    assert server.get("/digest").status == 200
    worker = server.wait_workers(1)[0]
    before = len(proc.descriptors(worker))
    for _ in range(20):
        client = server.client()
        client.send(request("POST", "/digest", body=b"x" * 100_000)[:-1])
        client.reset()
        client = server.client()
        send_all([(client, "/digest")])
        client.reset()
    server.turn()
    with server.client() as client:
        assert client.ask("/digest").status == 200
    # What the spool was still writing is freed when it has written it.
    until(lambda: len(proc.descriptors(worker)) <= before + 1, "what they left behind is freed")
