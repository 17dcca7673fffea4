"""What servers need beside them, across threads, workers and machines.

Each part is small, stands alone and can be used without a server. docs/concurrent.md has a recipe for each.
"""

from __future__ import annotations

from stdserve._stdserve import share_exchange_memory
from stdserve.concurrent.actors import (
    Actor,
    ActorClosed,
    ActorExit,
    ActorFailed,
    TaggedActor,
    UnknownTag,
    Worker,
)
from stdserve.concurrent.connections import ThreadLocalConnection
from stdserve.concurrent.exchange import Exchange, Missed, Subscription, get_exchange
from stdserve.concurrent.lines import matching_lines
from stdserve.concurrent.locks import LockNesting, LockOrderViolation, LockPlace, acquire
from stdserve.concurrent.processes import Limit, daemon_pid, daemonize, limit_memory, set_max_runtime
from stdserve.concurrent.queues import Empty, Full, PollableQueue, ShutDown
from stdserve.concurrent.tasks import (
    Task,
    TaskCancelled,
    TaskScheduler,
    readable,
    serve,
    sleep,
    within,
    writable,
)
from stdserve.concurrent.timer import Timer

__all__ = [
    "Actor",
    "ActorClosed",
    "ActorExit",
    "ActorFailed",
    "Empty",
    "Exchange",
    "Full",
    "Limit",
    "LockNesting",
    "LockOrderViolation",
    "LockPlace",
    "Missed",
    "PollableQueue",
    "ShutDown",
    "Subscription",
    "TaggedActor",
    "Task",
    "TaskCancelled",
    "TaskScheduler",
    "ThreadLocalConnection",
    "Timer",
    "UnknownTag",
    "Worker",
    "acquire",
    "daemon_pid",
    "daemonize",
    "get_exchange",
    "limit_memory",
    "matching_lines",
    "readable",
    "serve",
    "set_max_runtime",
    "sleep",
    "within",
    "writable",
]

# Before any fork: named exchanges reach the processes that come of this one.
share_exchange_memory()
