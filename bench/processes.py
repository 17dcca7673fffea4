"""Server processes: start on one core, read what the whole tree has spent, end."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from envs import APPLICATIONS
from servers import BENCH, Server

_TICK = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Spent:
    """What a tree of processes has spent since it was started."""

    cpu: float
    """Seconds, user and system."""
    voluntary: int
    """Context switches because a thread waited."""
    involuntary: int
    """Context switches because another was let in."""

    def since(self, before: "Spent") -> "Spent":
        """Return what was spent between two readings; threads that ended take their switches with them."""
        return Spent(
            self.cpu - before.cpu,
            max(0, self.voluntary - before.voluntary),
            max(0, self.involuntary - before.involuntary),
        )


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third (state) on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> dict[int, str]:
    """Return the process and all that descend from it, each with its time of start (guards against reuse)."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = _stat(int(entry))
            except OSError:
                continue
            parents[int(entry)] = (int(stat[1]), stat[19])
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in parents:
            found[pid] = parents[pid][1]
            waiting += [child for child, (parent, _) in parents.items() if parent == pid]
    return found


def _cpu(pid: int) -> float:
    """Return the CPU time of a process, its threads (ended ones too) and the children it has reaped."""
    reaped = sum(map(int, _stat(pid)[13:15])) / _TICK
    # utime + stime of /proc/PID/stat, but in nanoseconds: the kernel's own clock of that process.
    return reaped + time.clock_gettime((~pid << 3) | 2)


def spent(root: int) -> Spent:
    """Read what the tree under `root` has spent."""
    cpu, switches = 0.0, [0, 0]
    for pid in tree(root):
        try:
            cpu += _cpu(pid)
            for status in Path(f"/proc/{pid}/task").glob("*/status"):
                lines = status.read_text().splitlines()[-2:]
                switches = [count + int(line.split()[1]) for count, line in zip(switches, lines, strict=True)]
        except OSError:
            continue
    return Spent(cpu, *switches)


def memory(root: int) -> dict[str, float]:
    """Return PSS, RSS and private memory of the tree in MiB."""
    names = {"Pss": "pss", "Rss": "rss", "Private_Clean": "private", "Private_Dirty": "private"}
    total = {"pss": 0.0, "rss": 0.0, "private": 0.0}
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            name, _, size = line.partition(":")
            if name in names:
                total[names[name]] += int(size.split()[0]) / 1024
    return total


class Running:
    """A server that runs, as a context manager."""

    def __init__(self, server: Server, app: str, threads: int | None, core: int, log: Path) -> None:
        """Start it, and wait until it accepts connections."""
        self.server = server
        self.port = _free_port()
        self._log = log
        paths = os.pathsep.join([str(BENCH / "apps"), str(APPLICATIONS)])
        parent = os.getpid()

        def child() -> None:
            os.sched_setaffinity(0, {core})
            # Should the bench be killed, its servers end too.
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        with log.open("wb") as output:
            self._process = subprocess.Popen(
                server.command(self.port, app, threads),
                env={**os.environ, **server.env, "PYTHONPATH": paths},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=BENCH, start_new_session=True, preexec_fn=child,
            )  # fmt: skip
        self.pid = self._process.pid
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        limit = time.monotonic() + 15
        while time.monotonic() < limit:
            if self._process.poll() is not None:
                raise RuntimeError(f"ended with code {self._process.returncode}: {self.last_words()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("did not listen within 15 s")

    def ended(self) -> bool:
        """Return whether its first process has ended."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:160]

    def stop(self) -> None:
        """End the tree: asked first, then killed. Only what was started here."""
        processes = tree(self.pid)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                processes |= tree(self.pid)
                self._process.kill()
                self._process.wait()
        time.sleep(0.02)
        for pid, started in processes.items():
            try:
                if pid != self.pid and _stat(pid)[19] == started:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def __enter__(self) -> "Running":
        """Return itself: it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
