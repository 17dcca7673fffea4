"""Objects whose methods are called: by `stdserve rpc`."""

from __future__ import annotations

import datetime
import os
import sys
import threading
from os import getpid  # what a module imports is not offered
from typing import Any
from xmlrpc.client import Fault


class Part:
    """An attribute of an object: nothing that leads to it may be called."""

    def inner(self) -> str:
        return "reached"


class Shop:
    """Methods of all kinds."""

    part = Part()
    limit = 5

    class Nested:
        """A class is no method."""

    def add(self, x: int, y: int) -> int:
        """Adds two numbers.

        <b>Both</b> are integers.
        """
        return x + y

    def echo(self, value: Any) -> Any:
        return value

    def kind(self, value: Any) -> str:
        return type(value).__name__

    def greet(self, name: str, greeting: str = "Hello") -> str:
        return f"{greeting}, {name}"

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def refuse(self) -> None:
        raise Fault(42, "not <today>")

    def wrong_inside(self) -> int:
        return len(5)  # type: ignore[arg-type]

    def leave(self) -> None:
        raise SystemExit("no")

    def thing(self) -> Any:
        return threading.Lock()

    def chr(self, code: int) -> str:
        return chr(code)

    def when(self) -> datetime.datetime:
        return datetime.datetime(2026, 1, 2, 3, 4, 5)

    def rows(self, count: int) -> list[dict[str, Any]]:
        return [{"id": row, "name": f"row {row}", "price": row * 1.25} for row in range(count)]

    def who(self) -> int:
        return os.getpid()

    def _hidden(self) -> str:
        return "reached"

    @property
    def costly(self) -> Any:
        raise RuntimeError("properties are not looked at")


shop = Shop()

functions = {"double": lambda x: 2 * x, "pid": getpid}
bad_name = {"a.b": len}
empty: dict[str, Any] = {}


class Async:
    async def later(self) -> None: ...


asynchronous = Async()


def triple(x: int) -> int:
    return 3 * x


def _private() -> None: ...


own = sys.modules[__name__]
