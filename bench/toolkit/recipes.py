"""Recipes of chapter 12 of the Python Cookbook (3rd edition), as printed; README.md has the book.

There are types; nothing else is changed.
"""

from __future__ import annotations

import glob
import gzip
import io
from concurrent import futures

# 12.8. Performing Simple Parallel Programming


def find_robots(filename: str) -> set[str]:
    """
    Find all of the hosts that access robots.txt in a single log file
    """
    robots = set()
    with gzip.open(filename) as f:
        for line in io.TextIOWrapper(f, encoding="ascii"):
            fields = line.split()
            if fields[6] == "/robots.txt":
                robots.add(fields[0])
    return robots


def find_all_robots(logdir: str) -> set[str]:
    """
    Find all hosts across and entire sequence of files
    """
    files = glob.glob(logdir + "/*.log.gz")
    all_robots = set()
    with futures.ProcessPoolExecutor() as pool:
        for robots in pool.map(find_robots, files):
            all_robots.update(robots)
    return all_robots
