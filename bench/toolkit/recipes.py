"""Recipes of chapter 12 of the Python Cookbook (3rd edition), as printed; README.md has the book.

There are types; nothing else is changed.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import queue
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from queue import Queue
from threading import Event, Thread
from typing import Any

# 12.5. Locking with Deadlock Avoidance


# Thread-local state to stored information on locks already acquired
_local = threading.local()


@contextmanager
def acquire(*locks: threading.Lock) -> Iterator[None]:
    # Sort locks by object identifier
    locks = sorted(locks, key=lambda x: id(x))  # type: ignore[assignment]

    # Make sure lock order of previously acquired locks is not violated
    acquired = getattr(_local, "acquired", [])
    if acquired and max(id(lock) for lock in acquired) >= id(locks[0]):
        raise RuntimeError("Lock Order Violation")

    # Acquire all of the locks
    acquired.extend(locks)
    _local.acquired = acquired
    try:
        for lock in locks:
            lock.acquire()
        yield
    finally:
        # Release locks in reverse order of acquisition
        for lock in reversed(locks):
            lock.release()
        del acquired[-len(locks) :]


# 12.8. Performing Simple Parallel Programming


def find_robots(filename: str) -> set[str]:
    """
    Find all of the hosts that access robots.txt in a single log file
    """
    robots = set()
    with gzip.open(filename) as f:
        for line in io.TextIOWrapper(f, encoding="ascii"):
            fields = line.split()
            if fields[6] == "/robots.txt":
                robots.add(fields[0])
    return robots


def find_all_robots(logdir: str) -> set[str]:
    """
    Find all hosts across and entire sequence of files
    """
    files = glob.glob(logdir + "/*.log.gz")
    all_robots = set()
    with futures.ProcessPoolExecutor() as pool:
        for robots in pool.map(find_robots, files):
            all_robots.update(robots)
    return all_robots


# 12.10. Defining an Actor Task


# Sentinel used for shutdown
class ActorExit(Exception):
    pass


class Actor:
    def __init__(self) -> None:
        self._mailbox: Queue[Any] = Queue()

    def send(self, msg: Any) -> None:
        """
        Send a message to the actor
        """
        self._mailbox.put(msg)

    def recv(self) -> Any:
        """
        Receive an incoming message
        """
        msg = self._mailbox.get()
        if msg is ActorExit:
            raise ActorExit()
        return msg

    def close(self) -> None:
        """
        Close the actor, thus shutting it down
        """
        self.send(ActorExit)

    def start(self) -> None:
        """
        Start concurrent execution
        """
        self._terminated = Event()
        t = Thread(target=self._bootstrap)

        t.daemon = True
        t.start()

    def _bootstrap(self) -> None:
        try:
            self.run()
        except ActorExit:
            pass
        finally:
            self._terminated.set()

    def join(self) -> None:
        self._terminated.wait()

    def run(self) -> None:
        """
        Run method to be implemented by the user
        """
        while True:
            self.recv()


# 12.13. Polling Multiple Thread Queues


class PollableQueue(queue.Queue[Any]):
    def __init__(self) -> None:
        super().__init__()
        # Create a pair of connected sockets
        if os.name == "posix":
            self._putsocket, self._getsocket = socket.socketpair()
        else:
            # Compatibility on non-POSIX systems
            server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            self._putsocket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._putsocket.connect(server.getsockname())
            self._getsocket, _ = server.accept()
            server.close()

    def fileno(self) -> int:
        return self._getsocket.fileno()

    def put(self, item: Any) -> None:  # type: ignore[override]
        super().put(item)
        self._putsocket.send(b"x")

    def get(self) -> Any:  # type: ignore[override]
        self._getsocket.recv(1)
        return super().get()
