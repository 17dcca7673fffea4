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
from collections.abc import Iterator, Sequence
from typing import TypedDict

from stdserve.concurrent import Empty, Exchange, Missed, Subscription

#: Of each room a worker keeps so many messages.
KEPT = 200
#: A page that is opened is shown so many of them.
SHOWN = 50
#: Where a page was that has got no message yet: no message has this id.
BEGINNING = "0"


class Message(TypedDict):
    """What somebody said. It is as it was written, and may be anything: nothing of it is markup."""

    id: str
    name: str
    text: str
    #: Milliseconds since 1970.
    time: int


class Room:
    """One room, as a worker sees it.

    What is said comes by an `Exchange` of the room's name: from all workers, in the same order for everybody.
    Each worker keeps the last of it. One that was started later does too: it begins with what the exchange
    still has.
    """

    def __init__(self, name: str, url: str | None = None) -> None:
        self.name = name
        self._exchange: Exchange[Message] = Exchange(f"chat.{name}", url)
        self._begin()
        # With `--preload`: each worker reads for itself.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Message] = deque(maxlen=KEPT)
        #: All that was ever said is kept.
        self._whole = True
        # What nobody has asked for yet waits in the memory that all workers share, not in ours.
        self._unread = self._exchange.subscribe(past=True)

    def say(self, name: str, text: str) -> None:
        """Have everybody hear it. ConnectionError: Redis cannot be had, and nobody hears it."""
        now = time.time_ns() // 1_000_000
        self._exchange.send({"id": secrets.token_hex(8), "name": name, "text": text, "time": now})

    def listen(self) -> Subscription[Message]:
        """What is said from now on."""
        return self._exchange.subscribe()

    def since(self, last: str) -> Sequence[Message | Missed]:
        """What a page has not got that has got `last`; if that is empty, what a new page is shown."""
        with self._lock:
            for message in waiting(self._unread):
                if isinstance(message, Missed):
                    self._kept.clear()
                    self._whole = False
                else:
                    self._whole = self._whole and len(self._kept) < KEPT
                    self._kept.append(message)
            kept = list(self._kept)
            whole = self._whole
        if not last:
            return kept[-SHOWN:]
        for index, message in enumerate(kept):
            if message["id"] == last:
                return kept[index + 1 :]
        if whole and last == BEGINNING:
            return kept
        # Older than what is kept, or of a time before the server was started.
        return [Missed(1, exact=False), *kept]


def waiting(subscription: Subscription[Message]) -> Iterator[Message | Missed]:
    """What lies in a subscription now."""
    while True:
        try:
            yield subscription.get_nowait()
        except Empty:
            return
