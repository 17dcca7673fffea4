"""Connections that threads do not share (Python Cookbook, 12.6)."""

from __future__ import annotations

import contextlib
import operator
import os
import socket
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, overload

from stdserve._stdserve import never_free

__all__ = ["ThreadLocalConnection"]

C = TypeVar("C")

#: What `socket.socket.connect` takes: host and port, or the path of a Unix socket.
Address = tuple[str, int] | str


class ThreadLocalConnection(Generic[C]):
    """Gives each thread a connection of its own, for the time of a block.

    `source`: what makes one, without arguments; or an address, a host with a port or the path of a Unix
    socket, for TCP or Unix stream sockets.

    `nested`: what a block within a block of the same thread gets, the `"same"` connection or a `"fresh"` one.
    `keep`: whether a connection is used again by the thread's next block, or closed with its own as in the
    Cookbook. `close`: closes one; without it `connection.close()` does. What closing raises is lost.

    A connection is not used again when its block was left by an exception, since nobody knows what state it
    is in, unless by one of `keep_after`. It is closed in the end: with its thread, by `close()`, or with this
    object. A forked child makes connections of its own, and never touches, closes or frees those of its
    parent.
    """

    @overload
    def __init__(
        self: ThreadLocalConnection[socket.socket],
        source: Address,
        *,
        nested: Literal["same", "fresh"] = "same",
        keep: bool = True,
        close: Callable[[socket.socket], object] | None = None,
        keep_after: tuple[type[BaseException], ...] = (),
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[], C],
        *,
        nested: Literal["same", "fresh"] = "same",
        keep: bool = True,
        close: Callable[[C], object] | None = None,
        keep_after: tuple[type[BaseException], ...] = (),
    ) -> None: ...
    def __init__(
        self,
        source: Address | Callable[[], C],
        *,
        nested: Literal["same", "fresh"] = "same",
        keep: bool = True,
        close: Callable[..., object] | None = None,
        keep_after: tuple[type[BaseException], ...] = (),
    ) -> None:
        if nested not in ("same", "fresh"):
            raise ValueError(f"nested must be 'same' or 'fresh', not {nested!r}")
        if not callable(source) and not isinstance(source, (str, bytes, tuple)):
            raise TypeError(f"a function or an address is wanted, not {type(source).__name__}")
        self._make: Callable[[], Any] = source if callable(source) else _Connect(source)
        self._fresh = nested == "fresh"
        self._keep = keep
        self._close: Callable[..., object] = close or operator.methodcaller("close")
        self._keep_after = keep_after
        self._closed = False
        self._local = threading.local()
        #: What the threads have, for `close()`. Only changed by single calls of C code, so that it needs no
        #: lock.
        self._owners: set[weakref.ref[_Own[C]]] = set()

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._closed

    def __enter__(self) -> C:
        if self._closed:
            raise RuntimeError("these connections were closed")
        own = self._own()
        connection: C
        if own.used and not self._fresh:
            connection = own.used[-1]
        else:
            try:
                connection = own.idle.pop()
            except IndexError:
                connection = self._make()
        own.used.append(connection)
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        own = self._own()
        if not own.used:
            # Forked amid the block: the connection is the parent's.
            return
        connection = own.used.pop()
        broken = kind is not None and not issubclass(kind, self._keep_after)
        if own.used and not self._fresh:
            # The block around this one has it still.
            own.broken |= broken
            return
        broken, own.broken = broken or own.broken, False
        if self._keep and not broken and not self._closed:
            own.idle.append(connection)
        else:
            own.discard(connection)

    def close(self) -> None:
        """Closes what no block uses now; the rest is closed by its blocks. None can be entered any more.

        A connection that only its own thread may close, as those of sqlite3, is closed when that thread ends.
        """
        self._closed = True
        for reference in self._owners.copy():
            own = reference()
            if own is not None and own.pid == os.getpid():
                own.close_idle()

    def _own(self) -> _Own[C]:
        own: _Own[C] | None = getattr(self._local, "own", None)
        if own is None or own.pid != os.getpid():
            own = self._local.own = _Own(self._close)
            self._owners.add(weakref.ref(own, self._owners.discard))
        return own


class _Own(Generic[C]):
    """The connections of one thread in one process; ends with the thread."""

    def __init__(self, close: Callable[[C], object]) -> None:
        self.pid = os.getpid()
        #: Those of the blocks that the thread is in, the innermost last.
        self.used: list[C] = []
        self.idle: list[C] = []
        #: An inner block was left by an exception while an outer one uses its connection.
        self.broken = False
        self._close = close

    def discard(self, connection: C) -> None:
        """Closes it. It may well be broken, so that this fails."""
        with contextlib.suppress(Exception):
            self._close(connection)

    def close_idle(self) -> None:
        """Closes those that can be closed, on whatever thread."""
        refused = []
        while True:
            try:
                connection = self.idle.pop()
            except IndexError:
                break
            try:
                self._close(connection)
            except Exception:
                refused.append(connection)
        self.idle += refused

    def __del__(self) -> None:
        for connections in (self.used, self.idle):
            while connections:
                # One by one: weak references lead here still, and `close()` may be at it in another thread.
                connection = connections.pop()
                if self.pid == os.getpid():
                    self.discard(connection)
                else:
                    _forsake(connection)


def _forsake(connection: object) -> None:
    """In a child: to close a connection of its parent could end that there, and so could the object's end."""
    if isinstance(connection, socket.socket):
        # This descriptor alone; the parent has its own.
        connection.close()
    else:
        never_free(connection)


class _Connect:
    """Connects to an address."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def __call__(self) -> socket.socket:
        if isinstance(self._address, tuple):
            return socket.create_connection(self._address)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._address)
        except BaseException:
            connection.close()
            raise
        return connection
