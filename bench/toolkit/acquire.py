"""COUNT times one lock, two locks, and one lock within the block of another; nobody else wants them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import recipes
from stdserve.concurrent import acquire


def work(take: Callable[..., AbstractContextManager[Any]], count: int) -> int:
    # The recipe wants them nested by their addresses.
    first, second = sorted((threading.Lock(), threading.Lock()), key=id)
    done = 0
    for _ in range(count):
        with take(first):
            done += 1
        with take(second, first):
            done += 1
        with take(first):
            with take(second):
                done += 1
    return done


def main() -> None:
    side, count = sys.argv[1], int(sys.argv[2])
    done = work(acquire if side == "ours" else recipes.acquire, count)
    if done != 3 * count:
        sys.exit(f"{side}: {done} in place of {3 * count}")


if __name__ == "__main__":
    main()
