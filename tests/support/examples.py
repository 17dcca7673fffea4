"""The programs of examples/, started as their reader would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import proc
from .serving import Log, clean_environment
from .waiting import PATIENCE, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

#: The line that says where an example listens.
LISTENS = re.compile(r"listening on (?:http://)?([0-9.]+):([0-9]+)")


class Example:
    """A program of examples/ that runs."""

    def __init__(self, name: str, *arguments: str) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *arguments],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(writing)
        self.log = Log(reading)

    @property
    def address(self) -> tuple[str, int]:
        """Where it says that it listens."""
        match = self.log.wait(LISTENS)
        return match[1], int(match[2])

    def interrupt(self) -> str:
        """Ctrl-C: it ends by itself, without a traceback, and leaves no process. What it has printed."""
        os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(PATIENCE)
        until(lambda: not proc.of_session(self.process.pid), "none of its processes is left")
        text = self.log.wait_end()
        assert (code, "Traceback" in text) == (0, False), text
        return text

    def kill(self) -> None:
        """Take away what is left."""
        for one in proc.of_session(self.process.pid):
            os.kill(one.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


@contextmanager
def running(name: str, *arguments: str) -> Iterator[Example]:
    """An example that runs until the block ends, and then has to end well by Ctrl-C."""
    example = Example(name, *arguments)
    try:
        yield example
        if example.process.poll() is None:
            example.interrupt()
    finally:
        example.kill()


def call(name: str, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=clean_environment(),
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
