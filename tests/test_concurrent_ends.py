"""Programs that fork or end while their threads wait in the queues and actors of `stdserve.concurrent`."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from support.serving import Serve, clean_environment


def start(program: str) -> subprocess.Popen[str]:
    """A program of its own."""
    text = "import os, signal, sys, threading\nfrom stdserve.concurrent import *\n" + textwrap.dedent(program)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-X", "faulthandler", "-c", text],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What it has printed; nothing else may have become of it."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    return out


COLLECTOR = """
class Collector(Actor):
    received = ()
    def run(self):
        while True:
            message = self.recv()
            self.received += (message() if callable(message) else message,)
"""


def test_in_a_forked_child_no_actor_runs_until_it_is_started() -> None:
    program = """
    collector, later, worker = Collector(), Collector(), Worker()
    collector.start(); worker.start(); later.send(1)
    goes_on, runs = threading.Event(), threading.Event()
    collector.send(lambda: (runs.set(), goes_on.wait()))
    runs.wait()
    collector.send("of the parent")
    if os.fork() == 0:
        try:
            collector.send(1)
        except ActorClosed as error:
            print(error, flush=True)
        try:
            worker.submit(abs, 1)
        except RuntimeError as error:
            print(error, flush=True)
        assert not collector.is_alive() and collector.join()
        assert collector.mailbox.qsize() == 0
        with collector:
            collector.send("of the child")
        with later:
            later.send(2)
        with worker:
            assert worker.submit(abs, -1).result() == 1
        assert collector.received == ("of the child",) and later.received == (1, 2)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    goes_on.set()
    with collector, later, worker:
        assert worker.submit(abs, -2).result() == 2
    assert collector.received[1:] == ("of the parent",) and later.received == (1,)
    """
    assert finish(start(COLLECTOR + textwrap.dedent(program))).splitlines() == [
        "Collector runs in the process that forked this one; it can be started here",
        "Worker runs in the process that forked this one; it can be started here",
    ]


def test_an_actor_that_ended_before_a_fork_has_ended_in_the_child_too() -> None:
    program = """
    with Collector() as collector:
        pass
    if os.fork() == 0:
        try:
            collector.send(1)
        except ActorClosed as error:
            print(error, flush=True)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    """
    assert finish(start(COLLECTOR + textwrap.dedent(program))) == "Collector has ended\n"


def test_a_child_that_an_actor_forks_ends_where_it_would_receive() -> None:
    program = """
    pids = []
    with Collector() as collector:
        collector.send(lambda: pids.append(os.fork()))
        collector.send("of the parent")
    assert (len(pids), collector.received) == (1, (None, "of the parent"))
    print(os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]))
    """
    assert finish(start(COLLECTOR + textwrap.dedent(program))) == "0\n"


#: All that a daemon can wait for here, and what a main thread may do at the end.
WAITING = (
    COLLECTOR
    + """
pollable, full = PollableQueue(), PollableQueue(1)
full.put(1)
calls = [pollable.get, lambda: pollable.get(timeout=600), lambda: full.put(2), full.join]
for call in calls:
    threading.Thread(target=call, daemon=True).start()
actors = [Collector(), Worker(), Worker(3), Collector(maxsize=2)]
for actor in actors:
    actor.start()
busy = Worker()
busy.start()
def again():
    pollable.put(1)
    busy.submit(again)
busy.submit(again)
actors[0].send(lambda: full.put(3))
print("well", flush=True)
"""
)


@pytest.mark.parametrize("ending", ["", "os.kill(os.getpid(), signal.SIGINT)"])
def test_programs_end_while_daemons_wait_and_work(ending: str) -> None:
    # Fifty in all, because what goes wrong there seldom does.
    handler = "signal.signal(signal.SIGINT, lambda *_: sys.exit())\n"
    for _ in range(5):
        processes = [start(handler + WAITING + ending) for _ in range(5)]
        assert [finish(process) for process in processes] == ["well\n"] * len(processes)


def test_an_actor_that_is_no_daemon_is_waited_for() -> None:
    program = """
    collector = Collector(daemon=False)
    collector.start()
    def send():
        threading.main_thread().join()
        collector.send(lambda: print("received", flush=True))
        collector.close()
    threading.Thread(target=send).start()
    """
    assert finish(start(COLLECTOR + textwrap.dedent(program))) == "received\n"


@pytest.mark.parametrize("preload", [False, True])
def test_workers_have_actors_and_queues_of_their_own_and_end(serve: Serve, preload: bool) -> None:
    server = serve("actors:app", workers=2, threads=4, preload=preload)
    for _ in range(8):
        with server.client() as client:
            assert [client.ask().body for _ in range(5)] == [f"Worker {not preload}".encode()] * 5
