"""Checks licences, bans and sources of all dependencies against deny.toml, with Python and cargo alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def allowed(expression: str, names: set[str]) -> bool:
    """Whether an SPDX expression can be met with `names`. `WITH` binds tightest, then `AND`, then `OR`."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    position = 0

    def either() -> bool:
        nonlocal position
        met = both()
        while position < len(tokens) and tokens[position] in ("OR", "/"):
            position += 1
            met = both() or met
        return met

    def both() -> bool:
        nonlocal position
        met = one()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            met = one() and met
        return met

    def one() -> bool:
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            met = either()
            position += 1
            return met
        if position < len(tokens) and tokens[position] == "WITH":
            token = f"{token} WITH {tokens[position + 1]}"
            position += 2
        return token in names

    return either()


def main() -> int:
    """Prints what is wrong, one line each; the number of lines decides."""
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    names = set(rules["licenses"]["allow"])
    banned = {ban["name"] for ban in rules["bans"]["deny"]}
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    for target in rules["graph"]["targets"]:
        command += ["--filter-platform", target]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)[
        "packages"
    ]
    wrong = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            wrong.append(f"{name}: banned")
        if package["source"] not in (None, CRATES_IO):
            wrong.append(f"{name}: from {package['source']}")
        if not package["license"] or not allowed(package["license"], names):
            wrong.append(f"{name}: licence {package['license']}")
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"licences, bans and sources of {len(packages)} crates: {len(wrong) or 'nothing'} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
