"""What servers need beside them, across threads, workers and machines.

Each part is small, stands alone and can be used without a server. docs/concurrent.md has a recipe for each.
"""

from __future__ import annotations

from stdserve._stdserve import share_exchange_memory
from stdserve.concurrent.exchange import Exchange, Missed, Subscription, get_exchange
from stdserve.concurrent.queues import Empty, Full, PollableQueue, ShutDown

__all__ = [
    "Empty",
    "Exchange",
    "Full",
    "Missed",
    "PollableQueue",
    "ShutDown",
    "Subscription",
    "get_exchange",
]

# Before any fork: named exchanges reach the processes that come of this one.
share_exchange_memory()
