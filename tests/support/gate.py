"""A meeting point of a test and the application that it started.

The application (tests/apps/gate.py) connects to a Unix socket, says a name and waits until the test lets it
go on, so that a test knows that a request is inside the application without looking at a clock.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from .waiting import PATIENCE, TooSlow, until
from .wire import Client, request


@dataclass
class Guest:
    """Someone in the application who waits at the gate."""

    name: str
    pid: int
    connection: socket.socket

    def release(self, word: str = "go") -> None:
        """Let it go on; `word` is what `arrive` returns."""
        with contextlib.suppress(OSError):
            self.connection.sendall(word.encode() + b"\n")
        self.connection.close()


class Gate:
    """The test's side of the meeting point."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1024)
        self._guests: dict[str, queue.Queue[Guest]] = {}
        self._lock = threading.Lock()
        self._all: list[Guest] = []
        self._open: set[str] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n"):
            data = connection.recv(4096)
            if not data:
                connection.close()
                return
            line += data
        pid, name = line.decode().rstrip("\n").split(" ", 1)
        guest = Guest(name, int(pid), connection)
        with self._lock:
            self._all.append(guest)
            passes = name in self._open
        if passes:
            guest.release()
        else:
            self._queue(name).put(guest)

    def _queue(self, name: str) -> queue.Queue[Guest]:
        with self._lock:
            return self._guests.setdefault(name, queue.Queue())

    def wait(self, name: str, patience: float = PATIENCE) -> Guest:
        """The next one who comes under that name."""
        try:
            return self._queue(name).get(timeout=patience)
        except queue.Empty:
            raise AssertionError(f"the application never came to {name!r}") from None

    def enter(self, client: Client, target: str, name: str) -> Guest:
        """Asks for what comes under that name; `TooSlow` where a time-out of the server's is over first."""
        client.send(request(target=target))
        until(lambda: self.count(name) or client.readable(), f"{name!r} comes")
        if not self.count(name):
            raise TooSlow
        return self.wait(name)

    def count(self, name: str) -> int:
        """How many have come under that name and were not yet waited for."""
        return self._queue(name).qsize()

    def open(self, name: str) -> None:
        """From now on, whoever comes or has come under that name goes on at once."""
        with self._lock:
            self._open.add(name)
            waiting = [guest for guest in self._all if guest.name == name]
        for guest in waiting:
            guest.release()

    def close(self) -> None:
        """Let everyone go."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            guests = list(self._all)
        for guest in guests:
            guest.release()
