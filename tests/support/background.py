"""Servers in the background, and the verbs that speak to them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import proc
from .serving import APPS, LISTENS, PANIC, clean_environment, command
from .waiting import until
from .wire import Client, Response


class Background:
    """A server that is started by `stdserve start`, found by its pid file, and ended with the test."""

    def __init__(self, folder: Path, *options: str, cwd: Path = APPS) -> None:
        self.folder, self.cwd = folder, cwd
        self.pid_file, self.log = folder / "server.pid", folder / "server.log"
        self.options = [
            "--pid",
            str(self.pid_file),
            "--error-logfile",
            str(self.log),
            "--workers=1",
            *options,
        ]

    def verb(
        self, verb: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the verbs to its end."""
        return subprocess.run(
            [*command(), verb, *arguments],
            cwd=self.cwd,
            env=clean_environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(
        self, app: str = "shapes:app", *more: str, verb: str = "start", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`stdserve start`, on a free port."""
        bind = (
            []
            if any(word.startswith("--bind") for word in [*self.options, *more])
            else ["--bind=127.0.0.1:0"]
        )
        return self.verb(verb, app, *bind, *self.options, *more, env=env)

    def speak(self, verb: str) -> subprocess.CompletedProcess[str]:
        """`stop`, `reload` or `status`."""
        return self.verb(verb, "--pid", str(self.pid_file))

    @property
    def pid(self) -> int:
        """The supervisor, as its file says."""
        return int(self.pid_file.read_text())

    @property
    def text(self) -> str:
        """The error log."""
        return self.log.read_text()

    def wait_log(self, pattern: str) -> None:
        """Wait until the log holds the pattern."""
        until(lambda: re.search(pattern, self.text), f"{pattern} in the log")

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: the last that its log says."""
        match = list(LISTENS.finditer(self.text))[-1]
        return match[1], int(match[2])

    def get(self, target: str = "/hello") -> Response:
        """One request on a connection of its own."""
        with Client(self.address) as client:
            return client.ask(target)

    def clean_up(self) -> None:
        """End it, and complain where that cannot be done in the orderly way."""
        pids = [proc.stat(int(file.read_text() or 0)) for file in self.folder.glob("server.pid*")]
        done = self.speak("stop")
        for one in pids:
            if one and proc.alive(one.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
        assert done.returncode == 0, done.stderr
        assert not self.log.exists() or not PANIC.search(self.text)
