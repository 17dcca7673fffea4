"""Clients beside wrk: one probe for a right answer, idle ones, and slow ones (a program of its own)."""

import contextlib
import http.client
import resource
import selectors
import socket
import sys
import time

from workloads import Workload

_IDLE_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_SLOW_HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def probe(port: int, workload: Workload) -> str | None:
    """Ask three times (on one connection where it is kept); return what is wrong with the answer."""
    path, body = workload.path, b"e" * workload.body or None
    fields = dict(line.split(": ", 1) for line in workload.headers)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        for _ in range(3):
            connection.request(workload.method, path, body, fields)
            response = connection.getresponse()
            size = len(response.read())
            if response.status != 200:
                return f"status {response.status}"
            if size != workload.answer:
                return f"a body of {size} bytes, not {workload.answer}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return None


class Idle:
    """Connections that have made one request each and stay open."""

    def __init__(self, port: int, count: int) -> None:
        """Nothing is opened yet."""
        self._port, self._count = port, count
        self._open: list[socket.socket] = []
        _raise_limit()

    def top_up(self, limit: float = 5) -> int:
        """Open what is missing (servers close what lies idle); return how many were answered."""
        self.alive()
        waiting = selectors.DefaultSelector()
        for _ in range(self._count - len(self._open)):
            connection = socket.socket()
            connection.settimeout(1)
            try:
                connection.connect(("127.0.0.1", self._port))
                connection.sendall(_IDLE_REQUEST)
            except OSError:
                connection.close()
                break
            connection.setblocking(False)
            waiting.register(connection, selectors.EVENT_READ)
        end = time.monotonic() + limit
        while waiting.get_map() and (left := end - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                connection = key.fileobj  # type: ignore[assignment]
                waiting.unregister(connection)
                with contextlib.suppress(OSError):
                    if b" 200 " in connection.recv(4096)[:20]:
                        self._open.append(connection)
                        continue
                connection.close()
        for key in list(waiting.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        waiting.close()
        return len(self._open)

    def alive(self) -> int:
        """Forget what the server has closed; return how many are left."""
        left = []
        for connection in self._open:
            try:
                ended = connection.recv(4096) == b""
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if ended:
                connection.close()
            else:
                left.append(connection)
        self._open = left
        return len(left)

    def close(self) -> None:
        """Close all."""
        for connection in self._open:
            connection.close()
        self._open = []


def _raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def drip(port: int, count: int, seconds: float) -> None:
    """Keep `count` connections open that send one byte of an endless head every half second."""
    end = time.monotonic() + seconds
    sent: dict[socket.socket, int] = {}
    while time.monotonic() < end:
        while len(sent) < count:
            connection = socket.create_connection(("127.0.0.1", port), 1)
            connection.setblocking(False)
            sent[connection] = 0
        for connection, position in list(sent.items()):
            try:
                connection.send(_SLOW_HEAD[position : position + 1] or b"x")
                sent[connection] = position + 1
            except OSError:
                connection.close()
                del sent[connection]
        time.sleep(0.5)


if __name__ == "__main__":
    drip(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
