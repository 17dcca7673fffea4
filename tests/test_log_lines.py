"""A line of the access log for every request that came in, whatever became of it, and exactly one."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support.gate import Gate
from support.serving import Serve, Served
from support.waiting import TooSlow, at_some_pace, until
from support.wire import Client, Closed, request

Lines = list[dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The access log."""
    return tmp_path / "access"


def start(serve: Serve, path: Path, app: str = "late:app", **options: Any) -> Served:
    """A server that logs as JSON."""
    return serve(app, "--access-logfile", str(path), "--access-logformat", "json", **options)


def read(path: Path) -> Lines:
    """All lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def ended(server: Served, path: Path, count: int) -> Lines:
    """All lines, once there are so many and the server has ended: it writes out what it has."""
    until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, f"{count} lines")
    assert server.stop() == 0
    lines = read(path)
    assert len(lines) == count, lines
    ids = {line["stdserve.request_id"] for line in lines}
    assert len(ids) == count, "each has an id of its own"
    return lines


def status(line: dict[str, Any]) -> object:
    """What a line says of the end: a status, and whether the answer was cut."""
    return line.get("http.response.status_code"), line.get("error.type")


def sent(server: Served, raw: bytes) -> Client:
    """A connection on which this was sent."""
    client = server.client()
    client.send(raw)
    return client


def test_answered_and_refused(serve: Serve, path: Path) -> None:
    """Also what the application never sees."""
    server = start(serve, path, "shapes:app", max_body="1KiB")
    for raw, expected in [
        (request(target="/hello"), 200),
        (request(target="/nothing"), 404),
        (request(target="/boom"), 500),
        (b"BROKEN\r\n\r\n", 400),
        (request("POST", "/hello", body=b"x" * 2000), 413),
        (request("CONNECT", "/hello"), 400),
    ]:
        with sent(server, raw) as client:
            assert client.read().status == expected, raw
    lines = ended(server, path, 6)
    # Those of other connections may overtake.
    found = sorted(line["http.response.status_code"] for line in lines)
    assert found == [200, 400, 400, 404, 413, 500]
    assert not any("error.type" in line for line in lines)
    assert all(line["http.server.request.duration"] < 60 for line in lines)
    assert all(line["client.address"] == "127.0.0.1" for line in lines)


@at_some_pace
def test_refused_for_its_slow_head(serve: Serve, path: Path, pace: int) -> None:
    """Not one that says nothing at all."""
    path.unlink(missing_ok=True)
    server = start(serve, path, "shapes:app", header_timeout=f"{200 * pace}ms")
    with sent(server, b"GET /slow HTTP/1.1\r\nHost:") as client:
        try:
            assert client.read().status == 408
        except Closed:
            raise TooSlow from None
    assert [status(line) for line in ended(server, path, 1)] == [(408, None)]


def test_a_connection_without_a_request_has_no_line(serve: Serve, path: Path) -> None:
    """Nor has one whose head never was whole."""
    server = start(serve, path, "shapes:app")
    server.client().close()
    sent(server, b"GET /half HTTP/1.1\r\nHost: a").close()
    assert server.get("/hello").status == 200
    assert [line["url.path"] for line in ended(server, path, 1)] == ["/hello"]


def test_timed_out(serve: Serve, path: Path) -> None:
    """504 in place of an answer."""
    server = start(serve, path, threads=2, timeout="150ms")
    assert server.get("/turns").status == 504
    assert [status(line) for line in ended(server, path, 1)] == [(504, None)]


@at_some_pace
def test_timed_out_within_the_answer(serve: Serve, path: Path, pace: int) -> None:
    """It is cut; the line comes when the application has been left."""
    path.unlink(missing_ok=True)
    server = start(serve, path, threads=2, timeout=f"{150 * pace}ms")
    with sent(server, request(target="/streams")) as client:
        cut(client)
    server.log.wait("GET /streams .* was cut")
    assert [status(line) for line in ended(server, path, 1)] == [(200, "aborted")]


def cut(client: Client) -> None:
    """Reads an answer that is cut; its time may have been over before it began."""
    if client.head().status == 504:
        raise TooSlow
    with pytest.raises(Closed):
        list(client.chunks())


def test_what_still_runs_when_its_worker_leaves(serve: Serve, path: Path, gate: Gate) -> None:
    """The time to drain is over."""
    server = start(serve, path, threads=2, graceful_timeout="300ms")
    with sent(server, request(target="/hold")) as client:
        gate.wait("hold")
        server.signal(signal.SIGTERM)
        server.wait_exit()
        with pytest.raises(Closed):
            client.read()
    assert [status(line) for line in read(path)] == [(None, "aborted")]


@at_some_pace
def test_what_was_cut_and_runs_when_its_worker_leaves(
    serve: Serve, path: Path, gate: Gate, pace: int
) -> None:
    """Its time was over, and its thread never came."""
    path.unlink(missing_ok=True)
    server = start(serve, path, threads=2, graceful_timeout="300ms", timeout=f"{150 * pace}ms")
    with sent(server, request(target="/holds_streaming")) as client:
        cut(client)
        server.log.wait("GET /holds_streaming .* was cut")
        if not gate.count("hold"):
            raise TooSlow
        server.signal(signal.SIGTERM)
        server.wait_exit()
    assert [status(line) for line in read(path)] == [(None, "aborted")]


@at_some_pace
def test_waited_in_vain(serve: Serve, path: Path, gate: Gate, pace: int) -> None:
    """503 for who waits too long, and for who is one too many."""
    path.unlink(missing_ok=True)
    server = start(serve, path, threads=1, queue_timeout=f"{300 * pace}ms", queue_size=1)
    with server.client() as running:
        held = gate.enter(running, "/hold", "hold")
        with (
            sent(server, request(target="/pid?first")) as first,
            sent(server, request(target="/pid?second")) as second,
        ):
            assert {first.read().status, second.read().status} == {503}
        held.release()
        assert running.read().status == 200
    lines = ended(server, path, 3)
    assert sorted(status(line)[0] for line in lines) == [200, 503, 503]  # type: ignore[index]
    assert {line.get("url.query") for line in lines} == {None, "first", "second"}


def test_clients_that_left(serve: Serve, path: Path, gate: Gate) -> None:
    """In the queue, in the application, in the body of the request."""
    server = start(serve, path, threads=1)
    running = sent(server, request(target="/hold?running"))
    held = gate.wait("hold")
    queued = sent(server, request(target="/hold?queued"))
    body = sent(server, b"POST /pid?body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    server.turn()
    for client in (queued, body, running):
        client.reset()
    server.turn()
    held.release()
    # The two that are refused by `turn` have no path.
    lines = ended(server, path, 5)
    found = {line["url.query"]: status(line) for line in lines if "url.path" in line}
    assert found["body"] == (None, "aborted")
    assert found["queued"] == (None, "aborted")
    assert found["running"] in [(200, "aborted"), (200, None)], "what was answered had nobody to read it"
    assert gate.count("hold") == 0, "what nobody waits for is not run"


def test_a_client_that_leaves_within_its_answer(serve: Serve, path: Path) -> None:
    """The line says how much of the body was handed over."""
    server = start(serve, path, "shapes:app", threads=2)
    with server.client(receive_buffer=4096) as client:
        client.send(request(target="/stream?size=65536&count=4096"))
        client.socket.recv(100)
        client.reset()
    with suppress(AssertionError):
        server.turn()
    lines = [line for line in ended(server, path, 2) if "url.path" in line]
    assert [status(line) for line in lines] == [(200, "aborted")]
    assert 0 < lines[0]["http.response.body.size"] < 65536 * 4096


def test_files_and_scripts_have_lines_too(serve: Serve, path: Path, tmp_path: Path) -> None:
    """Whatever serves."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("hello")
    logging = ("--access-logfile", str(path), "--access-logformat", "json")
    server = serve(None, "files", str(root), *logging)
    assert server.get("/a.txt").status == 200
    assert server.get("/b.txt").status == 404
    lines = ended(server, path, 2)
    assert [status(line) for line in lines] == [(200, None), (404, None)]
    assert lines[0]["http.response.body.size"] == 5
