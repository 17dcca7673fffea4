# Derived from CPython's Lib/selectors.py: Copyright (c) 2001 Python Software Foundation; All Rights Reserved.
# Used under the PSF License Agreement, see LICENSE-PSF.
"""Waiting for many sockets at once: the standard library's `selectors`, on Linux, with `DefaultSelector` in
Rust.

    from stdserve import selectors  # in place of: import selectors

Everything is as documented in https://docs.python.org/3/library/selectors.html. `KqueueSelector` and
`DevpollSelector` are not there, as in the standard library on Linux.
"""

from __future__ import annotations

import math
import select
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from stdserve._stdserve import epoll_select

if TYPE_CHECKING:
    from typing import Protocol, Self

    class _HasFileno(Protocol):
        def fileno(self) -> int: ...

    _FileObject: TypeAlias = int | _HasFileno

EVENT_READ = 1 << 0
"""There is something to read, or the other side has ended."""
EVENT_WRITE = 1 << 1
"""There is room to write."""


def _fileobj_to_fd(fileobj: _FileObject) -> int:
    """The descriptor of a file object; ValueError where there is none."""
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd


class SelectorKey(NamedTuple):
    """What is registered: the object, its descriptor, the events, and any data of the caller."""

    fileobj: Any
    """File object registered."""
    fd: int
    """Underlying file descriptor."""
    events: int
    """Events that must be waited for on this file object."""
    data: Any
    """Optional opaque data associated to this file object, for example a session."""


class _SelectorMapping(Mapping["_FileObject", SelectorKey]):
    """What is registered with a selector, by file object. Changes with it."""

    def __init__(self, selector: _BaseSelectorImpl) -> None:
        self._selector = selector

    def __len__(self) -> int:
        return len(self._selector._fd_to_key)

    def get(self, fileobj: _FileObject, default: Any = None) -> Any:
        fd = self._selector._fileobj_lookup(fileobj)
        return self._selector._fd_to_key.get(fd, default)

    def __getitem__(self, fileobj: _FileObject) -> SelectorKey:
        fd = self._selector._fileobj_lookup(fileobj)
        key = self._selector._fd_to_key.get(fd)
        if key is None:
            raise KeyError(f"{fileobj!r} is not registered")
        return key

    def __iter__(self) -> Iterator[int]:
        return iter(self._selector._fd_to_key)


class BaseSelector(metaclass=ABCMeta):
    """What every selector can do: wait until some of the registered file objects are ready for I/O.

    A file object is a descriptor, or an object with a `fileno()`.
    """

    @abstractmethod
    def register(self, fileobj: _FileObject, events: int, data: Any = None) -> SelectorKey:
        """Adds a file object, to be waited for until it is unregistered.

        `events` is made of `EVENT_READ` and `EVENT_WRITE`. Raises ValueError for other events and for what
        has no descriptor, KeyError for what is registered already, OSError for what the system cannot wait
        for.
        """
        raise NotImplementedError

    @abstractmethod
    def unregister(self, fileobj: _FileObject) -> SelectorKey:
        """Removes a file object, closed ones too. Raises KeyError for what is not registered."""
        raise NotImplementedError

    def modify(self, fileobj: _FileObject, events: int, data: Any = None) -> SelectorKey:
        """Changes the events or the data of a file object. Raises what `unregister` and `register` raise."""
        self.unregister(fileobj)
        return self.register(fileobj, events, data)

    @abstractmethod
    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Waits until something is ready, and returns it with its events.

        Waits at most `timeout` seconds, not at all where that is 0 or less, without end where it is None.
        The list is empty after a time-out.
        """
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 (a selector need not have anything to close)
        """Gives back what the selector holds. To be called at its end."""

    def get_key(self, fileobj: _FileObject) -> SelectorKey:
        """The key of a registered file object. Raises KeyError for others, RuntimeError after `close`."""
        mapping = self.get_map()
        if mapping is None:
            raise RuntimeError("Selector is closed")
        try:
            return mapping[fileobj]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    @abstractmethod
    def get_map(self) -> Mapping[_FileObject, SelectorKey] | None:
        """What is registered, by file object; None after `close`."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


class _BaseSelectorImpl(BaseSelector):
    """The bookkeeping that selectors share."""

    def __init__(self) -> None:
        self._fd_to_key: dict[int, SelectorKey] = {}
        self._map: _SelectorMapping | None = _SelectorMapping(self)

    def _fileobj_lookup(self, fileobj: _FileObject) -> int:
        """The descriptor of a file object; of a closed one, what it was when it was registered."""
        try:
            return _fileobj_to_fd(fileobj)
        except ValueError:
            for key in self._fd_to_key.values():
                if key.fileobj is fileobj:
                    return key.fd
            raise

    def register(self, fileobj: _FileObject, events: int, data: Any = None) -> SelectorKey:
        if (not events) or (events & ~(EVENT_READ | EVENT_WRITE)):
            raise ValueError(f"Invalid events: {events!r}")
        key = SelectorKey(fileobj, self._fileobj_lookup(fileobj), events, data)
        if key.fd in self._fd_to_key:
            raise KeyError(f"{fileobj!r} (FD {key.fd}) is already registered")
        self._fd_to_key[key.fd] = key
        return key

    def unregister(self, fileobj: _FileObject) -> SelectorKey:
        try:
            return self._fd_to_key.pop(self._fileobj_lookup(fileobj))
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def modify(self, fileobj: _FileObject, events: int, data: Any = None) -> SelectorKey:
        try:
            key = self._fd_to_key[self._fileobj_lookup(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None
        if events != key.events:
            self.unregister(fileobj)
            key = self.register(fileobj, events, data)
        elif data != key.data:
            key = key._replace(data=data)
            self._fd_to_key[key.fd] = key
        return key

    def close(self) -> None:
        self._fd_to_key.clear()
        self._map = None

    def get_map(self) -> Mapping[_FileObject, SelectorKey] | None:
        return self._map


class SelectSelector(_BaseSelectorImpl):
    """By select(2): descriptors below 1,024 only."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    _select: ClassVar[Any] = select.select

    def register(self, fileobj: _FileObject, events: int, data: Any = None) -> SelectorKey:
        key = super().register(fileobj, events, data)
        if events & EVENT_READ:
            self._readers.add(key.fd)
        if events & EVENT_WRITE:
            self._writers.add(key.fd)
        return key

    def unregister(self, fileobj: _FileObject) -> SelectorKey:
        key = super().unregister(fileobj)
        self._readers.discard(key.fd)
        self._writers.discard(key.fd)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        timeout = None if timeout is None else max(timeout, 0)
        ready: list[tuple[SelectorKey, int]] = []
        try:
            readable, writable, _ = self._select(self._readers, self._writers, [], timeout)
        except InterruptedError:
            return ready
        readable, writable = frozenset(readable), frozenset(writable)
        for fd in readable | writable:
            key = self._fd_to_key.get(fd)
            if key:
                events = (fd in readable and EVENT_READ) | (fd in writable and EVENT_WRITE)
                ready.append((key, events & key.events))
        return ready


class _PollLikeSelector(_BaseSelectorImpl):
    """What the selectors by poll(2) and epoll(7) share."""

    _selector_cls: ClassVar[Any] = None
    _EVENT_READ: ClassVar[int] = select.POLLIN
    _EVENT_WRITE: ClassVar[int] = select.POLLOUT

    def __init__(self) -> None:
        super().__init__()
        self._selector = self._selector_cls()

    def _polled(self, events: int) -> int:
        return (events & EVENT_READ and self._EVENT_READ) | (events & EVENT_WRITE and self._EVENT_WRITE)

    def register(self, fileobj: _FileObject, events: int, data: Any = None) -> SelectorKey:
        key = super().register(fileobj, events, data)
        try:
            self._selector.register(key.fd, self._polled(events))
        except BaseException:
            super().unregister(fileobj)
            raise
        return key

    def unregister(self, fileobj: _FileObject) -> SelectorKey:
        key = super().unregister(fileobj)
        try:  # noqa: SIM105 (this is called often)
            self._selector.unregister(key.fd)
        except OSError:
            # The descriptor was closed since.
            pass
        return key

    def modify(self, fileobj: _FileObject, events: int, data: Any = None) -> SelectorKey:
        try:
            key = self._fd_to_key[self._fileobj_lookup(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None
        changed = False
        if events != key.events:
            try:
                self._selector.modify(key.fd, self._polled(events))
            except BaseException:
                super().unregister(fileobj)
                raise
            changed = True
        if data != key.data:
            changed = True
        if changed:
            key = key._replace(events=events, data=data)
            self._fd_to_key[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready: list[tuple[SelectorKey, int]] = []
        # In whole milliseconds, rounded up: never shorter than asked for.
        if timeout is not None:
            timeout = 0 if timeout <= 0 else math.ceil(timeout * 1e3)
        try:
            found = self._selector.poll(timeout)
        except InterruptedError:
            return ready
        for fd, event in found:
            key = self._fd_to_key.get(fd)
            if key:
                events = (event & ~self._EVENT_READ and EVENT_WRITE) | (
                    event & ~self._EVENT_WRITE and EVENT_READ
                )
                ready.append((key, events & key.events))
        return ready


class PollSelector(_PollLikeSelector):
    """By poll(2)."""

    _selector_cls = select.poll


class EpollSelector(_PollLikeSelector):
    """By epoll(7). `select()` is native: it costs least where many descriptors are registered, or ready."""

    _selector_cls = select.epoll
    _EVENT_READ = select.EPOLLIN
    _EVENT_WRITE = select.EPOLLOUT

    def fileno(self) -> int:
        """The descriptor of the epoll instance."""
        return int(self._selector.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        return epoll_select(self._selector.fileno(), self._fd_to_key, timeout)

    def close(self) -> None:
        self._selector.close()
        super().close()


DefaultSelector = EpollSelector
