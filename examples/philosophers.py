"""Five philosophers at a round table, with a chopstick between each two; to eat takes both.

    python examples/philosophers.py            # all eat until they have had enough
    python examples/philosophers.py --wrong    # each takes the left one, then the right one: refused

If each had taken the left chopstick, all would wait for ever (E. W. Dijkstra, 1965). By one `acquire` each
philosopher takes both, in an order that `acquire` chooses. With --wrong each nests one in the other. Most
runs of such a program get through, which is why the mistake is found so late; here the first run says which
chopsticks, and which lines took them in what order, though nobody ever waits for ever.
"""

from __future__ import annotations

import argparse
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from stdserve.concurrent import LockOrderViolation, acquire

NAMES = ["Socrates", "Plato", "Aristotle", "Hypatia", "Epicurus"]


class Chopstick:
    """A lock with a name. Whatever has `acquire` and `release` can be given to `acquire`."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool:
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()

    def __repr__(self) -> str:
        return f"the chopstick {self._place}"


#: Set when the table is to be left.
over = threading.Event()


def dine(left: Chopstick, right: Chopstick, meals: int) -> None:
    for _ in range(meals):
        if over.is_set():
            return
        with acquire(left, right):
            pass  # eats


def dine_wrongly(left: Chopstick, right: Chopstick, meals: int) -> None:
    for _ in range(meals):
        if over.is_set():
            return
        with acquire(left):
            with acquire(right):
                pass  # eats


def main() -> None:
    parser = argparse.ArgumentParser(description="Lets five philosophers dine.")
    parser.add_argument("--meals", type=int, default=1000, help="for each of them; default: %(default)s")
    parser.add_argument("--wrong", action="store_true", help="nest the chopsticks instead")
    arguments = parser.parse_args()
    if arguments.meals < 1:
        parser.error(f"--meals is {arguments.meals}: each eats once at least")
    eat = dine_wrongly if arguments.wrong else dine
    around = zip(NAMES, [*NAMES[1:], NAMES[0]], strict=True)
    chopsticks = [Chopstick(f"between {one} and {other}") for one, other in around]
    table = ThreadPoolExecutor(len(NAMES), thread_name_prefix="philosopher")
    name = NAMES[0]
    try:
        guests = [
            # Python's index -1 is the last: the table is round.
            (name, table.submit(eat, chopsticks[seat - 1], chopsticks[seat], arguments.meals))
            for seat, name in enumerate(NAMES)
        ]
        for name, guest in guests:
            guest.result()
            print(f"{name} has eaten {arguments.meals} times")
    except LockOrderViolation as error:
        sys.exit(f"{name} was refused: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
    finally:
        over.set()
        table.shutdown()


if __name__ == "__main__":
    main()
