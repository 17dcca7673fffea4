"""Generators for the tests of `TaskScheduler`."""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

from stdserve.concurrent import readable

Steps = Generator[Any, Any, Any]


def receive(sock: socket.socket, size: int = 1000) -> Steps:
    yield readable(sock)
    return sock.recv(size)


def nothing() -> Steps:
    yield
    return None
