"""One process publishes, another subscribes: `exchange.py ours|recipe COUNT [paced]`.

ours: a named Exchange. recipe: redis-py's publish and get_message, over a Unix socket, which is the quickest
that it has; the messages are the same small objects, as JSON. What the Redis server takes comes on top and is
not counted: it is no descendant that is waited for (it makes itself a daemon); its CPU time is printed on
standard error.

Both send as fast as they can. With `paced` the sender rests for a millisecond between messages, as a chat
does, and the subscriber prints how long messages took, on standard error.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

Send = Callable[[dict[str, Any]], object]
Receive = Callable[[], Iterator[dict[str, Any]]]


def ours(count: int, paced: bool) -> None:
    """Over memory that both share."""
    from stdserve.concurrent import Exchange, Missed

    exchange = Exchange[dict[str, Any]]("bench")

    def receive() -> Iterator[dict[str, Any]]:
        with exchange.subscribe() as subscription:
            yield {}  # it is subscribed
            for message in subscription:
                assert not isinstance(message, Missed)
                yield message

    between(exchange.send, receive, count, paced)


def recipe(count: int, paced: bool) -> None:
    """Over a Redis server."""
    import redis

    with redis_server() as url:
        client = redis.Redis.from_url(url)

        def send(message: dict[str, Any]) -> None:
            client.publish("bench", json.dumps(message))

        def receive() -> Iterator[dict[str, Any]]:
            with redis.Redis.from_url(url).pubsub() as subscription:
                subscription.subscribe("bench")
                while True:
                    got = subscription.get_message(timeout=60)
                    if got is None:
                        continue
                    if got["type"] == "subscribe":
                        yield {}
                    else:
                        yield json.loads(got["data"])

        between(send, receive, count, paced)
        used = client.info("cpu")
        print(f"redis-server: {used['used_cpu_user'] + used['used_cpu_sys']:.2f} s of CPU", file=sys.stderr)


@contextmanager
def redis_server() -> Iterator[str]:
    """One that is nobody's child; its address."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        socket, pid_file = f"{folder}/redis.sock", Path(folder, "redis.pid")
        where = ["--port", "0", "--unixsocket", socket, "--dir", folder, "--pidfile", str(pid_file)]
        run(["redis-server", *where, "--save", "", "--daemonize", "yes"], check=True, stdout=DEVNULL)
        while not (os.path.exists(socket) and pid_file.exists() and pid_file.read_text()):
            time.sleep(0.001)
        try:
            yield f"unix://{socket}"
        finally:
            os.kill(int(pid_file.read_text()), 9)


def between(send: Send, receive: Receive, count: int, paced: bool) -> None:
    """Sends `count` messages to a forked process, which sees that each comes once and in its turn."""
    ready, subscribed = os.pipe()
    child = os.fork()
    if child == 0:
        messages = receive()
        next(messages)
        os.write(subscribed, b".")
        took = []
        for number in range(count):
            message = next(messages)
            if message["number"] != number:
                os._exit(1)
            took.append(time.monotonic() - message["at"])
        if paced:
            took.sort()
            figures = (statistics.median(took), took[int(len(took) * 0.99)])
            print(
                "took {:.0f} us, 99 % at most {:.0f} us".format(*(one * 1e6 for one in figures)),
                file=sys.stderr,
            )
        os._exit(0)
    os.read(ready, 1)
    for number in range(count):
        send({"from": "Ada", "number": number, "at": time.monotonic()})
        if paced:
            time.sleep(0.001)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("messages are missing, or out of turn")


if __name__ == "__main__":
    {"ours": ours, "recipe": recipe}[sys.argv[1]](int(sys.argv[2]), sys.argv[3:] == ["paced"])
