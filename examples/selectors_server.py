"""An echo server in one thread: a selector says which sockets are ready, and their callbacks are called.

    python examples/selectors_server.py                 # on 127.0.0.1:7001
    python examples/selectors_server.py --bind :7001    # on all addresses

It prints where it listens, then each connection as it comes and goes. Talk to it with `nc 127.0.0.1 7001`,
in several terminals at once: none waits for another. Ctrl-C ends it.

This is the example of the `selectors` module's documentation, made whole. That one hopes that `send()`
takes everything. Here, what a client does not take is kept and sent when there is room; while it waits,
nothing more is read from that client, so that none can fill the memory; and a client that resets its
connection ends only that.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable

from stdserve import selectors

#: Bytes that are read at once, and so the most that is kept for a client.
PIECE = 65536

#: Seconds in which no connections are accepted after that has failed.
REST = 1.0

#: What is registered with a socket: called with the events that are ready.
Callback = Callable[[int], None]

selector = selectors.DefaultSelector()


class Connection:
    """One client: what it sends goes back to it."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.sock, self.peer = sock, peer
        self.unsent = b""
        sock.setblocking(False)
        callback: Callback = self.ready
        selector.register(sock, selectors.EVENT_READ, callback)
        print(f"{peer} has connected", flush=True)

    def ready(self, events: int) -> None:
        """The socket can be read from, or written to: whichever was waited for."""
        try:
            if events & selectors.EVENT_READ:
                self.unsent = self.sock.recv(PIECE)
                if not self.unsent:
                    self.close("has ended")
                    return
            self.send()
        except BlockingIOError:
            pass  # it was not ready after all
        except OSError as error:
            self.close(f"is lost: {error.strerror}")

    def send(self) -> None:
        """Sends what the client takes, and waits for room if that was not all."""
        callback: Callback = self.ready
        try:
            self.unsent = self.unsent[self.sock.send(self.unsent) :]
        finally:
            wanted = selectors.EVENT_WRITE if self.unsent else selectors.EVENT_READ
            selector.modify(self.sock, wanted, callback)

    def close(self, why: str) -> None:
        selector.unregister(self.sock)
        self.sock.close()
        print(f"{self.peer} {why}", flush=True)


class Listener:
    """The socket at which clients connect."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.begin()

    def begin(self) -> None:
        self.rests_until: float | None = None
        callback: Callback = self.ready
        selector.register(self.sock, selectors.EVENT_READ, callback)

    def ready(self, _events: int) -> None:
        """A client has connected."""
        try:
            sock, (host, port, *_) = self.sock.accept()
        except BlockingIOError:
            return  # the client has gone already
        except OSError as error:
            print(f"a connection could not be accepted: {error.strerror}", flush=True)
            # Where no descriptors are left it stays ready, and would be asked again and again.
            selector.unregister(self.sock)
            self.rests_until = time.monotonic() + REST
            return
        Connection(sock, f"{host}:{port}")

    def patience(self) -> float | None:
        """How long the selector may wait: for ever, or until this has rested."""
        if self.rests_until is None:
            return None
        left = self.rests_until - time.monotonic()
        if left > 0:
            return left
        self.begin()
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves an echo to many clients in one thread.")
    parser.add_argument("--bind", metavar="HOST:PORT", default="127.0.0.1:7001", help="default: %(default)s")
    bind = parser.parse_args().bind
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdigit():
        parser.error(f"{bind} is no HOST:PORT")
    try:
        sock = socket.create_server((host, int(port)))
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {bind}: {error}")
    with sock, selector:
        listener = Listener(sock)
        host, port = sock.getsockname()[:2]
        print(f"listening on {host}:{port}; try: nc {host} {port}", flush=True)
        print("Ctrl-C ends it.", flush=True)
        try:
            while True:
                for key, events in selector.select(listener.patience()):
                    callback: Callback = key.data
                    callback(events)
        except KeyboardInterrupt:
            print("ended")


if __name__ == "__main__":
    main()
