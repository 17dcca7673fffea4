"""What an import leaves behind that forked workers cannot use or share, and which module made it.

The native half (crates/python/src/preload.rs) calls `heard` for audit events (PEP 578) while an import is
watched. Objects of Python are known by these. What native code makes is seen in /proc/self: at each import it
is looked what is new there, and that belongs to the module that had the word since the last one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
import time
import weakref
from types import FrameType
from typing import Any

__all__ = ["Watch", "begin", "heard", "is_watching"]

#: Whoever stands in these is not who wanted it.
_BETWEEN = frozenset(
    [
        "asyncio",
        "concurrent",
        "importlib",
        "multiprocessing",
        "selectors",
        "socket",
        "ssl",
        "stdserve",
        "threading",
    ]
)

_watch: Watch | None = None


def begin() -> Watch:
    """Watch from now on."""
    global _watch
    _watch = Watch()
    threading.Thread.start = _started  # type: ignore[method-assign,assignment]
    return _watch


def is_watching() -> bool:
    """Whether an import is watched in this process: workers have no threads of it, and share the rest."""
    return _watch is not None and os.getpid() == _watch.pid


_start = threading.Thread.start


def _started(thread: threading.Thread) -> None:
    """`Thread.start` while an import is watched: not every Python has an audit event for it."""
    if _watch is not None:
        _watch.starts.append((thread, _site()))
    _start(thread)


def heard(event: str, args: tuple[Any, ...] | None) -> None:
    """Take in an audit event."""
    if _watch is not None and os.getpid() == _watch.pid:
        _watch.heard(event, args or ())


class Watch:
    """An import that is watched."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._busy = False
        self._threads = dict.fromkeys(_threads(), "")
        self._descriptors = dict.fromkeys(_descriptors(), "")
        #: Sockets of Python, and who made them.
        self._sockets: dict[int, tuple[weakref.ref[Any], str]] = {}
        #: Threads of Python, and who started them.
        self.starts: list[tuple[threading.Thread, str]] = []

    def heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            if event == "import":
                self._look()
            else:
                with contextlib.suppress(TypeError):
                    self._sockets[id(args[0])] = (weakref.ref(args[0]), _site())
        finally:
            self._busy = False

    def _look(self) -> None:
        """What is new belongs to who has the word, if anybody has."""
        site = _site()
        for thread in _threads():
            self._threads.setdefault(thread, site)
        for descriptor in _descriptors():
            self._descriptors.setdefault(descriptor, site)

    def left(self) -> list[str]:
        """What was left behind, a line each."""
        global _watch
        self._busy = True
        _watch = None
        if threading.Thread.start is _started:
            threading.Thread.start = _start  # type: ignore[method-assign]
        loops, of_loops = self._loops()
        return [*self._left_threads(), *self._left_sockets(of_loops), *loops, *self._left_pollers(of_loops)]

    def _left_threads(self) -> list[str]:
        found = []
        by_id = {thread.native_id: thread for thread in threading.enumerate()}
        # The kernel still shows one that has just been joined.
        for _ in range(20):
            if all(number in by_id or self._threads.get(number) == "" for number in _threads()):
                break
            time.sleep(0.01)
        for number in _threads():
            thread = by_id.get(number)
            if number == self.pid or self._threads.get(number) == "":
                continue
            if thread is None:
                with contextlib.suppress(OSError), open(f"/proc/self/task/{number}/comm") as file:
                    name = file.read().strip()
                    found.append(f"native thread `{name}`{_by(self._threads.get(number))}")
                continue
            target = getattr(thread, "_target", None)
            what = type(thread) if target is None else getattr(target, "__func__", target)
            inside = ".".join(
                str(part)
                for part in (getattr(what, "__module__", None), getattr(what, "__qualname__", None))
                if part
            )
            site = next((site for owner, site in self.starts if owner is thread), None)
            inside = f" ({inside})" if inside else ""
            found.append(f"thread `{thread.name}`{inside}{_by(site or self._threads.get(number))}")
        return found

    def _left_sockets(self, of_loops: set[int]) -> list[str]:
        owners = {}
        for reference, site in self._sockets.values():
            owner = reference()
            if owner is not None and owner.fileno() >= 0:
                owners[owner.fileno()] = site
        found = []
        for (number, _), site in self._new("socket:"):
            if number in of_loops:
                continue
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as copy:
                what = _stream(copy)
                if what:
                    found.append(f"{what}{_by(owners.get(number) or site)}")
        return found

    def _left_pollers(self, of_loops: set[int]) -> list[str]:
        return [
            f"epoll descriptor {number}{_by(site)}"
            for (number, link), site in self._new("anon_inode:[eventpoll]")
            if number not in of_loops
        ]

    def _loops(self) -> tuple[list[str], set[int]]:
        """The event loops that are open, and the descriptors that are theirs."""
        events = sys.modules.get("asyncio.events")
        if events is None:
            return [], set()
        found, descriptors = [], set()
        for loop in gc.get_objects():
            # What lies about may say anything of its class.
            if not issubclass(type(loop), events.AbstractEventLoop) or loop.is_closed():
                continue
            site = None
            for name in ("_ssock", "_csock"):
                own = getattr(loop, name, None)
                if own is not None:
                    descriptors.add(own.fileno())
                    site = site or self._sockets.get(id(own), (None, None))[1]
            selector = getattr(loop, "_selector", None)
            with contextlib.suppress(Exception):
                descriptors.add(selector.fileno())  # type: ignore[union-attr]
            kind = type(loop)
            found.append(f"event loop {kind.__module__}.{kind.__qualname__}{_by(site)}")
        return found, descriptors

    def _new(self, kind: str) -> list[tuple[tuple[int, str], str]]:
        """The descriptors of a kind that were not there, and who had the word when they came."""
        return [
            (one, self._descriptors.get(one, "?"))
            for one in _descriptors()
            if one[1].startswith(kind) and self._descriptors.get(one) != ""
        ]


def _stream(one: socket.socket) -> str | None:
    """What a socket is, where it is one of connections and in use."""
    if one.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        return None
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if one.family not in families:
        return None
    if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return f"listening socket at {_address(one.getsockname())}"
    try:
        peer = one.getpeername()
    except OSError:
        return None
    return f"connection to {_address(peer) if peer else 'another end of this process'}"


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    return os.fsdecode(address)


def _by(site: str | None) -> str:
    return f", made by {site}" if site and site != "?" else ""


def _site() -> str:
    """Who wanted it: the innermost frame outside of the libraries that stand between."""
    frame: FrameType | None = sys._getframe(1)
    first = None
    while frame is not None:
        name = frame.f_globals.get("__name__", "?")
        file = frame.f_code.co_filename
        if not file.startswith("<frozen ") and name.partition(".")[0] not in _BETWEEN:
            first = f"{name} ({file}:{frame.f_lineno})"
            break
        frame = frame.f_back
    return first or "?"


def _threads() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc/self/task"))


def _descriptors() -> list[tuple[int, str]]:
    """Sockets and pollers that are open: number and what it leads to."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{name}")
            if link.startswith(("socket:", "anon_inode:[eventpoll]")):
                found.append((int(name), link))
    return sorted(found)
