"""A program that serves with the drop-in modules, and forks. Prints what it finds wrong."""

from __future__ import annotations

import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

from stdserve import explain
from stdserve.http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from stdserve.wsgiref.simple_server import WSGIRequestHandler, demo_app, make_server


class Handler(BaseHTTPRequestHandler):
    """Says in which process it runs."""

    def do_GET(self) -> None:
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class QuietWSGI(WSGIRequestHandler):
    """Without lines."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def served(server: Any) -> threading.Thread:
    """Serves in a thread, by the engine."""
    assert "path: engine" in explain(server), explain(server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    return thread


def get(server: Any) -> bytes:
    """What the server answers."""
    host, port = server.server_address[:2]
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=30) as answer:
        body: bytes = answer.read()
        return body


def once() -> None:
    """Serves a request, and ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = served(server)
    get(server)
    server.shutdown()
    thread.join()
    server.server_close()


def in_child(task: Callable[[], int]) -> int:
    """The exit code of a child that runs `task`."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = task()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stale() -> None:
    """What servers that have ended had open is forgotten: a child keeps what has the same numbers."""
    for _ in range(3):
        once()
    other = HTTPServer(("127.0.0.1", 0), Handler)
    thread = served(other)
    get(other)
    mine = [end for _ in range(20) for end in socket.socketpair()]

    def closed() -> int:
        return sum(1 for end in mine if not is_open(end.fileno()))

    print("closed in the child:", in_child(closed))
    other.shutdown()
    thread.join()
    other.server_close()


def is_open(descriptor: int) -> bool:
    """Whether it is."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def child_serves() -> None:
    """A child that was forked off while its parent serves may have servers of its own."""
    parent = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = served(parent)
    get(parent)
    for make in (
        lambda: ThreadingHTTPServer(("127.0.0.1", 0), Handler),
        lambda: HTTPServer(("127.0.0.1", 0), Handler),
        lambda: make_server("127.0.0.1", 0, demo_app, handler_class=QuietWSGI),
    ):

        def serve(make: Any = make) -> int:
            server = make()
            background = served(server)
            answers = [get(server) for _ in range(3)]
            server.shutdown()
            background.join()
            server.server_close()
            return 0 if all(answers) else 1

        print("child:", in_child(serve))
    print("parent goes on:", get(parent) == str(os.getpid()).encode())
    parent.shutdown()
    thread.join()
    parent.server_close()


def left() -> None:
    """Serving leaves no descriptor behind; the last threads may still be about to close theirs."""
    once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        once()
    print("one is left of each:", len(os.listdir("/proc/self/fd")) - before >= 20)


if __name__ == "__main__":
    {"stale": stale, "child_serves": child_serves, "left": left}[sys.argv[1]]()
