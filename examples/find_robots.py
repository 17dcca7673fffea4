"""Which hosts have fetched /robots.txt? Reads a folder of access logs, gzipped or not, with all CPUs.

    python examples/find_robots.py /var/log/apache2      # all files access.log* of that folder
    python examples/find_robots.py logs --name '*.gz'    # files of other names
    python examples/find_robots.py --sample logs         # no logs at hand? this writes some into ./logs

It prints the hosts, sorted, one a line; and on the standard error how many lines Python has seen.

Native threads read the files, inflate them and look for the text; Python sees only the few lines that
contain it, and decides. Recipe 12.8 of the Python Cookbook does the same with a pool of processes that read
every line.
"""

from __future__ import annotations

import argparse
import gzip
import random
import sys
from collections.abc import Iterable
from pathlib import Path

from stdserve.concurrent import matching_lines

#: What is asked for.
PATH = b"/robots.txt"


def find_robots(paths: Iterable[Path]) -> tuple[set[str], int]:
    """The hosts that have asked for PATH, and how many lines mention it at all."""
    hosts = set()
    mentions = 0
    # The order of the lines does not matter to a set.
    for _, line in matching_lines(paths, PATH, ordered=False):
        mentions += 1
        # 192.0.2.7 - - [21/Nov/2026:11:14:06 +0000] "GET /robots.txt HTTP/1.1" 200 68 "-" "ExampleBot/1.0"
        fields = line.split(maxsplit=7)
        if len(fields) > 6 and fields[6].partition(b"?")[0] == PATH:
            hosts.add(fields[0].decode("ascii", "backslashreplace"))
    return hosts, mentions


def write_sample(folder: Path) -> None:
    """Writes three small gzipped logs, the same each time."""
    source = random.Random(12.8)
    folder.mkdir(parents=True, exist_ok=True)
    for day in range(1, 4):
        with gzip.open(folder / f"access.log.{day}.gz", "wt", encoding="ascii") as log:
            for second in range(2000):
                host = f"192.0.2.{source.randrange(1, 255)}"
                path = "/robots.txt" if source.random() < 0.003 else f"/page/{source.randrange(50)}"
                referer = "https://example.org/robots.txt" if source.random() < 0.003 else "-"
                when = f"{day:02}/Nov/2026:12:{second // 60:02}:{second % 60:02} +0000"
                size = source.randrange(9999)
                log.write(f'{host} - - [{when}] "GET {path} HTTP/1.1" 200 {size} "{referer}" "-"\n')


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints the hosts that have fetched /robots.txt.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--name", default="access.log*", help="which files of the folder; default: %(default)s"
    )
    parser.add_argument("--sample", action="store_true", help="write sample logs into the folder first")
    arguments = parser.parse_args()
    try:
        if arguments.sample:
            write_sample(arguments.folder)
        paths = sorted(path for path in arguments.folder.glob(arguments.name) if path.is_file())
        if not paths:
            sys.exit(f"no files {arguments.name} in {arguments.folder}; --sample writes some")
        hosts, mentions = find_robots(paths)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
    print(*sorted(hosts), sep="\n")
    print(
        f"{len(hosts)} hosts; {mentions} lines of {len(paths)} files mention {PATH.decode()}", file=sys.stderr
    )


if __name__ == "__main__":
    main()
