"""Run as a program: a steady load, in a process of its own, that counts every answer.

    python steady.py HOST PORT [--rate 2000] [--connections 32]

Each request has a number, which its answer must repeat (the application is tests/apps/steady_app.py).
Requests are sent at the rate that was asked for, whether or not earlier ones have been answered, as far as
there are connections; these are used again, and each is replaced after a while. Every tenth request has a
body.

The end of a connection that was used before, before any byte of an answer, is what a server may do to an
idle connection at any time: such a request is sent once more, on a new connection, and counted as a retry.
Everything else that is not the right answer with 200 has failed.

Prints `ready` after the first answers. A line with a number on standard input asks for the counts when so
many more requests have been answered or have failed; at the end of the input no further request is sent, the
answers that are due are waited for, and the last counts printed: JSON each.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import selectors
import socket
import time
from collections import Counter, deque
from contextlib import suppress

#: How long an answer may take before it counts as failed, in seconds.
PATIENCE = 30.0
#: Requests on one connection, before the client leaves it.
USES = 100
BODY = b"x" * 2000
#: Of how many failures and retries it is told on which connection they were.
TOLD = 5000


class Connection:
    """One connection, and the request that it waits for."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.refused = self.socket.connect_ex(address) == errno.ECONNREFUSED
        self.port = self.socket.getsockname()[1]
        self.answered = 0
        self.number = -1
        self.unsent = b""
        self.received = b""
        self.since = 0.0
        self.is_retry = False
        self.worker = 0


class Load:
    """All connections, and the counts."""

    def __init__(self, address: tuple[str, int], rate: float, most: int) -> None:
        self.address, self.rate, self.most = address, rate, most
        self.selector = selectors.DefaultSelector()
        self.idle: deque[Connection] = deque()
        self.busy: set[Connection] = set()
        self.again: deque[int] = deque()
        self.sent = 0
        self.good = 0
        self.retries = 0
        self.failed: Counter[str] = Counter()
        # Port of the connection and why; the worker that had answered on it (0: none had) and the port.
        self.lost_on: list[tuple[int, str]] = []
        self.retried_on: list[tuple[int, int]] = []
        self.by_worker: Counter[int] = Counter()
        self.slowest = 0.0
        self.began = time.monotonic()

    def report(self) -> dict[str, object]:
        """The counts."""
        return {
            "sent": self.sent,
            "good": self.good,
            "retries": self.retries,
            "failed": dict(self.failed),
            "seconds": round(time.monotonic() - self.began, 3),
            "slowest": round(self.slowest, 3),
        }

    def details(self) -> dict[str, object]:
        """Where it happened."""
        return {"lost_on": self.lost_on, "retried_on": self.retried_on, "by_worker": self.by_worker}

    def done(self) -> int:
        """Requests of which it is known what became of them."""
        return self.good + self.failed.total()

    def _fail(self, connection: Connection, why: str) -> None:
        self.failed[why] += 1
        if len(self.lost_on) < TOLD:
            self.lost_on.append((connection.port, why))

    def send_due(self, now: float) -> None:
        """Sends what is due by now, as far as there are connections."""
        while self.again and self._room():
            self._send(Connection(self.address), self.again.popleft(), now, is_retry=True)
        while self.sent < (now - self.began) * self.rate and self._room():
            connection = self.idle.popleft() if self.idle else Connection(self.address)
            self.sent += 1
            self._send(connection, self.sent, now)

    def _room(self) -> bool:
        return bool(self.idle) or len(self.busy) < self.most

    def _send(self, connection: Connection, number: int, now: float, *, is_retry: bool = False) -> None:
        if connection.refused:
            connection.socket.close()
            self._fail(connection, "ConnectionRefusedError on a new connection")
            return
        head = f"/echo?{number} HTTP/1.1\r\nHost: localhost\r\n".encode()
        if number % 10:
            connection.unsent = b"GET " + head + b"\r\n"
        else:
            connection.unsent = b"POST " + head + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
        connection.number, connection.received, connection.since = number, b"", now
        connection.is_retry = is_retry
        self.busy.add(connection)
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        if connection.answered:
            self.selector.modify(connection.socket, events, connection)
        else:
            self.selector.register(connection.socket, events, connection)

    def turn(self, timeout: float) -> None:
        """Reads and writes what is ready; gives up what takes too long."""
        for key, events in self.selector.select(timeout):
            connection = key.data
            if connection is None:
                continue
            try:
                if events & selectors.EVENT_WRITE and connection.unsent:
                    connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
                    if not connection.unsent:
                        self.selector.modify(connection.socket, selectors.EVENT_READ, connection)
                if events & selectors.EVENT_READ:
                    self._read(connection)
            except BlockingIOError:
                pass
            except OSError as error:
                self._ended(connection, type(error).__name__)
        late = time.monotonic() - PATIENCE
        for connection in [one for one in self.busy if one.since < late]:
            self._close(connection)
            self._fail(connection, "no answer in time")

    def _read(self, connection: Connection) -> None:
        data = connection.socket.recv(65536)
        if not data:
            self._ended(connection, "connection ended")
            return
        if connection not in self.busy:
            self._close(connection)
            self._fail(connection, "an answer without a request")
            return
        connection.received += data
        head, found, body = connection.received.partition(b"\r\n\r\n")
        if not found:
            return
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(fields.get("content-length", "0"))
        if len(body) < length:
            return
        number = connection.number
        self.slowest = max(self.slowest, time.monotonic() - connection.since)
        size = 0 if number % 10 else len(BODY)
        said, _, worker = body.rpartition(b" ")
        if not status.startswith("HTTP/1.1 200 "):
            self._fail(connection, status)
        elif said != b"%d %d" % (number, size):
            self._fail(connection, "wrong answer")
        else:
            self.good += 1
            connection.worker = int(worker)
            self.by_worker[connection.worker] += 1
        connection.answered += 1
        self.busy.discard(connection)
        if fields.get("connection", "").lower() == "close" or connection.answered >= USES:
            self._close(connection)
        else:
            self.idle.append(connection)

    def _ended(self, connection: Connection, how: str) -> None:
        waited = connection in self.busy
        self._close(connection)
        if not waited:
            return
        if connection.answered and not connection.received:
            self.retries += 1
            if len(self.retried_on) < TOLD:
                self.retried_on.append((connection.worker, connection.port))
            self.again.append(connection.number)
        else:
            at = "in the answer" if connection.received else "on a new connection"
            self._fail(connection, f"{how} {at}")

    def _close(self, connection: Connection) -> None:
        self.busy.discard(connection)
        with suppress(ValueError):
            self.idle.remove(connection)
        self.selector.unregister(connection.socket)
        connection.socket.close()


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--connections", type=int, default=32)
    chosen = parser.parse_args()
    load = Load((chosen.host, chosen.port), chosen.rate, chosen.connections)
    load.selector.register(0, selectors.EVENT_READ, None)
    ready, asked, goal = False, b"", None
    while True:
        load.send_due(time.monotonic())
        load.turn(0.002)
        if not ready and load.good >= 100:
            ready = True
            print("ready", flush=True)
        if goal is not None and load.done() >= goal:
            goal = None
            print(json.dumps(load.report()), flush=True)
        if any(key.data is None for key, _ in load.selector.select(0)):
            # Not by a stream, which would keep what comes behind a line to itself.
            data = os.read(0, 100)
            if not data:
                break
            asked += data
        if asked.endswith(b"\n"):
            goal, asked = load.done() + int(asked), b""
    load.selector.unregister(0)
    while load.busy or load.again:
        now = time.monotonic()
        while load.again:
            load._send(Connection(load.address), load.again.popleft(), now, is_retry=True)
        load.turn(0.05)
    print(json.dumps(load.report() | load.details()), flush=True)


if __name__ == "__main__":
    main()
