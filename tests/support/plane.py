"""The operations plane, as its clients see it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .serving import APPS, clean_environment, command
from .waiting import PATIENCE, until
from .wire import Client, Response

#: The field without which no order is taken.
OWN = [("X-Stdserve", "1")]


class Plane:
    """The plane of a server that was started with this plane's `option`."""

    def __init__(self, address: Path | tuple[str, int]) -> None:
        self.address = address

    @property
    def option(self) -> str:
        """The value of `--admin`."""
        if isinstance(self.address, Path):
            return f"unix:{self.address}"
        host, port = self.address
        return f"{host}:{port}"

    def client(self) -> Client:
        """A new connection."""
        return Client(str(self.address) if isinstance(self.address, Path) else self.address)

    def ask(self, target: str, method: str = "GET", fields: list[tuple[str, str]] | None = None) -> Response:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.ask(target, method, fields or [])

    def get(self, target: str) -> dict[str, Any]:
        """A document."""
        answer = self.ask(target)
        assert answer.status == 200, answer
        assert answer.get("Content-Type") == "application/json"
        document: dict[str, Any] = json.loads(answer.text)
        return document

    def order(self, target: str) -> Response:
        """An order, given as it must be."""
        return self.ask(target, "POST", OWN)

    def wait(
        self, check: Callable[[dict[str, Any]], object], what: str, target: str = "/status"
    ) -> dict[str, Any]:
        """The document, once it is there and so."""

        def look() -> dict[str, Any] | None:
            try:
                document = self.get(target)
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            return document if check(document) else None

        found = until(look, what)
        assert found is not None
        return found


def pids(status: dict[str, Any], state: str = "ready") -> set[int]:
    """The workers in this state."""
    return {worker["pid"] for worker in status["workers"] if worker["state"] == state}


def ctl(
    *words: str, env: dict[str, str] | None = None, program: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `stdserve ctl`."""
    return subprocess.run(
        [*(program or command()), "ctl", *words],
        env=clean_environment(env),
        cwd=APPS,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )
