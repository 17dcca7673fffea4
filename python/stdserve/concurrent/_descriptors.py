"""The descriptors that tasks wait for: who waits for which, and whether it still is what it was.

The kernel is asked for one thing at a time (`EPOLLONESHOT`): a wait costs one system call, and what nobody
waits for any more is told of once at most. It says nothing when a descriptor is closed, so those that are
waited for are looked at from time to time; and numbers are used again, so each registration has a token of
its own.
"""

from __future__ import annotations

import os
import select
from errno import EBADF, EEXIST, ENOENT, EPERM
from typing import Any, Final, Protocol

from stdserve._stdserve import Interests

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT

#: An error or a hang-up counts as all that was asked for.
_READS: Final = ~OUT
_WRITES: Final = ~IN

#: So many descriptors are told of at once.
_MOST = 1024


class Waiter(Protocol):
    """Who waits for a descriptor; one for each direction."""

    #: Where it waits.
    _watch: Watch | None

    def wake(self) -> None:
        """It is ready."""

    def fail(self, error: OSError) -> None:
        """It never will be."""


class Watch:
    """What is known of a descriptor's number. Kept as long as the loop: numbers are used again."""

    __slots__ = ("fd", "reader", "source", "token", "wanted", "writer")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        #: Under which it is registered; 0: it never was.
        self.token = 0
        #: The events that somebody waits for.
        self.wanted = 0
        self.reader: Waiter | None = None
        self.writer: Waiter | None = None
        #: The identity of the object that was last waited for: only a hint whether the number is used again.
        self.source = 0


def _check_number(source: Any, fd: Any) -> None:
    """Whether a descriptor is one."""
    if not isinstance(fd, int):
        raise TypeError(f"fileno() of {source!r} returned {fd!r}")
    if fd < 0:
        raise OSError(EBADF, f"{source!r} is closed")


def _closed() -> OSError:
    return OSError(EBADF, "the descriptor was closed while it was waited for")


class Descriptors:
    """An epoll instance and those who wait for it."""

    def __init__(self) -> None:
        if not hasattr(select, "epoll"):
            raise RuntimeError(
                "a TaskScheduler waits by select.epoll, which gevent has patched away: "
                "it would hold up all greenlets"
            )
        self._interests = Interests()
        self._epoll = select.epoll.fromfd(os.dup(self._interests.fileno()))
        self._watches: dict[int, Watch] = {}
        self._tokens: dict[int, Watch] = {}
        self._token = 0
        #: Told of one direction while the other is waited for too.
        self._again: list[Watch] = []
        #: Somebody began to wait since this was last set to false.
        self.waited = False
        #: Still to be looked at.
        self._unchecked: list[Watch] = []
        self.ring = self._interests.ring
        self.ring_after = self._interests.ring_after

    def fileno(self) -> int:
        """Readable when a `poll` has something to tell."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Gives the descriptors back."""
        self._epoll.close()
        self._interests.close()

    def wait(self, source: Any, events: int, waiter: Waiter) -> bool:
        """Wakes `waiter` when `source` is ready for `events` (`IN` or `OUT`). False: such files always are.

        RuntimeError: another waits for the same.
        """
        self.waited = True
        fd = source if isinstance(source, int) else source.fileno()
        watch = self._watches.get(fd)
        if watch is None:
            _check_number(source, fd)
            watch = self._watches[fd] = Watch(fd)
        elif watch.wanted & events and not self._is_stale(watch):
            other = watch.reader if events == IN else watch.writer
            what = "readable" if events == IN else "writable"
            raise RuntimeError(
                f"{waiter!r} cannot wait until descriptor {fd} is {what}: {other!r} waits for it already"
            )
        error = ENOENT
        if watch.source == id(source):
            error = self._interests.change(fd, watch.wanted | events, watch.token)
        if error == ENOENT:
            error = self._add(watch, events)
            watch.source = id(source)
        if error == EPERM:
            return False
        if error:
            raise OSError(error, os.strerror(error))
        # No call stands between these lines: a signal's handler finds all of it done, or nothing.
        waiter._watch = watch
        if events == IN:
            watch.reader = waiter
        else:
            watch.writer = waiter
        watch.wanted |= events
        return True

    def _add(self, watch: Watch, events: int) -> int:
        """Registers what stands under a number for the first time, if it is the first time."""
        self._token = self._token % 0x7FFF_FFFF + 1
        while self._token in self._tokens:
            self._token = self._token % 0x7FFF_FFFF + 1
        before, watch.token = watch.token, self._token
        self._tokens.pop(before, None)
        self._tokens[watch.token] = watch
        error = self._interests.add(watch.fd, events, watch.token)
        if error == EEXIST:
            return self._interests.change(watch.fd, watch.wanted | events, watch.token)
        # Those who waited did so for something that had this number before.
        self._fail(watch)
        return error

    def forget(self, waiter: Waiter) -> None:
        """It waits no more. What it waited for stays registered, and may be told of once."""
        watch, waiter._watch = waiter._watch, None
        if watch is None:
            return
        if watch.reader is waiter:
            watch.wanted &= ~IN
            watch.reader = None
        elif watch.writer is waiter:
            watch.wanted &= ~OUT
            watch.writer = None

    def poll(self, timeout: float | None) -> None:
        """Waits at most `timeout` seconds (None: for ever), and wakes those whose descriptors are ready."""
        if self._again:
            for watch in self._again:
                if watch.wanted:
                    self._check(watch)
            self._again.clear()
        tokens = self._tokens
        for token, told in self._epoll.poll(timeout, _MOST):
            # Without a watch: the bell, or what had the number before.
            told_of = tokens.get(token)
            if told_of is None:
                continue
            watch = told_of
            if told & _READS and watch.wanted & IN and (waiter := watch.reader) is not None:
                watch.wanted &= ~IN
                watch.reader = None
                waiter.wake()
            if told & _WRITES and watch.wanted & OUT and (waiter := watch.writer) is not None:
                watch.wanted &= ~OUT
                watch.writer = None
                waiter.wake()
            if watch.wanted:
                self._again.append(watch)

    def check(self, most: int) -> int | None:
        """Looks whether descriptors that are waited for were closed, at most so many of them.

        Returns how many are waited for when it has come round, else None.
        """
        if not self._unchecked:
            self._unchecked = [watch for watch in self._watches.values() if watch.wanted]
        for _ in range(min(most, len(self._unchecked))):
            self._check(self._unchecked.pop())
        if self._unchecked:
            return None
        return sum(1 for watch in self._watches.values() if watch.wanted)

    def check_all(self) -> None:
        """Asks the kernel anew for all that is waited for."""
        self._unchecked.clear()
        self.check(len(self._watches))

    def _check(self, watch: Watch) -> None:
        if watch.wanted:
            self._is_stale(watch)

    def _is_stale(self, watch: Watch) -> bool:
        """Asks the kernel anew for what is waited for. True: it was closed, and those who waited know."""
        error = self._interests.change(watch.fd, watch.wanted, watch.token)
        if error not in (EBADF, ENOENT):
            return False
        self._fail(watch)
        return True

    def _fail(self, watch: Watch) -> None:
        watch.wanted = 0
        for waiter in (watch.reader, watch.writer):
            if waiter is not None:
                waiter.fail(_closed())
        watch.reader = watch.writer = None
