"""Echo connections, a page about them and a clock, all in one thread: tasks that wait on one loop.

    python examples/tasks_echo.py                 # on 127.0.0.1:7006, the page on 127.0.0.1:7007
    python examples/tasks_echo.py --bind :7006    # on all addresses

It prints where it listens. Talk to it with `nc 127.0.0.1 7006`, in several terminals, and look at
<http://127.0.0.1:7007> meanwhile. A client that says nothing for a minute is let go. Ctrl-C ends it.

A task is a generator; each `yield` says what it waits for. The page is a WSGI application under
`stdserve.Server`, whose loop is turned by a task too: so it reads what the connections count, without a lock.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import stdserve
from stdserve.concurrent import TaskScheduler, readable, serve, sleep, writable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

#: Seconds that a client may be silent.
PATIENCE = 60

Steps = Generator[Any, Any, None]

scheduler = TaskScheduler()


class Figures:
    """What has happened so far."""

    connections = 0
    echoed = 0
    seconds = 0


def echo(client: socket.socket) -> Steps:
    """One connection: what it sends goes back to it."""
    Figures.connections += 1
    try:
        with client:
            while True:
                yield readable(client, timeout=PATIENCE)
                data = client.recv(65536)
                if not data:
                    return
                while data:
                    yield writable(client, timeout=PATIENCE)
                    sent = client.send(data)
                    data = data[sent:]
                    Figures.echoed += sent
    except OSError:
        pass  # it is lost, or was silent for too long
    finally:
        Figures.connections -= 1


def accept(listener: socket.socket) -> Steps:
    """Begins a task for each connection."""
    while True:
        yield readable(listener)
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            continue  # the client has gone already
        except OSError as error:
            print(f"a connection could not be accepted: {error.strerror}", flush=True)
            yield sleep(1)
            continue
        client.setblocking(False)
        scheduler.new_task(echo(client))


def tick() -> Steps:
    """Counts seconds."""
    while True:
        yield sleep(1)
        Figures.seconds += 1


def page(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The page: how it stands."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Refresh", "1")])
    text = f"{Figures.connections} connections, {Figures.echoed} bytes in {Figures.seconds} seconds\n"
    return [text.encode()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves an echo and a page about it, in one thread.")
    parser.add_argument("--bind", metavar="HOST:PORT", default="127.0.0.1:7006", help="default: %(default)s")
    parser.add_argument("--page", metavar="HOST:PORT", default="127.0.0.1:7007", help="default: %(default)s")
    arguments = parser.parse_args()
    host, colon, port = arguments.bind.rpartition(":")
    if not colon or not port.isdigit():
        parser.error(f"{arguments.bind} is no HOST:PORT")
    try:
        listener = socket.create_server((host, int(port)))
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {arguments.bind}: {error}")
    try:
        server = stdserve.Server(page, bind=arguments.page)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot listen on {arguments.page}: {error}")
    with listener, scheduler:
        listener.setblocking(False)
        for task in (accept(listener), serve(server), tick()):
            scheduler.new_task(task)
        host, port = listener.getsockname()[:2]
        print(f"listening on {host}:{port}; try: nc {host} {port}", flush=True)
        print(f"the page is at {server.url}", flush=True)
        print("Ctrl-C ends it.", flush=True)
        try:
            scheduler.run()
        except KeyboardInterrupt:
            print("ended")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
