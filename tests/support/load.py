"""Many clients at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from .serving import Served
from .wire import Client, request

T = TypeVar("T")
A = TypeVar("A")


def together(work: Callable[[A], T], items: Sequence[A]) -> list[T]:
    """`work` for each item, each in a thread of its own, all at the same time; the results in order."""
    start = threading.Barrier(len(items))

    def run(item: A) -> T:
        start.wait()
        return work(item)

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(run, items))


def clients(stack: ExitStack, server: Served, count: int) -> list[Client]:
    """So many connections, closed with the stack."""
    return [stack.enter_context(server.client()) for _ in range(count)]


def send_all(targets: Sequence[tuple[Client, str]]) -> None:
    """A GET on each connection; the answers are left to be read."""
    for client, target in targets:
        client.send(request(target=target))


class Steady:
    """Clients that ask for one target on kept connections, again and again, until told to stop.

    Counts answers by status; a connection that ends without an answer is counted as lost and made anew.
    """

    def __init__(self, server: Served, target: str, count: int) -> None:
        self.server, self.target = server, target
        self.answers: dict[int, int] = {}
        self.lost = 0
        self.bodies: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._some = threading.Condition(self._lock)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def __enter__(self) -> Steady:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        client: Client | None = None
        while not self._stop.is_set():
            try:
                client = client or self.server.client()
                answer = client.ask(self.target)
            except Exception:
                with self._some:
                    self.lost += 1
                    self._some.notify_all()
                client = None
                continue
            with self._some:
                self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
                self.bodies[answer.body] = self.bodies.get(answer.body, 0) + 1
                self._some.notify_all()
            if answer.closes:
                client.close()
                client = None
        if client:
            client.close()

    @property
    def answered(self) -> int:
        """How many answers have come."""
        with self._lock:
            return sum(self.answers.values())

    def wait(self, more: int, patience: float = 60.0) -> None:
        """Wait until so many more answers have come."""
        with self._some:
            goal = sum(self.answers.values()) + more
            assert self._some.wait_for(lambda: sum(self.answers.values()) >= goal, patience), (
                f"only {sum(self.answers.values())} answers of {goal}"
            )

    def stop(self) -> None:
        """No further requests; wait for what is under way."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(60)
