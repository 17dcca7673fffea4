"""COUNT messages to an actor in a thread, which adds them up."""

from __future__ import annotations

import sys
from typing import Any

import recipes
from stdserve.concurrent import Actor


class Ours(Actor[int]):
    total = 0

    def run(self) -> None:
        while True:
            self.total += self.recv()


class Recipe(recipes.Actor):
    total = 0

    def run(self) -> None:
        while True:
            self.total += self.recv()


def main() -> None:
    side, count = sys.argv[1], int(sys.argv[2])
    actor: Any = Ours() if side == "ours" else Recipe()
    actor.start()
    for number in range(count):
        actor.send(number)
    actor.close()
    actor.join()
    if actor.total != sum(range(count)):
        sys.exit(f"{side}: {actor.total} in place of {sum(range(count))}")


if __name__ == "__main__":
    main()
