"""Reading /proc: which processes belong to a server, what they hold, how much they ran."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that the tests look at (proc(5))."""

    pid: int
    name: str
    state: str
    parent: int
    session: int
    cpu_seconds: float


def stat(pid: int) -> Stat | None:
    """State of one process, or None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may hold anything, a closing parenthesis included.
    name = text[text.index("(") + 1 : text.rindex(")")]
    rest = text[text.rindex(")") + 2 :].split()
    cpu = (int(rest[11]) + int(rest[12])) / TICKS
    return Stat(pid, name, rest[0], int(rest[1]), int(rest[3]), cpu)


def everyone() -> list[Stat]:
    """All processes of the machine."""
    found = (stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return [one for one in found if one is not None]


def of_session(session: int) -> list[Stat]:
    """The processes of one session: a server with all that it started."""
    return [one for one in everyone() if one.session == session]


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    one = stat(pid)
    return one is not None and one.state not in "ZX"


def descendants(pid: int) -> list[Stat]:
    """Children, grandchildren and so on, living ones only."""
    parents: dict[int, list[Stat]] = {}
    for one in everyone():
        parents.setdefault(one.parent, []).append(one)
    found: list[Stat] = []
    queue = [pid]
    while queue:
        for child in parents.get(queue.pop(), []):
            if child.state not in "ZX":
                found.append(child)
                queue.append(child.pid)
    return found


def zombies(parent: int) -> list[int]:
    """Ended children that `parent` has not waited for."""
    return [one.pid for one in everyone() if one.parent == parent and one.state == "Z"]


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no resident memory")


def descriptors(pid: int) -> list[str]:
    """What the open descriptors of a process point to."""
    found = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{entry}"))
        except FileNotFoundError:
            continue
    return found


def opened_since(before: list[str]) -> list[str]:
    """What this process holds and did not when `before` was `descriptors` of it.

    Not a difference of two numbers: what tests before this one have left behind may be closed at any moment.
    """
    return list((Counter(descriptors(os.getpid())) - Counter(before)).elements())


def sockets(pid: int) -> int:
    """How many sockets a process holds."""
    return sum(target.startswith("socket:") for target in descriptors(pid))


def clients_of(pid: int, server: int) -> set[int]:
    """The ports of the clients whose IPv4 connections to port `server` a process holds."""
    held = {target[len("socket:[") : -1] for target in descriptors(pid) if target.startswith("socket:")}
    # Several looks: see below.
    return {
        remote for _ in range(3) for local, remote, inode in _table() if local == server and inode in held
    }


def holds(server: int, client: int) -> bool:
    """Whether a process holds the end at port `server` of the IPv4 connection from port `client`.

    The kernel writes the table piece by piece: what is opened and closed elsewhere meanwhile can hide a line,
    so that only several looks tell that it is not there.
    """
    return any(_listed(server, client) for _ in range(3))


def listens(path: Path) -> bool:
    """Whether somebody listens on a Unix socket. Its file is there before that: from bind(2) on."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    # __SO_ACCEPTCON of the kernel's <linux/net.h>.
    return any(line[-1] == str(path) and line[3] == "00010000" for line in lines)


def _listed(server: int, client: int) -> bool:
    # Without an inode the kernel alone holds it, to send what is left.
    return any((local, remote) == (server, client) and inode != "0" for local, remote, inode in _table())


def _table() -> Iterator[tuple[int, int, str]]:
    """Local port, remote port and inode of the IPv4 sockets."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, *rest = line.split()
        yield int(local[-4:], 16), int(remote[-4:], 16), rest[5]
