"""What servers need beside them, across threads, workers and machines.

Each part is small, stands alone and can be used without a server. docs/concurrent.md has a recipe for each.
"""

from __future__ import annotations

from stdserve.concurrent.exchange import Exchange, Missed, Subscription, get_exchange
from stdserve.concurrent.lines import matching_lines
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
    "matching_lines",
]
