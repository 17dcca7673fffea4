"""Sends each line that is typed, and prints the line that comes back: for machines without nc.

    python examples/echo/talk.py 127.0.0.1:7000          # echo.py, and ../selectors_server.py
    python examples/echo/talk.py 127.0.0.1:7000 --udp    # `echo.py udp`
    python examples/echo/talk.py /tmp/echo               # `echo.py unix`

Ctrl-D ends it.
"""

from __future__ import annotations

import argparse
import socket
import sys


def connect(address: str, udp: bool) -> socket.socket:
    """A socket whose other end is HOST:PORT or, without a colon, a path."""
    host, colon, port = address.rpartition(":")
    if not colon:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        sock.connect((host, int(port)))
    return sock


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends what you type, and prints what comes back.")
    parser.add_argument("address", metavar="HOST:PORT|PATH")
    parser.add_argument("--udp", action="store_true", help="send datagrams")
    arguments = parser.parse_args()
    try:
        with connect(arguments.address, arguments.udp) as sock:
            for line in sys.stdin.buffer:
                sock.sendall(line)
                answer = b""
                while len(answer) < len(line):
                    piece = sock.recv(65536)
                    if not piece:
                        sys.exit("the server has ended the connection")
                    answer += piece
                sys.stdout.buffer.write(answer)
                sys.stdout.flush()
    except (OSError, ValueError, OverflowError) as error:
        sys.exit(f"{arguments.address}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
