"""Applications that a test defines within itself, served in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import stdserve

from .wire import Client

App = Callable[[dict[str, Any], Any], Any]


class Host:
    """One server; each test puts its application in."""

    def __init__(self) -> None:
        self.app: App = lambda environ, start_response: []
        self.server = stdserve.Server(lambda e, s: self.app(e, s), bind="127.0.0.1:0", threads=4)
        self.server.start()

    def client(self, app: App) -> Client:
        """A connection to a server of this application."""
        self.app = app
        return Client(self.server.address)
