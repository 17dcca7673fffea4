"""Run as a program: holds many connections open, in a process of its own.

    python many.py HOST PORT COUNT

Each asks once and reads the answer. Says `ready` when all are open; for each line on standard input asks
again on every connection and says how many answers came. Ends with its standard input.
"""

from __future__ import annotations

import selectors
import socket
import sys


def ask(connections: list[socket.socket]) -> int:
    """One request on each connection; how many were answered with 200."""
    for connection in connections:
        connection.send(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    waiting = selectors.DefaultSelector()
    for connection in connections:
        waiting.register(connection, selectors.EVENT_READ)
    good = 0
    while waiting.get_map():
        events = waiting.select(30)
        if not events:
            break
        for key, _ in events:
            peer = key.fileobj
            assert isinstance(peer, socket.socket)
            good += peer.recv(4096).startswith(b"HTTP/1.1 200 ")
            waiting.unregister(peer)
    waiting.close()
    return good


def main() -> None:
    """See above."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    connections = []
    for start in range(0, count, 500):
        some = [socket.create_connection((host, port)) for _ in range(min(500, count - start))]
        assert ask(some) == len(some)
        connections += some
    print("ready", flush=True)
    for _ in sys.stdin:
        print(ask(connections), flush=True)


if __name__ == "__main__":
    main()
