"""COUNT times put and get on a queue whose descriptor is polled.

Each put makes the queue readable and each get empties it: that is what costs most, a system call each.
"""

from __future__ import annotations

import select
import sys
from typing import Any

import recipes
from stdserve.concurrent import PollableQueue

#: How often the descriptor is looked at, in operations.
SELDOM = 1000


def main() -> None:
    side, count = sys.argv[1], int(sys.argv[2])
    queue: Any = PollableQueue() if side == "ours" else recipes.PollableQueue()
    poll = select.poll()
    poll.register(queue, select.POLLIN)
    put, get = queue.put, queue.get
    for start in range(0, count, SELDOM):
        put(start)
        if not poll.poll(0) or get() != start or poll.poll(0):
            sys.exit(f"{side}: the descriptor tells something else than the queue")
        for number in range(start + 1, min(start + SELDOM, count)):
            put(number)
            if get() != number:
                sys.exit(f"{side}: {number} was lost")


if __name__ == "__main__":
    main()
