"""The operations plane (docs/admin.md): it answers whatever workers do, to whom it may, and takes orders."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support import proc
from support.gate import Gate
from support.plane import OWN, Plane, pids
from support.serving import Serve
from support.waiting import until
from support.wire import Client, Closed, Response, request


@pytest.fixture
def plane(short_path: Path) -> Plane:
    """Where the server of the test is asked."""
    return Plane(short_path / "admin")


def events(client: Client) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events, as they come."""
    text = ""
    for chunk in client.chunks():
        text += chunk.decode()
        while "\n\n" in text:
            event, text = text.split("\n\n", 1)
            match = re.fullmatch(r"event: (\w+)\ndata: (.*)", event)
            assert match, event
            yield match[1], json.loads(match[2])


def follow(plane: Plane, stack: ExitStack) -> tuple[Response, Client]:
    """A connection that is sent events, and the head of the answer."""
    client = stack.enter_context(plane.client())
    client.send(request(target="/events"))
    return client.head(), client


# health


def test_ready_follows_booting_and_draining_and_live_does_not(serve: Serve, gate: Gate, plane: Plane) -> None:
    """While the application is imported, while it serves, and while what runs is finished."""
    server = serve("slow_import:app", admin=plane.option)
    guest = gate.wait("import")
    assert (plane.ask("/live").status, plane.ask("/ready").status) == (200, 503)
    guest.release()
    until(lambda: plane.ask("/ready").status == 200, "the worker is ready")
    with server.client() as client:
        client.send(request(target="/wait?name=running"))
        running = gate.wait("running")
        server.signal(signal.SIGTERM)
        until(lambda: plane.ask("/ready").status == 503, "the end has begun")
        assert plane.ask("/ready").text == "draining\n"
        assert plane.ask("/live").status == 200
        assert plane.order("/reload").status == 409
        running.release("done")
        assert client.read().text == "done"
    assert server.wait_exit() == 0


def test_it_answers_while_every_worker_hangs_and_names_what_hangs(
    serve: Serve, gate: Gate, plane: Plane
) -> None:
    """The lock of each interpreter is held in C: the requests are told with their age, and their stacks."""
    server = serve(workers=2, threads=4, graceful_timeout="500ms", admin=plane.option)
    workers = pids(plane.wait(lambda status: status["ready"], "ready"))
    with ExitStack() as stack:
        # Who gets a connection is shared out by the kernel and the workers: both hang after a few.
        for number in range(40):
            client = stack.enter_context(server.client())
            client.send(request(target=f"/hold-gil?name={number}&seconds=100"))
            if holding(plane) == workers:
                break
        plane.wait(lambda _: holding(plane) == workers, "both hang")
        for target in ("/live", "/ready", "/status", "/metrics", "/requests", "/"):
            assert plane.ask(target).status == 200, target
        listed = plane.wait(lambda found: found["requests"][0]["running"] >= 0.1, "it ages", "/requests")
        assert listed["requests"][0]["line"].startswith("GET /hold-gil?name=")
        answer = json.loads(plane.order("/stacks").text)
        assert {one["pid"] for one in answer["stacks"]} == workers
        assert not answer["missing"]
        assert all("in hold_gil" in one["text"] for one in answer["stacks"])
        told = plane.get("/autopsies")["autopsies"]
        assert [one["text"] for one in answer["stacks"]] == [one["text"] for one in told][-2:]


def holding(plane: Plane) -> set[int]:
    """The workers that have a request inside the application."""
    found = plane.get("/requests")["requests"]
    return {one["pid"] for one in found if one["phase"] == "running"}


# orders


def test_scale_drain_and_reload_take_effect(serve: Serve, plane: Plane) -> None:
    """Each is taken at once, and seen in the state when it is done."""
    serve(workers=1, admin=plane.option)
    first = pids(plane.wait(lambda status: status["ready"], "ready"))
    assert plane.order("/scale?workers=2").status == 202
    two = pids(plane.wait(lambda status: len(pids(status)) == 2, "two workers"))
    assert first < two
    assert plane.order("/scale?workers=-1").status == 202
    plane.wait(lambda status: len(status["workers"]) == 1, "one worker")
    (left,) = pids(plane.get("/status"))
    assert plane.order(f"/drain?pid={left}").status == 202
    plane.wait(lambda status: pids(status) and not pids(status) & two, "another worker in its place")
    before = plane.get("/status")["groups"][0]["generation"]
    assert plane.order("/reload").status == 202
    plane.wait(lambda status: status["groups"][0]["generation"] > before, "the next load")
    assert any("loaded anew" in line["text"] for line in plane.get("/log")["lines"])


def test_the_level_of_the_log_changes_in_all_processes_and_those_to_come(serve: Serve, plane: Plane) -> None:
    """A worker tells of what it refuses at the level debug only; the supervisor of its end at info."""
    server = serve(workers=1, admin=plane.option)

    def tells(worker: int) -> bool:
        server.turn()
        return f"[{worker}] debug: refused with 400" in server.log.text

    (first,) = pids(plane.wait(lambda status: status["ready"], "ready"))
    assert not tells(first)
    assert plane.order("/log-level?level=debug").status == 202
    until(lambda: tells(first), "the worker tells more")
    plane.order(f"/drain?pid={first}")
    (second,) = pids(plane.wait(lambda status: pids(status) and first not in pids(status), "another worker"))
    until(lambda: tells(second), "a worker that came later does, too")
    assert plane.order("/log-level?level=critical").status == 202
    server.stop()
    assert "info: ending" not in server.log.wait_end()


@pytest.mark.parametrize(
    ("target", "status", "why"),
    [
        ("/scale?workers=0", 400, "At least one worker stays"),
        ("/scale?workers=x", 400, "Say how many"),
        ("/scale", 400, "Say how many"),
        ("/scale?workers=100000", 409, "There is room for"),
        ("/scale?workers=1&group=other", 404, "There is no group other. These are: app."),
        ("/drain", 400, "Say which worker"),
        ("/drain?pid=1", 404, "There is no worker 1"),
        ("/stacks?pid=1", 404, "There is no worker 1"),
        ("/log-level?level=loud", 400, "no such level"),
        ("/status", 405, "This takes GET, HEAD."),
        ("/shutdown", 404, "There is no such page."),
    ],
)
def test_orders_that_cannot_be_carried_out_say_why(
    serve: Serve, plane: Plane, target: str, status: int, why: str
) -> None:
    """And nothing changes."""
    serve(workers=1, admin=plane.option)
    before = plane.wait(lambda found: found["ready"], "ready")
    answer = plane.order(target)
    assert answer.status == status
    assert why in json.loads(answer.text)["error"]
    assert pids(plane.get("/status")) == pids(before)


# who may ask


def test_pages_of_others_can_neither_read_nor_order(serve: Serve, free_port: Callable[[], int]) -> None:
    """A name of theirs that points here (DNS rebinding), a request from their page, a form of theirs."""
    plane = Plane(("127.0.0.1", free_port()))
    server = serve(admin=plane.option, admin_host="admin.example")
    server.get("/hello")

    def status(line: str, *fields: str) -> int:
        with plane.client() as client:
            client.send("\r\n".join([line + " HTTP/1.1", *fields, "", ""]).encode())
            answer = client.read()
        assert answer.get("Access-Control-Allow-Origin") is None
        assert answer.get("X-Frame-Options") == "DENY"
        assert "default-src 'none'" in (answer.get("Content-Security-Policy") or "")
        return answer.status

    own = f"Host: {plane.option}"
    assert status("GET /status", own) == 200
    assert status("GET /status", f"Host: localhost:{server.port}") == 200
    assert status("GET /status", "Host: admin.example:9000") == 200
    assert status("GET /status", "Host: evil.example") == 421
    assert status("GET /status", own, "Origin: http://evil.example") == 403
    assert status("GET /events", own, "Origin: null") == 403
    assert status("GET /status", own, f"Origin: http://{plane.option}") == 200
    assert status("POST /reload", own) == 403
    assert status("POST /reload", own, "Content-Type: text/plain") == 403
    assert status("POST /reload", own, "X-Stdserve: 1", "Origin: http://evil.example") == 403
    # The question whether the field may be set, which a browser asks first.
    assert status("OPTIONS /reload", own, "Access-Control-Request-Headers: x-stdserve") == 405
    assert plane.get("/status")["groups"][0]["generation"] == 1
    assert status("POST /reload", own, "X-Stdserve: 1", f"Origin: http://{plane.option}") == 202


def test_the_socket_is_for_its_owner_and_goes_with_the_server(serve: Serve, short_path: Path) -> None:
    """In a folder of its own, under the process's number; one that a killed server has left is taken away."""
    folder = short_path / "stdserve"
    env = {"XDG_RUNTIME_DIR": str(short_path)}
    killed = serve(env=env)
    killed.get("/hello")
    old = folder / f"{killed.pid}.sock"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    killed.signal(signal.SIGKILL)
    killed.wait_exit()
    server = serve(env=env)
    server.get("/hello")
    assert [path.name for path in folder.iterdir()] == [f"{server.pid}.sock"]
    assert server.stop() == 0
    assert list(folder.iterdir()) == []


def test_a_folder_that_others_may_write_to_is_not_used(serve: Serve, short_path: Path) -> None:
    """Anybody could put a socket of his own there; the next folder is taken, and the server serves."""
    folder = short_path / "stdserve"
    folder.mkdir()
    folder.chmod(0o777)
    server = serve(env={"XDG_RUNTIME_DIR": str(short_path)})
    assert server.get("/hello").status == 200
    assert list(folder.iterdir()) == []


def test_port_0_is_told(serve: Serve) -> None:
    """The address that the kernel chose stands in the start-up lines."""
    server = serve(admin="127.0.0.1:0")
    port = int(server.log.wait(r"Operations\W+http://127\.0\.0\.1:(\d+)")[1])
    assert port != server.port
    assert Plane(("127.0.0.1", port)).ask("/ready").status == 200


def test_none_opens_nothing(serve: Serve, short_path: Path) -> None:
    """`--admin none`."""
    server = serve(env={"XDG_RUNTIME_DIR": str(short_path)}, admin="none")
    server.get("/hello")
    assert not (short_path / "stdserve").exists()


def test_workers_do_not_hold_the_plane(serve: Serve, plane: Plane) -> None:
    """Neither the listener, nor connections that are open while they are forked."""
    server = serve(workers=1, admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    with plane.client() as client:
        assert client.ask("/live").status == 200
        plane.order("/reload")
        plane.wait(lambda status: status["ready"] and status["groups"][0]["generation"] == 2, "the next load")
        mine = {
            line.split()[6]
            for line in Path("/proc/net/unix").read_text().splitlines()
            if str(plane.address) in line
        }
        assert len(mine) >= 2
        until(lambda: len(server.workers()) == len(server.templates()) == 1, "those from before have ended")
        for pid in [*server.workers(), *server.templates()]:
            held = {target[8:-1] for target in proc.descriptors(pid) if target.startswith("socket:")}
            assert not held & mine, pid


def test_secrets_are_not_told(serve: Serve, plane: Plane, tmp_path: Path) -> None:
    """The options are told with where they came from, the value of a secret is not."""
    serve(None, "files", str(tmp_path), auth="me:open-sesame", admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    answer = plane.ask("/config")
    assert "open-sesame" not in answer.text
    options = {one["name"]: one for one in json.loads(answer.text)["options"]}
    assert options["auth"]["value"] is None
    assert options["auth"]["unset"] == "not shown"
    assert options["admin"]["source"] == "--admin"
    assert options["admin"]["value"] == json.dumps(plane.option)


# bounds


def test_many_and_slow_clients_disturb_nobody(serve: Serve, plane: Plane) -> None:
    """A hundred connections with half a head each: the next one is answered, and so is the application's."""
    server = serve(workers=1, admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    with ExitStack() as stack:
        slow = [stack.enter_context(plane.client()) for _ in range(100)]
        for client in slow:
            # Those that came first may have had to go already.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(b"GET /live HTTP/1.1\r\nHost: local")
        for _ in range(10):
            assert plane.ask("/live").status == 200
            assert server.get("/hello").status == 200
        assert proc.sockets(server.pid) < 60
        # Those that came last are still there, and are answered when they go on.
        slow[-1].send(b"host\r\n\r\n")
        assert slow[-1].read().status == 200
        with pytest.raises(Closed):
            slow[0].read()


def test_what_is_too_large_is_refused(serve: Serve, plane: Plane) -> None:
    """Heads, bodies, and what is no HTTP."""
    serve(workers=1, admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    for data, status in [
        (b"GET /live HTTP/1.1\r\nHost: a.localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: a.localhost\r\n\r\n", 414),
        (
            b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000,
            413,
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ]:
        with plane.client() as client:
            client.send(data)
            answer = client.read()
            assert (answer.status, answer.closes) == (status, True)
    # A body that is small enough is passed over, and the connection used again.
    with plane.client() as client:
        assert client.ask("/log-level?level=info", "POST", OWN, b"x" * 1000).status == 202
        assert client.ask("/live").status == 200
        client.send(request(target="/live") * 50)
        assert [client.read().status for _ in range(50)] == [200] * 50


def test_followers_are_told_each_second_and_are_bounded(serve: Serve, gate: Gate, plane: Plane) -> None:
    """The last ten minutes first, then what is now; sixteen may follow, and one that leaves makes room."""
    server = serve(workers=1, admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    with ExitStack() as stack:
        answer, client = follow(plane, stack)
        assert answer.get("Content-Type") == "text/event-stream"
        stream = events(client)
        name, history = next(stream)
        assert name == "history"
        assert history["columns"][:2] == ["time", "rate"]
        others = [follow(plane, stack) for _ in range(15)]
        assert {head.status for head, _ in others} == {200}
        late, _ = follow(plane, stack)
        assert late.status == 503
        others[0][1].close()
        until(lambda: follow(plane, stack)[0].status == 200, "there is room again")
        waiting = stack.enter_context(server.client())
        waiting.send(request(target="/wait?name=seen"))
        guest = gate.wait("seen")
        ticks = (data for name, data in stream if name == "tick")
        seen = next(tick for tick in ticks if tick["in_flight"]["total"])
        assert seen["in_flight"]["requests"][0]["line"] == "GET /wait?name=seen HTTP/1.1"
        guest.release()
        assert next(tick for tick in ticks if not tick["in_flight"]["total"])["ready"]
        times = [next(ticks)["sample"][0] for _ in range(2)]
        assert times[1] > times[0]


def test_autopsies_reach_followers_and_the_ring(serve: Serve, gate: Gate, plane: Plane) -> None:
    """A slow request's stack is sent as it comes."""
    server = serve(workers=1, slow_request="100ms", admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    with ExitStack() as stack:
        _, client = follow(plane, stack)
        slow = stack.enter_context(server.client())
        slow.send(request(target="/wait?name=slow"))
        guest = gate.wait("slow")
        autopsy = next(data for name, data in events(client) if name == "autopsy")
        assert "in arrive" in autopsy["text"]
        assert "GET /wait?name=slow" in autopsy["text"]
        assert autopsy["pid"] in server.workers()
        assert autopsy in plane.get("/autopsies")["autopsies"]
        assert plane.get(f"/autopsies?after={autopsy['number']}")["autopsies"] == []
        guest.release()


def test_the_end_of_the_server_ends_what_follows(serve: Serve, plane: Plane) -> None:
    """Nobody waits for followers, or for connections that are kept."""
    server = serve(workers=1, admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    with ExitStack() as stack:
        follow(plane, stack)
        kept = stack.enter_context(plane.client())
        assert kept.ask("/live").status == 200
        assert server.stop() == 0
    assert isinstance(plane.address, Path)
    assert not os.path.lexists(plane.address)
