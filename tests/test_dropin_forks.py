"""Programs that serve with the drop-in modules' engine, and fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "apps" / "dropin_forks.py"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        pytest.param("stale", ["closed in the child: 0"], id="stale_guard_a_child_keeps_what_it_has"),
        pytest.param(
            "child_serves",
            ["child: 0", "child: 0", "child: 0", "parent goes on: True"],
            id="a_child_has_servers_of_its_own",
        ),
        pytest.param("left", ["one is left of each: False"], id="serving_leaves_no_descriptor_behind"),
    ],
)
def test_a_program_that_forks(what: str, says: list[str]) -> None:
    """The child of a program that serves is no server, and no worse off for it."""
    done = subprocess.run([sys.executable, str(PROGRAM), what], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == says, done.stderr
    assert done.returncode == 0
