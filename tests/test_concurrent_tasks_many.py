"""stdserve.concurrent.TaskScheduler: beside a server, with 10,000 sockets, and in interpreters that end."""

from __future__ import annotations

import concurrent.futures
import resource
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Generator
from typing import Any

import pytest
import stdserve
from stdserve.concurrent import PollableQueue, Task, TaskScheduler, readable, serve

from support.waiting import PATIENCE
from support.wire import Client

Steps = Generator[Any, Any, Any]

COUNT = 10_000
ROUNDS = 3

#: The other ends: connects all of them, then sends on each and reads on each, in rounds.
OTHER_ENDS = """
import resource, socket, sys, struct
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
port, count, rounds = map(int, sys.argv[1:])
ends = []
for number in range(count):
    end = socket.create_connection(("127.0.0.1", port))
    # Reset in the end, so that nothing is left of 10,000 connections.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ends.append(end)
for turn in range(rounds):
    for number, end in enumerate(ends):
        end.sendall(b"%d of %d" % (turn, number))
    for number, end in enumerate(ends):
        answer = end.recv(100)
        assert answer == b"%d of %d" % (turn, number), answer
print("all answered", flush=True)
"""


def test_ten_thousand_sockets_at_once() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < COUNT + 500:
        pytest.skip(f"needs {COUNT} descriptors, and the hard limit is {hard}")
    at_once = 0
    connected = 0

    def echo(sock: socket.socket) -> Steps:
        nonlocal connected, at_once
        connected += 1
        at_once = max(at_once, connected)
        answered = 0
        with sock:
            try:
                while True:
                    yield readable(sock, timeout=60)
                    data = sock.recv(100)
                    if not data:
                        break
                    sock.sendall(data)
                    answered += 1
            except ConnectionResetError:
                pass
        connected -= 1
        return answered

    def accept(listener: socket.socket) -> Steps:
        made: list[Task[int]] = []
        while len(made) < COUNT:
            yield readable(listener, timeout=60)
            try:
                # A few at a time, so that the others get their turns.
                for _ in range(64):
                    sock, _peer = listener.accept()
                    sock.setblocking(False)
                    made.append(scheduler.new_task(echo(sock)))
            except BlockingIOError:
                continue
        answered = 0
        for task in made:
            answered += yield task
        return answered

    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with TaskScheduler() as scheduler, socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
            listener.setblocking(False)
            command = [
                sys.executable,
                "-c",
                OTHER_ENDS,
                str(listener.getsockname()[1]),
                str(COUNT),
                str(ROUNDS),
            ]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as others:
                accepting = scheduler.new_task(accept(listener))
                scheduler.run()
                assert others.stdout
                assert others.stdout.read() == "all answered\n"
            assert others.returncode == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert accepting.result() == COUNT * ROUNDS
    assert at_once == COUNT


def test_a_server_and_tasks_share_a_thread() -> None:
    """Requests run between the steps of tasks; pipelined ones, whose edge has come already, do not wait for a
    second.
    """
    threads = set()
    orders: PollableQueue[str] = PollableQueue()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        threads.add(threading.get_ident())
        orders.put(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]

    def work() -> Steps:
        done: list[str] = []
        while len(done) < 101:
            done.append((yield orders))
            threads.add(threading.get_ident())
        server.stop()
        return done

    def ask() -> None:
        for number in range(51):
            with urllib.request.urlopen(f"{server.url}/{number}", timeout=PATIENCE) as answer:
                assert answer.read() == b"served"
        with Client(server.address) as client:
            client.send(b"GET /pipelined HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            for _ in range(50):
                assert client.read().body == b"served"

    server = stdserve.Server(app, bind="127.0.0.1:0")
    with TaskScheduler() as scheduler, concurrent.futures.ThreadPoolExecutor(1) as pool:
        serving = scheduler.new_task(serve(server))
        working = scheduler.new_task(work())
        asked = pool.submit(ask)
        scheduler.run()
        asked.result(PATIENCE)
        assert serving.result() is None
        assert working.result() == [f"/{number}" for number in range(51)] + ["/pipelined"] * 50
    assert threads == {threading.get_ident()}
    with pytest.raises(ValueError, match="ended"):
        server.fileno()


def test_a_started_server_is_not_turned_from_outside() -> None:
    with stdserve.Server(lambda environ, start_response: [], bind="127.0.0.1:0") as server:
        for call in (server.fileno, server.due):
            with pytest.raises(RuntimeError, match="its own threads"):
                call()


ENDS = """
import socket, sys, threading
from stdserve.concurrent import PollableQueue, TaskScheduler, readable, sleep

scheduler, items = TaskScheduler(), PollableQueue()
one, other = socket.socketpair()
begun = threading.Barrier(4)

def begin():
    begun.wait()
    yield

def wait():
    yield readable(one)

def take():
    while True:
        yield items

def busy():
    while True:
        items.put(1)
        yield

for work in {works}:
    scheduler.new_task(work())
scheduler.new_task(begin())
for run in (lambda: scheduler.run(forever=True), begun.wait, begun.wait):
    threading.Thread(target=run, daemon=True).start()
begun.wait()
"""


def test_interpreters_end_while_a_daemon_thread_runs_tasks() -> None:
    def end(number: int) -> None:
        program = ENDS.format(works="[wait, take]" if number % 2 else "[wait, take, busy, busy]")
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE * 2
        )
        assert (done.returncode, done.stderr) == (0, ""), program

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(end, range(16)))


def test_a_clean_end_without_run() -> None:
    """Tasks that never ran, and ones that failed, are dropped with the interpreter."""
    program = (
        "from stdserve.concurrent import TaskScheduler\n"
        "def fail():\n    yield\n    raise ValueError('inside')\n"
        "scheduler = TaskScheduler()\n"
        "never, failed = scheduler.new_task(fail()), scheduler.new_task(fail(), name='failed')\n"
        "for _ in range(2): scheduler.turn(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    assert "'failed'" in done.stderr
    assert "ValueError: inside" in done.stderr
