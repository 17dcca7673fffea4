"""The same echo, served in every model that socketserver has: only the class of the server differs.

    python examples/echo/echo.py threads                 # on 127.0.0.1:7000; also serial, pool, forks, udp
    python examples/echo/echo.py threads --bind :7001    # on all addresses
    python examples/echo/echo.py unix --bind /tmp/echo   # on a Unix socket

It prints where it listens and how to talk to it. What you type comes back, line by line; open two
connections at once, and see `serial` answer the second one only when the first has ended. Ctrl-C ends it.

The handler classes know nothing of any model, and so the command takes them as they are, with workers,
reload, logs and an orderly end:

    cd examples/echo && stdserve tcp echo:Echo --bind 127.0.0.1:7000
    cd examples/echo && stdserve tcp echo:Echo --bind 127.0.0.1:7000 --handlers forks
    cd examples/echo && stdserve udp echo:EchoDatagram --bind 127.0.0.1:7000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from stdserve import socketserver


class Echo(socketserver.StreamRequestHandler):
    """Sends each line back."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class EchoDatagram(socketserver.DatagramRequestHandler):
    """Sends the datagram back."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


class SerialServer(socketserver.TCPServer):
    """One connection after the other, in the thread that serves."""

    allow_reuse_address = True


class ThreadServer(socketserver.ThreadingTCPServer):
    """A thread for each connection: those of ended ones are used again, 512 at most."""

    allow_reuse_address = True
    daemon_threads = True  # Ctrl-C does not wait for clients that stay


class PoolServer(ThreadServer):
    """Four threads. A fifth connection waits until one is free."""

    max_threads = 4


class ForkServer(socketserver.ForkingTCPServer):
    """A process for each connection, 40 at most."""

    allow_reuse_address = True
    block_on_close = False  # Ctrl-C reaches the children too


class DatagramServer(socketserver.ThreadingUDPServer):
    """No connections: each datagram is answered by itself."""

    daemon_threads = True


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """As `threads`, at a path: for programs of this machine that may open it."""

    daemon_threads = True

    def server_close(self) -> None:
        super().server_close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(str(self.server_address))  # what stays would be in the way of the next start


MODELS: dict[str, type[socketserver.TCPServer]] = {
    "serial": SerialServer,
    "threads": ThreadServer,
    "pool": PoolServer,
    "forks": ForkServer,
    "udp": DatagramServer,
    "unix": UnixServer,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves an echo; `threads` is a good model to begin with.")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--bind", metavar="HOST:PORT|PATH", help="default: 127.0.0.1:7000, or ./echo.socket")
    arguments = parser.parse_args()
    model: str = arguments.model
    bind: str = arguments.bind or ("echo.socket" if model == "unix" else "127.0.0.1:7000")
    host, colon, port = bind.rpartition(":")
    if model != "unix" and not (colon and port.isdigit()):
        parser.error(f"{bind} is no HOST:PORT")
    handler = EchoDatagram if model == "udp" else Echo

    try:
        server = MODELS[model](bind if model == "unix" else (host, int(port)), handler)
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {bind}: {error}")
    with server:
        if isinstance(server.server_address, str):
            print(f"{model}: listening at {server.server_address}; try: nc -U {server.server_address}")
        else:
            host, port = server.server_address[:2]
            print(
                f"{model}: listening on {host}:{port}; try: nc {'-u ' if model == 'udp' else ''}{host} {port}"
            )
        print("Ctrl-C ends it.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended")


if __name__ == "__main__":
    main()
