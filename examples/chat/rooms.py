"""A room: what is said in it reaches every worker; what was said lately is kept for pages that come back.

It is a part of chat.py:

    cd examples/chat && stdserve
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TypedDict

from stdserve.concurrent import Empty, Exchange, Missed, Subscription

#: Of each room a worker keeps so many messages.
KEPT = 200
#: A page that is opened is shown so many of them.
SHOWN = 50


class Message(TypedDict):
    """What somebody said. It is as it was written, and may be anything: nothing of it is markup."""

    id: str
    name: str
    text: str
    #: Milliseconds since 1970.
    time: int


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Room:
    """One room, as a worker sees it.

    What is said comes by an `Exchange` of the room's name: from all workers, in the same order for everybody.

    Where a page was is told by a *place*, `MESSAGE@TIME`: the last message that it got, and a time at which
    it had all that had been said. Its browser sends that as `Last-Event-ID` when it connects again, to
    whichever worker.
    """

    def __init__(self, name: str, url: str | None = None) -> None:
        self.name = name
        self._exchange: Exchange[Message] = Exchange(f"chat.{name}", url)
        self._begin()
        # With `--preload`: a worker knows what is said from its fork on.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Message | Missed] = deque(maxlen=KEPT)
        # What nobody has asked for yet waits in the memory that all workers share, not in ours.
        self._unread = self._exchange.subscribe()
        self._began = now()

    def say(self, name: str, text: str) -> None:
        """Have everybody hear it. ConnectionError: Redis cannot be had, and nobody hears it."""
        self._exchange.send({"id": secrets.token_hex(8), "name": name, "text": text, "time": now()})

    def listen(self) -> Subscription[Message]:
        """What is said from now on."""
        return self._exchange.subscribe()

    def since(self, place: str) -> list[Message | Missed]:
        """What a page that was at `place` has not got; without a place, what a new page is shown."""
        with self._lock:
            self._kept.extend(waiting(self._unread))
            kept = list(self._kept)
        if not place:
            return kept[-SHOWN:]
        last, _, when = place.partition("@")
        for index, message in enumerate(kept):
            if not isinstance(message, Missed) and message["id"] == last:
                return kept[index + 1 :]
        # It came before what is kept. Where the page had everything at a time when this worker was there
        # already, and nothing was dropped since, all that is kept came after it.
        if len(kept) < KEPT and when.isdecimal() and int(when) >= self._began:
            return kept
        return [Missed(1, exact=False), *kept]


def waiting(subscription: Subscription[Message]) -> Iterator[Message | Missed]:
    """What lies in a subscription now."""
    while True:
        try:
            yield subscription.get_nowait()
        except Empty:
            return
