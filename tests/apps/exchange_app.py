"""Workers that talk to one another over exchanges, told what to do by `/ask?what=WHAT&count=COUNT&…`.

The worker that gets the request asks all, itself too, by an exchange, and answers with the COUNT reports that
come of it, as JSON; with fewer after SECONDS (30). Each worker obeys in a thread that it begins when it is
imported.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty
from typing import Any
from urllib.parse import parse_qsl

from stdserve.concurrent import Exchange, Missed, Subscription

ORDERS, REPORTS, LOAD, PROGRESS = (
    Exchange[dict[str, Any]]("orders"),
    Exchange[dict[str, Any]]("reports"),
    Exchange[list[int]]("load", os.environ.get("EXCHANGE_URL")),
    Exchange[list[int]]("progress"),
)
PATIENCE = 30.0


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What `/ask` is answered with."""
    order = dict(parse_qsl(environ["QUERY_STRING"]))
    found = ask(order, int(order["count"]), float(order.get("seconds", PATIENCE)))
    body = json.dumps(found).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def ask(order: dict[str, Any], count: int, seconds: float) -> list[dict[str, Any]]:
    """The reports of all workers, or what there is of them after so many seconds."""
    order = {**order, "id": f"{os.getpid()} {time.monotonic_ns()}"}
    found: list[dict[str, Any]] = []
    end = time.monotonic() + seconds
    with REPORTS.subscribe() as reports:
        ORDERS.send(order)
        while len(found) < count:
            try:
                report = reports.get(max(end - time.monotonic(), 0))
            except Empty:
                break
            if not isinstance(report, Missed) and report["id"] == order["id"]:
                found.append(report)
    return found


class Obedience:
    """What a worker does when it is told to."""

    def __init__(self, orders: Subscription[dict[str, Any]]) -> None:
        self.orders = orders
        self.storm: Storm | None = None
        self.prepared: tuple[Subscription[list[int]], ...] = ()

    def obey(self) -> None:
        """Each order in its turn."""
        for order in self.orders:
            assert not isinstance(order, Missed)
            threading.Thread(target=self.obey_one, args=(order,), daemon=True).start()

    def obey_one(self, order: dict[str, Any]) -> None:
        """Does it, and reports."""
        report = getattr(self, "do_" + order["what"])(order) or {}
        REPORTS.send({**report, "id": order["id"], "pid": os.getpid()})

    def do_ping(self, _: dict[str, Any]) -> None:
        """Is there."""

    def do_prepare(self, _: dict[str, Any]) -> None:
        """Subscribes to everything that `do_exchange` is about, and once more, to read that last."""
        self.prepared = (LOAD.subscribe(), LOAD.subscribe(), PROGRESS.subscribe())

    def do_exchange(self, order: dict[str, Any]) -> dict[str, Any]:
        """Sends its share of the messages, and receives those of all."""
        quick, slow, progress = self.prepared
        workers, rounds, size = int(order["count"]), int(order["rounds"]), int(order["size"])
        sender = threading.Thread(target=send_share, args=(progress, workers, rounds, size), daemon=True)
        sender.start()
        report = receive_all(quick, workers * rounds * size, size)
        sender.join()
        slow_received, slow_told = drain(slow)
        return {**report, "slow_received": slow_received, "slow_told": slow_told}

    def do_storm(self, _: dict[str, Any]) -> None:
        """Sends and receives for ever."""
        if self.storm is None:
            self.storm = Storm()

    def do_status(self, _: dict[str, Any]) -> dict[str, Any]:
        """How the storm goes."""
        assert self.storm is not None
        return self.storm.status()


def send_share(progress: Subscription[list[int]], workers: int, rounds: int, size: int) -> None:
    """Sends `rounds` times `size` messages, and after each round waits for the slowest worker.

    It may be one round behind, so at most three rounds of all workers are on their way at any time.
    """
    received: dict[int, int] = {}
    for turn in range(rounds):
        for number in range(turn * size, (turn + 1) * size):
            LOAD.send([os.getpid(), number])
        while len(received) < workers or min(received.values()) < (turn - 1) * size * workers:
            said = progress.get(PATIENCE)
            assert not isinstance(said, Missed)
            received[said[0]] = said[1]


def receive_all(load: Subscription[list[int]], total: int, size: int) -> dict[str, Any]:
    """Receives so many messages: how many out of turn, how many were missed, and a digest of the order."""
    following: dict[int, int] = {}
    order = hashlib.sha256()
    received = wrong = 0
    PROGRESS.send([os.getpid(), 0])
    while received < total:
        try:
            message = load.get(PATIENCE)
        except Empty:
            break
        if isinstance(message, Missed):
            continue
        sender, number = message
        wrong += following.get(sender, 0) != number
        following[sender] = number + 1
        order.update(b"%d %d\n" % (sender, number))
        received += 1
        if received % size == 0:
            PROGRESS.send([os.getpid(), received])
    return {"received": received, "wrong": wrong, "missed": load.missed, "order": order.hexdigest()}


def drain(subscription: Subscription[list[int]]) -> tuple[int, int]:
    """How many messages are there to get, and how many were said to be missed; all was sent by now."""
    received = 0
    while True:
        try:
            received += not isinstance(subscription.get_nowait(), Missed)
        except Empty:
            return received, subscription.missed


class Storm:
    """Sends for ever, not faster than it gets its own messages back, and notes what it gets from whom."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.from_whom: dict[int, list[int]] = {}
        self.load = LOAD.subscribe()
        self.room = threading.Semaphore(200)
        for target in (self.send, self.receive):
            threading.Thread(target=target, daemon=True).start()

    def send(self) -> None:
        """Counts."""
        for number in itertools.count():
            self.room.acquire()
            LOAD.send([os.getpid(), number])

    def receive(self) -> None:
        """Notes of each sender how many came, the last one, and how many came out of turn."""
        for message in self.load:
            if isinstance(message, Missed):
                continue
            sender, number = message
            with self.lock:
                noted = self.from_whom.setdefault(sender, [0, number - 1, 0])
                noted[2] += noted[1] + 1 != number
                noted[0], noted[1] = noted[0] + 1, number
            if sender == os.getpid():
                self.room.release()

    def status(self) -> dict[str, Any]:
        """What was noted."""
        with self.lock:
            return {
                "missed": self.load.missed,
                "from": {str(sender): list(noted) for sender, noted in self.from_whom.items()},
            }


threading.Thread(target=Obedience(ORDERS.subscribe()).obey, daemon=True).start()
