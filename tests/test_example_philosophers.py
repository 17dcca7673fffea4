"""examples/philosophers.py: all eat; or the wrong order is refused, with all that is needed to mend it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess

from support.examples import EXAMPLES, Example, call
from support.waiting import PATIENCE, until


def test_all_philosophers_finish() -> None:
    done = call("philosophers.py", "--meals", "300")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == ["has eaten 300 times"] * 5


def test_the_wrong_order_is_refused_and_both_chopsticks_and_lines_are_named() -> None:
    """Whoever closes the circle; the four other nestings are the opposite order."""
    done = call("philosophers.py", "--wrong", "--meals", "1")
    assert done.returncode == 1
    path = re.escape(str(EXAMPLES / "philosophers.py"))
    name, stick = r"(\w+)", r"the chopstick between (\w+ and \w+)"
    at = rf"    at {path}:\d+, in dine_wrongly: with acquire\(right\):"
    since = rf"    from {path}:\d+, in dine_wrongly: with acquire\(left\):"
    lines = done.stderr.splitlines()
    text = "\n".join(lines[:5])
    refused = re.fullmatch(
        rf"{name} was refused: {stick} is wanted\n{at}\n  while {stick} is held\n{since}\n"
        r"The opposite order was seen:",
        text,
    )
    assert refused, done.stderr
    who, wanted, held = refused.groups()
    assert who in wanted
    assert who in held
    step = rf"  thread 'philosopher_\d' had {stick}\n{since}\n  when it wanted {stick}\n{at}\n"
    steps = re.findall(step, "\n".join(lines[5:]) + "\n")
    assert len(steps) == 4
    assert (steps[0][0], steps[-1][1]) == (wanted, held)
    assert all(one[1] == following[0] for one, following in itertools.pairwise(steps))


def test_wrong_usage_is_told() -> None:
    for meals in ("many", "0"):
        done = call("philosophers.py", "--meals", meals)
        assert (done.returncode, done.stderr.startswith("usage: ")) == (2, True)


def test_ctrl_c_does_not_wait_until_all_have_eaten() -> None:
    """The pool's end waited for them, and a second Ctrl-C left a process that went on."""
    example = Example("philosophers.py", "--meals", "1000000000")
    try:
        tasks = f"/proc/{example.process.pid}/task"
        until(lambda: len(os.listdir(tasks)) > 5, "all sit at the table")
        # A signal that comes just before the main thread waits for a lock is seen with the next one.
        for _ in range(3):
            os.kill(example.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                example.process.wait(PATIENCE / 3)
                break
        assert example.process.poll() == 1
        assert example.log.wait_end() == "interrupted\n"
    finally:
        example.kill()
