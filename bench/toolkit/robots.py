"""The hosts that have fetched /robots.txt, from COUNT lines of gzipped access logs."""

from __future__ import annotations

import gzip
import random
import sys
import tempfile
from pathlib import Path

import recipes
from stdserve.concurrent import matching_lines

#: Over how many files the lines are spread: the days of a week and the present one.
FILES = 8
#: One line in so many asks for /robots.txt, and as many mention it elsewhere.
RARE = 500

PATHS = [
    f"/{folder}/{number}.{kind}"
    for folder in ("assets", "pages")
    for number in range(200)
    for kind in ("html", "css")
]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile",
    "Mozilla/5.0 (compatible; ExampleBot/2.1; +https://bot.example/bot.html)",
]


def folder(count: int) -> Path:
    """Where the logs of so many lines are, and what is in them."""
    return Path(tempfile.gettempdir(), f"stdserve-robots-{count}")


def prepare(count: int) -> None:
    """Writes the logs, the same each time, and beside them the hosts that are to be found."""
    source = random.Random(count)
    where = folder(count)
    where.mkdir()
    expected = set()
    for number in range(FILES):
        with gzip.open(where / f"access-{number}.log.gz", "wt", encoding="ascii") as log:
            for line in range(count * number // FILES, count * (number + 1) // FILES):
                host = f"198.51.{source.randrange(100)}.{source.randrange(256)}"
                path, referer = source.choice(PATHS), "https://example.org" + source.choice(PATHS)
                what = source.randrange(RARE)
                if what == 0:
                    path = "/robots.txt"
                    expected.add(host)
                elif what == 1:
                    referer = "https://example.org/robots.txt"
                clock = f"{line // 3600 % 24:02}:{line // 60 % 60:02}:{line % 60:02}"
                when = f"{number + 1:02}/Nov/2026:{clock} +0000"
                sent = f"{source.choice((200, 200, 200, 304, 404))} {source.randrange(100_000)}"
                agent = source.choice(AGENTS)
                log.write(f'{host} - - [{when}] "GET {path} HTTP/1.1" {sent} "{referer}" "{agent}"\n')
    (where / "expected").write_text("\n".join(sorted(expected)))


def ours(logs: Path) -> set[str]:
    """By native threads that look for the path, and Python for the lines that have it."""
    found = set()
    for _, line in matching_lines(sorted(logs.glob("*.log.gz")), b"/robots.txt", ordered=False):
        fields = line.split()
        if fields[6] == b"/robots.txt":
            found.add(fields[0].decode("ascii"))
    return found


def main() -> None:
    side, count = sys.argv[1], int(sys.argv[2])
    if side == "prepare":
        prepare(count)
        return
    logs = folder(count)
    found = ours(logs) if side == "ours" else recipes.find_all_robots(str(logs))
    if found != set((logs / "expected").read_text().split()):
        sys.exit(f"{side}: other hosts were found than there are")


if __name__ == "__main__":
    main()
