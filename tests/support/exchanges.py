"""What the tests of exchanges share: a task that keeps, a Redis server, and what delivery means."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import strategies as st
from stdserve.concurrent import Exchange, Subscription

from .serving import Served
from .waiting import PATIENCE, until

_numbers = itertools.count()


def new_name() -> str:
    """A name that no other test uses."""
    return f"{os.getpid()} {next(_numbers)}"


def new(kind: str) -> Exchange[Any]:
    """An exchange of its own: `nameless`, or `named`."""
    return Exchange() if kind == "nameless" else Exchange(new_name())


class Keep:
    """A task that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def send(self, message: object) -> None:
        """Keeps the message."""
        self.messages.put(message)

    def get(self) -> Any:
        """The next one."""
        return self.messages.get(timeout=PATIENCE)


#: What `deliver` does: a verb, and whom it is about.
operations = st.lists(
    st.tuples(st.sampled_from(["attach", "detach", "send", "send", "subscribe", "close"]), st.integers(0, 3)),
    max_size=40,
)


def deliver(exchange: Exchange[Any], operations: list[tuple[str, int]], detached_get_all: bool) -> None:
    """Do so, and see that each gets what was sent while it was there: all of it, once and in order.

    Who was detached may have got less, where tasks are not called by the sender.
    """
    attached: dict[int, tuple[Keep, list[int]]] = {}
    detached: list[tuple[Keep, list[int]]] = []
    places: dict[int, tuple[Subscription[Any], list[int]]] = {}
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        for what, which in operations:
            if what == "send":
                number = next(numbers)
                exchange.send(number)
                for _, expected in [*attached.values(), *places.values()]:
                    expected.append(number)
            elif what == "attach" and which not in attached:
                attached[which] = Keep(), []
                exchange.attach(attached[which][0])
            elif what == "detach" and which in attached:
                exchange.detach(attached[which][0])
                detached.append(attached.pop(which))
            elif what == "subscribe" and which not in places:
                places[which] = stack.enter_context(exchange.subscribe()), []
            elif what == "close" and which in places:
                subscription, expected = places.pop(which)
                assert [subscription.get(PATIENCE) for _ in expected] == expected
                subscription.close()
        for subscription, expected in places.values():
            assert [subscription.get(PATIENCE) for _ in expected] == expected
            with pytest.raises(queue.Empty):
                subscription.get_nowait()
        for keep, expected in attached.values():
            assert [keep.get() for _ in expected] == expected
            exchange.detach(keep)
            assert keep.messages.empty()
        for keep, expected in detached:
            got = [keep.messages.get() for _ in range(keep.messages.qsize())]
            assert got == expected[: len(got)]
            assert got == expected or not detached_get_all


def ask(server: Served, what: str, count: int = 4, **more: object) -> list[dict[str, Any]]:
    """What the workers report."""
    query = "&".join(f"{name}={value}" for name, value in {"what": what, "count": count, **more}.items())
    reports: list[dict[str, Any]] = json.loads(server.get(f"/ask?{query}").body)
    return reports


def all_there(server: Served, but: int = 0) -> set[int]:
    """Waits until four workers answer, `but` not among them."""

    def four() -> set[int]:
        found = {report["pid"] for report in ask(server, "ping", seconds=2)}
        return found if len(found) == 4 and but not in found else set()

    return until(four, "four workers that answer")


class RedisServer:
    """A Redis server of our own, on a Unix socket in `folder`."""

    def __init__(self, folder: Path, *, keeps_data: bool) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._keeps_data = keeps_data
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def client(self) -> redis.Redis:
        """A client of redis-py's."""
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # With the data of the one before: each write is on the disk before it is answered.
        keeping = ["--appendonly", "yes", "--appendfsync", "always"] if self._keeps_data else []
        arguments = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(["redis-server", *arguments, *keeping], stdout=log, stderr=log)
        until(self._answers, "an answer of redis-server")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None


def need_redis() -> None:
    """Skip the test where there is no server; in CI there has to be one."""
    if not shutil.which("redis-server"):
        missing = "redis-server is needed: apt install redis-server"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
