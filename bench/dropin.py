"""Compares the drop-in modules with the standard library's, side by side in one run: CPU time a request.

    python bench/dropin.py [--only http-kept,tcp,…] [--requests 12000] [--rounds 3]

Servers run on one processor and clients on another, in turns; the ratio is of the medians. `must` is what the
project asks of itself, as a part of the standard library's CPU time.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path

SERVER = Path(__file__).with_name("launch") / "dropin_server.py"
CLIENTS = 8
GET = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
END = b"Hello, world!\n"

Load = Callable[[int, int], int]


def in_threads(requests: int, work: Callable[[int], None]) -> int:
    """Has several clients make their part of the requests; returns how many those were."""
    threads = [threading.Thread(target=work, args=(requests // CLIENTS,)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return requests // CLIENTS * CLIENTS


def kept(port: int, requests: int) -> int:
    """HTTP over kept connections."""

    def work(count: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            for _ in range(count):
                sock.sendall(GET)
                received = b""
                while not received.endswith(END):
                    if not (piece := sock.recv(4096)):
                        # The server does not keep connections.
                        sock.close()
                        raise SystemExit("the connection was not kept")
                    received += piece

    return in_threads(requests, work)


def connections(message: bytes) -> Load:
    """A connection for each request."""

    def load(port: int, requests: int) -> int:
        def work(count: int) -> None:
            for _ in range(count):
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    sock.sendall(message)
                    while sock.recv(4096):
                        pass

        return in_threads(requests, work)

    return load


def datagrams(port: int, requests: int) -> int:
    """Datagrams, 16 at a time."""
    done = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(5)
        for _ in range(requests // 16):
            for _ in range(16):
                sock.send(b"x" * 64)
            for _ in range(16):
                sock.recv(100)
                done += 1
    return done


def calls(call: Callable[[xmlrpc.client.ServerProxy], object], part: int) -> Load:
    """XML-RPC; every `part`th of the requests asked for, since they are slow."""

    def load(port: int, requests: int) -> int:
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/") as proxy:
            count = max(requests // part, 1)
            for _ in range(count):
                call(proxy)
        return count

    return load


def a_call_a_connection(port: int, requests: int) -> int:
    """The call `add(2, 3)`, each by a client of its own."""
    count = max(requests // 4, 1)
    for _ in range(count):
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/") as proxy:
            proxy.add(2, 3)
    return count


STRUCTS = [{"id": n, "name": f"name {n}", "on": True} for n in range(10_000)]

#: Name: the server, the load on ours and on the standard library's (which may be unable to keep connections),
#: and the part of the standard library's CPU time that must not be passed.
WORKLOADS: dict[str, tuple[str, Load, Load, float]] = {
    "http-kept": ("http", kept, kept, 1 / 8),
    "http-close": ("http", connections(GET_AND_CLOSE), connections(GET_AND_CLOSE), 1 / 4),
    "wsgi-kept": ("wsgi", kept, connections(GET), 1 / 15),
    "xmlrpc-add": ("xmlrpc", calls(lambda p: p.add(2, 3), 4), calls(lambda p: p.add(2, 3), 4), 1 / 6),
    "xmlrpc-add-close": ("xmlrpc", a_call_a_connection, a_call_a_connection, 1 / 6),
    "xmlrpc-structs": (
        "xmlrpc",
        calls(lambda p: p.echo(STRUCTS), 1500),
        calls(lambda p: p.echo(STRUCTS), 1500),
        1 / 8,
    ),
    "tcp": ("tcp", connections(b"hello"), connections(b"hello"), 1 / 3),
    # A handler that calls `sendto`, and one that writes to a file; in the serving thread, and in threads.
    "udp": ("udp", datagrams, datagrams, 1 / 4),
    "udp-files": ("udp-files", datagrams, datagrams, 1 / 4),
    "udp-threads": ("udp-threads", datagrams, datagrams, 1 / 4),
    "udp-threads-files": ("udp-threads-files", datagrams, datagrams, 1 / 4),
}


def cpu(kind: str, whose: str, load: Load, requests: int) -> float:
    """Microseconds of CPU time that the server took for a request."""
    processors = sorted(os.sched_getaffinity(0))
    with subprocess.Popen(
        [sys.executable, str(SERVER), kind, whose],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {processors[0]}),
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            os.sched_setaffinity(0, {processors[-1]})
            load(port, max(requests // 20, CLIENTS))
            before = seconds(server.pid)
            done = load(port, requests)
            return (seconds(server.pid) - before) / done * 1e6
        finally:
            os.sched_setaffinity(0, set(processors))
            server.kill()


def seconds(pid: int) -> float:
    """CPU time of a process so far, its ended threads too; the kernel counts hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Runs the workloads, and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    print(f"{'workload':18} {'standard':>10} {'stdserve':>10} {'ratio':>7} {'must':>6}   µs of CPU a request")
    for name in options.only.split(","):
        kind, ours, theirs, must = WORKLOADS[name]
        figures: dict[str, list[float]] = {"standard": [], "stdserve": []}
        for _ in range(options.rounds):
            for whose, load in (("standard", theirs), ("stdserve", ours)):
                figures[whose].append(cpu(kind, whose, load, options.requests))
                time.sleep(0.05)
        standard, own = (statistics.median(figures[whose]) for whose in ("standard", "stdserve"))
        print(f"{name:18} {standard:10.1f} {own:10.1f} {own / standard:7.3f} {must:6.3f}", flush=True)


main()
