"""Handler classes that know nothing of stdserve."""

import os
import signal
import socketserver
import sys
import threading
from collections.abc import Callable

import gate


class Echo(socketserver.StreamRequestHandler):
    """Sends each line back in capitals."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class Tell(socketserver.StreamRequestHandler):
    """Tells what it has been given, by the word it is asked."""

    def handle(self) -> None:
        word = self.rfile.readline().decode().strip()
        told: dict[str, Callable[[], object]] = {
            "client": lambda: self.client_address,
            "server": lambda: self.server.server_address,
            "class": lambda: self.server.RequestHandlerClass.__name__,
            "kind": lambda: type(self.server).__mro__[2].__name__,
            "timeout": lambda: self.request.gettimeout(),
            "family": lambda: self.request.family.name,
            "process": os.getpid,
            "parent": os.getppid,
            "mask": lambda: len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        }
        self.wfile.write(f"{told[word]()}\n".encode())


class Failing(socketserver.StreamRequestHandler):
    """Fails in the way that it is asked for."""

    def handle(self) -> None:
        word = self.rfile.readline().strip()
        if word == b"raise":
            raise ValueError("what went wrong")
        if word == b"exit":
            sys.exit(3)
        if word == b"kill":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == b"shutdown":
            self.server.shutdown()
        self.wfile.write(b"fine\n")


class Waiting(socketserver.StreamRequestHandler):
    """Waits at the gate."""

    def handle(self) -> None:
        gate.arrive("handler")
        self.wfile.write(b"done\n")


class Upper(socketserver.DatagramRequestHandler):
    """Answers in capitals."""

    def handle(self) -> None:
        self.wfile.write(self.packet.upper())


class Plain(socketserver.BaseRequestHandler):
    """Answers by the socket: how long the datagram was, and who sent it."""

    def handle(self) -> None:
        data, sock = self.request
        if data == b"raise":
            raise ValueError("what went wrong")
        told = f"{len(data)} {self.client_address} {threading.current_thread().name}"
        sock.sendto(told.encode(), self.client_address)


NOTHING = 7


def nothing() -> None:
    """Takes nothing, and so no request."""
