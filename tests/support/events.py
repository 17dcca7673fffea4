"""What may happen to a server under a steady load, and which of the load's answers may fail then.

The tests play each event in short, bench/lossless.py at full length. Lengths are counted in requests, of
which there are 2,000 a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import proc
from .disks import fill, small_file_system
from .lossless import CONNECTIONS, Counts, SteadyLoad
from .serving import APPS, Serve, Served
from .waiting import until
from .wire import request

APP = "steady_app:app"

#: A connection that nobody has taken.
REFUSED = "ConnectionRefusedError on a new connection"
#: What becomes of the first request on a connection whose worker is no more.
RESET = "ConnectionResetError on a new connection"
CUT_OFF = ("connection ended on a new connection", RESET)


@dataclass(frozen=True)
class Size:
    """How much of it."""

    reloads: int = 8
    upgrades: int = 5
    recycled: int = 8_000
    """Requests while workers are recycled."""
    kills: int = 8
    between: int = 500
    """Requests between two kills, or two changes of another kind."""


#: As long as the project asks of itself.
FULL = Size(reloads=20, recycled=120_000, kills=15, between=4_000)


@dataclass
class Stage:
    """Where an event takes place."""

    serve: Serve
    folder: Path
    """Empty."""
    size: Size = field(default_factory=Size)


@dataclass
class Outcome:
    """What became of the load."""

    counts: Counts
    excused: dict[str, int] = field(default_factory=dict)
    """Of the failures those that are allowed."""
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, int]:
        """Failed or wrong answers that are not allowed."""
        left = {why: count - self.excused.get(why, 0) for why, count in self.counts.failed.items()}
        return {why: count for why, count in left.items() if count}


Event = Callable[[Stage], Outcome]
#: Each with the name under which it is told.
EVENTS: dict[str, Event] = {}


def event(name: str) -> Callable[[Event], Event]:
    """Enters a function into the table."""

    def enter(function: Event) -> Event:
        EVENTS[name] = function
        return function

    return enter


def renewed(server: Served, before: Sequence[int], count: int = 2) -> list[int]:
    """Waits until none of the workers before is left, and so many serve."""

    def others() -> list[int]:
        found = server.workers()
        return found if len(found) == count and not set(found) & set(before) else []

    return until(others, f"{count} new workers")


def excused_on(counts: Counts, ports: set[int]) -> dict[str, int]:
    """What failed on connections of these ports."""
    found: dict[str, int] = {}
    for port, why in counts.lost_on:
        if port in ports:
            found[why] = found.get(why, 0) + 1
    return found


def not_accepted(counts: Counts) -> dict[str, int]:
    """What nobody has accepted, where the last listener is closed.

    A connection that comes after the last look into the listener's queue is ended by the kernel.
    """
    return {why: counts.failed.get(why, 0) for why in (REFUSED, RESET)}


@event("HUP, again and again")
def reloads(stage: Stage) -> Outcome:
    """HUP after HUP, each when the one before is through."""
    server = stage.serve(APP, workers=2)
    with SteadyLoad(server) as load:
        for _ in range(stage.size.reloads):
            before = server.wait_workers(2)
            server.signal(signal.SIGHUP)
            renewed(server, before)
        return Outcome(load.end())


@event("HUP with a broken application")
def broken_application(stage: Stage) -> Outcome:
    """The old workers go on, and the log says why."""
    source = (APPS / "steady_app.py").read_text()
    module = stage.folder / "breakable.py"
    module.write_text(source)
    server = stage.serve("breakable:app", workers=2, cwd=stage.folder)
    with SteadyLoad(server) as load:
        before = server.wait_workers(2)
        module.write_text("raise RuntimeError('broken on purpose')\n")
        server.signal(signal.SIGHUP)
        server.log.wait("broken on purpose")
        load.wait(1000)
        assert server.workers() == before
        module.write_text(source)
        server.signal(signal.SIGHUP)
        renewed(server, before)
        return Outcome(load.end())


@event("HUP with a broken configuration")
def broken_configuration(stage: Stage) -> Outcome:
    """The old settings hold, and the log says what is wrong with the new ones."""
    mistakes = {"thraeds = 4\n": "thraeds", "threads = ": "stdserve.toml", "threads = -1\n": "-1"}
    file = stage.folder / "stdserve.toml"
    file.write_text("threads = 4\n")
    server = stage.serve(APP, "--config", str(file), workers=2)
    with SteadyLoad(server) as load:
        before = server.wait_workers(2)
        for wrong, said in mistakes.items():
            start = len(server.log.text)
            file.write_text(wrong)
            server.signal(signal.SIGHUP)
            server.log.wait(said, start=start)
            load.wait(500)
            assert server.workers() == before
        file.write_text("threads = 8\n")
        server.signal(signal.SIGHUP)
        renewed(server, before)
        return Outcome(load.end())


@event("recycling every 500 requests")
def recycling(stage: Stage) -> Outcome:
    """Workers leave after 500 requests and up to 100 more, and others take their places."""
    server = stage.serve(APP, workers=2, max_requests=500, max_requests_jitter=100)
    with SteadyLoad(server) as load:
        load.wait(stage.size.recycled)
        counts = load.end()
    workers = len(counts.by_worker)
    assert workers > 3, "none was recycled"
    return Outcome(counts, notes=[f"{workers} workers"])


@event("TTIN up to 4, TTOU down to 1")
def scaling(stage: Stage) -> Outcome:
    """From two workers to four, to one, and back."""
    server = stage.serve(APP, workers=2)
    server.wait_workers(2)
    with SteadyLoad(server) as load:
        for number, counts in [
            (signal.SIGTTIN, (3, 4)),
            (signal.SIGTTOU, (3, 2, 1)),
            (signal.SIGTTIN, (2,)),
        ]:
            for count in counts:
                server.signal(number)
                server.wait_workers(count)
                load.wait(stage.size.between)
        return Outcome(load.end())


@event("TERM")
def term(stage: Stage) -> Outcome:
    """What fails has not been accepted."""
    server = stage.serve(APP, workers=2)
    with SteadyLoad(server) as load:
        load.wait(1000)
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        counts = load.end()
    return Outcome(counts, not_accepted(counts))


@event("kill -9 of a worker, again and again")
def killed_workers(stage: Stage) -> Outcome:
    """Only what ran in the killed worker at that moment is lost.

    A worker is stopped before it is killed, so that it can be told which connections it holds. What fails
    must have been the first request of one of these: on one that was used before it is sent once more.
    """
    server = stage.serve(APP, workers=2)
    held: set[int] = set()
    with SteadyLoad(server) as load:
        for _ in range(stage.size.kills):
            victim = server.wait_workers(2)[0]
            held |= kill_and_count(server, victim)
            renewed(server, [victim])
            load.wait(stage.size.between)
        server.wait_workers(2)
        counts = load.end()
    excused = {why: count for why, count in excused_on(counts, held).items() if why in CUT_OFF}
    notes = [f"{stage.size.kills} kills", f"{len(held)} connections were held"]
    return Outcome(counts, excused, notes)


def kill_and_count(server: Served, victim: int) -> set[int]:
    """Kills a worker; the ports of the clients whose connections it held."""

    def stopped() -> bool:
        tasks = Path(f"/proc/{victim}/task").glob("*/stat")
        return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    os.kill(victim, signal.SIGSTOP)
    until(stopped, "the worker has stopped")
    held = proc.clients_of(victim, server.port)
    os.kill(victim, signal.SIGKILL)
    return held


@contextlib.contextmanager
def held_by(worker: int, port: int) -> Iterator[set[int]]:
    """The ports of the clients whose connections a worker holds, now and until the end."""
    held = proc.clients_of(worker, port)
    over = threading.Event()

    def look() -> None:
        with contextlib.suppress(OSError):  # it has ended
            while not over.wait(0.005):
                held.update(proc.clients_of(worker, port))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield held
    finally:
        over.set()
        looker.join()


@event("kill -9 of the supervisor")
def killed_supervisor(stage: Stage) -> Outcome:
    """Workers finish what runs and leave; what fails has not been accepted."""
    server = stage.serve(APP, workers=2)
    with SteadyLoad(server) as load:
        load.wait(1000)
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        until(lambda: not any(proc.alive(pid) for pid in workers), "the end of the workers")
        counts = load.end()
    return Outcome(counts, not_accepted(counts))


@event("kill -9 of the supervisor, and a new start")
def started_again(stage: Stage) -> Outcome:
    """The new server takes the address; what fails has not been accepted."""
    server = stage.serve(APP, workers=2)
    with SteadyLoad(server) as load:
        load.wait(1000)
        take_over(stage, server)
        load.wait(1000)
        counts = load.end()
    return Outcome(counts, not_accepted(counts))


@event("the same beside a worker stuck in C")
def started_beside_a_stuck_worker(stage: Stage) -> Outcome:
    """Its loop lets go of the address without the interpreter."""
    server = stage.serve(APP, workers=2, graceful_timeout="1s")
    with SteadyLoad(server) as load, server.client() as client:
        client.send(request(target="/stuck"))
        stuck = int(server.log.wait(r"stuck in ([0-9]+)")[1])
        with held_by(stuck, server.port) as held:
            take_over(stage, server)
            load.wait(1000)
            counts = load.end()
            until(lambda: not proc.alive(stuck), "the end of the stuck worker")
    # What it held was looked at from time to time: no more than the load's connections, at the worst.
    assert counts.lost - not_accepted(counts)[REFUSED] <= CONNECTIONS
    excused = {why: counts.failed.get(why, 0) for why in CUT_OFF} | not_accepted(counts)
    return Outcome(counts, excused, [f"{len(held)} connections were held by the stuck worker"])


@event("the same beside children that the application forked")
def started_beside_children(stage: Stage) -> Outcome:
    """They have let go of the address long since."""
    server = stage.serve(APP, workers=2)
    children = [int(server.get("/child?1").text.split()[2]) for _ in range(4)]
    try:
        with SteadyLoad(server) as load:
            load.wait(1000)
            take_over(stage, server)
            load.wait(1000)
            counts = load.end()
        assert all(proc.alive(child) for child in children)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
    return Outcome(counts, not_accepted(counts))


def take_over(stage: Stage, server: Served) -> Served:
    """Kills a supervisor, and starts a server in its place at once, which must not be refused the address."""
    server.process.kill()
    server.process.wait()
    again = stage.serve(APP, workers=2, bind=f"127.0.0.1:{server.port}")
    assert again.port == server.port
    return again


@event("USR2, again and again, once rolled back")
def upgrades(stage: Stage) -> Outcome:
    """A new supervisor beside the old one, and TERM to either: the third new one is ended."""
    server = stage.serve(APP, workers=2)
    serving = server.pid
    with SteadyLoad(server) as load:
        for number in range(1, stage.size.upgrades + 1):
            start = len(server.log.text)
            os.kill(serving, signal.SIGUSR2)
            new = int(server.log.wait("the new server, process ([0-9]+), is ready", start=start)[1])
            load.wait(stage.size.between)
            if number == 3:
                os.kill(new, signal.SIGTERM)
                server.log.wait("this one serves on", start=start)
            else:
                os.kill(serving, signal.SIGTERM)
                server.log.wait("the server that this one replaces has ended", start=start)
                serving = new
            load.wait(stage.size.between)
        counts = load.end()
    os.kill(serving, signal.SIGTERM)
    until(lambda: not server.left_behind(), "the end of the last server")
    return Outcome(counts)


@event("disk full")
def full_disk(stage: Stage) -> Outcome:
    """Access log, error log and temporary files are on it; with room again, lines are written again."""
    with small_file_system(stage.folder / "small") as disk:
        access, error = disk / "access.log", disk / "error.log"
        server = stage.serve(APP, workers=2, access_logfile=access, error_logfile=error, temp_dir=disk)
        server.wait_address(error)
        with SteadyLoad(server) as load:
            filler = fill(disk)
            size = access.stat().st_size
            load.wait(4 * stage.size.between)
            filler.unlink()
            load.wait(stage.size.between)
            until(lambda: access.stat().st_size > size, "lines in the access log")
            counts = load.end()
        server.stop()
        return Outcome(counts)


@event("log pipe closed")
def closed_pipe(stage: Stage) -> Outcome:
    """Nobody reads the access log and the error log any more; workers come and go."""
    server = stage.serve(APP, workers=2, access_logfile="-")
    with SteadyLoad(server) as load:
        load.wait(stage.size.between)
        server.log.leave()
        load.wait(stage.size.between)
        before = server.wait_workers(2)
        server.signal(signal.SIGHUP)
        renewed(server, before)
        load.wait(stage.size.between)
        return Outcome(load.end())


@event("interpreter's lock held for ever in one of two workers")
def held_lock(stage: Stage) -> Outcome:
    """The other's requests are answered, the autopsy names the Python code that called C."""
    # What the other worker answers may have to wait for its turn on the machine.
    server = stage.serve(APP, workers=2, timeout="5s", queue_timeout="4s")
    with SteadyLoad(server) as load, server.client() as client:
        before = server.wait_workers(2)
        client.send(request(target="/stuck"))
        stuck = int(server.log.wait(r"stuck in ([0-9]+)")[1])
        with held_by(stuck, server.port) as held:
            until(lambda: stuck not in server.workers(), "the end of the stuck worker")
        server.log.wait(r"steady_app\.py\", line [0-9]+ in sleeps_in_c")
        assert set(before) - {stuck} <= set(server.wait_workers(2))
        load.wait(1000)
        counts = load.end()
    assert counts.lost <= CONNECTIONS, "it went on accepting what the other could have answered"
    notes = [f"{len(held)} connections were held by the stuck worker"]
    return Outcome(counts, excused_on(counts, held), notes)
