"""examples/daemon.py: started, found, refused a second time, stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from stdserve.concurrent import daemon_pid

from support import proc
from support.examples import call
from support.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of a daemon that ends with the test."""
    yield tmp_path
    pid = daemon_pid(tmp_path / "daemon.pid")
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def order(verb: str, folder: Path) -> tuple[int, str, str]:
    done = call("daemon.py", verb, "--folder", str(folder))
    return done.returncode, done.stdout, done.stderr


def test_a_daemon_is_started_found_and_stopped(folder: Path) -> None:
    """Each command says how it went, and nothing has to be waited for in between."""
    assert order("status", folder) == (3, "nothing runs\n", "")
    assert order("stop", folder) == (0, "nothing runs\n", "")
    assert order("start", folder) == (0, "", "")
    pid = daemon_pid(folder / "daemon.pid")
    assert pid is not None
    assert order("status", folder) == (0, f"runs as process {pid}\n", "")
    code, _, said = order("start", folder)
    assert (code, said) == (1, f"not started: {folder}/daemon.pid is held by process {pid}, which runs\n")
    log = folder / "daemon.log"
    until(lambda: "alive" in log.read_text(), "it works")
    assert order("stop", folder) == (0, "stopped\n", "")
    assert not proc.alive(pid)
    assert not (folder / "daemon.pid").exists()
    assert re.fullmatch(rf"process {pid} has started\n(alive [\d:]+\n)+ended\n", log.read_text())


def test_a_daemon_that_was_killed_is_not_missed(folder: Path) -> None:
    """Its file is left behind: that keeps nobody from starting, and nobody is signalled for it."""
    order("start", folder)
    pid = daemon_pid(folder / "daemon.pid")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not proc.alive(pid), "it has ended")
    (folder / "daemon.pid").write_text(f"{os.getpid()}\n")
    assert order("stop", folder) == (0, "nothing runs\n", "")
    assert order("start", folder) == (0, "", "")
    assert order("stop", folder) == (0, "stopped\n", "")


def test_a_daemon_that_cannot_be_started_says_why(folder: Path) -> None:
    """Without a traceback."""
    code, _, said = order("start", folder / "missing")
    assert (code, said.count("\n"), "No such file" in said) == (1, 1, True)
    (folder / "daemon.pid").write_text("precious\n")
    for verb in ("start", "status", "stop"):
        code, _, said = order(verb, folder)
        assert (code, "left alone" in said) == (1, True)
    (folder / "daemon.pid").unlink()
