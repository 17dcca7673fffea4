"""What a handler reads from and writes to: the socket's own files, with a count and with time-outs.

The reading side stays the file that `socket.makefile` made, as programs expect; only its raw end learns to
count what it received and to wait no longer than it may. The count says after a request whether its body
was read.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, cast

from stdserve import socketserver

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class CountedSocketIO(socket.SocketIO):
    """The raw end of a reading file: counts bytes, and waits for them no longer than it may.

    Objects of this class are made by `watch` from those that `socket.makefile` made.
    """

    received: int
    _deadline: float | None
    _then: float | None
    _idle: float | None
    _quiet: bool
    _sock: socket.socket

    def start(self) -> None:
        """Begins to count; no time-outs yet."""
        self.received = 0
        self.unlimited()

    def unlimited(self) -> None:
        """Waits for ever from now on, but for the socket's own time-out."""
        self._deadline = self._then = self._idle = None
        self._quiet = False

    def until(self, seconds: float | None) -> None:
        """Everything that is read from now on must be there in this many seconds."""
        self.unlimited()
        if seconds is not None:
            self._deadline = time.monotonic() + seconds

    def idle_then(self, idle: float | None, seconds: float | None) -> None:
        """The first byte must come within `idle` seconds, else the stream ends; the rest as with `until`."""
        self.until(idle)
        self._quiet = True
        self._then = seconds

    def each(self, seconds: float | None) -> None:
        """Each wait may last this many seconds."""
        self.unlimited()
        self._idle = seconds

    def tell(self) -> int:
        """How many bytes were received: with it, the buffered file above knows its own position."""
        return self.received

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Receives, after a wait that ends with TimeoutError when it takes too long."""
        count = self._receive(buffer)
        if count:
            self.received += count
            if self._quiet:
                self.until(self._then)
        return count

    def _receive(self, buffer: WriteableBuffer) -> int | None:
        """Receives within the time that is left."""
        if self._deadline is not None:
            seconds = max(self._deadline - time.monotonic(), 0)
        elif self._idle is not None:
            seconds = self._idle
        else:
            return super().readinto(buffer)
        sock = self._sock
        own = sock.gettimeout()
        if own is not None and own <= seconds:
            return super().readinto(buffer)
        if is_tls(sock):
            # A record that has arrived in part makes the socket readable, and would then block: so TLS has
            # to do the waiting itself. A script that inherits the descriptor is no concern here.
            sock.settimeout(max(seconds, 0.001))
            try:
                return super().readinto(buffer)
            except TimeoutError:
                return self._too_late()
            finally:
                sock.settimeout(own)
        # The socket's own mode is left alone: who inherits it (a CGI script) finds it blocking.
        if not _readable(sock, seconds):
            return self._too_late()
        return super().readinto(buffer)

    def _too_late(self) -> int:
        """What comes of a wait that is over: the end, of a connection that may be idle."""
        if self._quiet:
            return 0
        raise TimeoutError("timed out")

    def discard(self, seconds: float, most: int) -> None:
        """Receives and forgets what the client still sends: until its end, for so long, and so many bytes."""
        self.until(seconds)
        buffer = bytearray(65536)
        with contextlib.suppress(OSError, ValueError):
            while most > 0:
                count = self.readinto(buffer)
                if not count:
                    return
                most -= count


def is_tls(sock: object) -> bool:
    """Whether this is a socket of the module ssl, which is not imported for the question."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(sock, ssl.SSLSocket)


def _readable(sock: socket.socket, seconds: float) -> bool:
    """Whether the socket becomes readable (or ends) within this time."""
    # What the engine had read before it handed the connection over.
    if getattr(sock, "_stdserve_ahead", b""):
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def watch(stream: Any) -> CountedSocketIO | None:
    """Teaches the file that a socket made to count; None where it is another kind of file."""
    raw = getattr(stream, "raw", stream)
    if type(raw) is not socket.SocketIO:
        return None
    raw.__class__ = CountedSocketIO
    counted = cast("CountedSocketIO", raw)
    counted.start()
    return counted


def bound_writes(sock: Any, seconds: float | None) -> None:
    """A send on this blocking socket that makes no progress for so long fails with BlockingIOError."""
    if seconds is None or not isinstance(sock, socket.socket) or sock.gettimeout() is not None:
        return
    whole = int(seconds)
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", whole, int((seconds - whole) * 1e6))
    )


class SocketWriter(socketserver._SocketWriter):
    """The unbuffered writing side: what is written is sent when `write` returns.

    A client that does not read for the time that `bound_writes` set is a TimeoutError.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        """Sends all of it."""
        try:
            return super().write(data)
        except OSError as error:
            # The time of `bound_writes` is over: a blocking socket says so as if it did not block.
            if self._sock.gettimeout() is None and (
                isinstance(error, BlockingIOError) or type(error).__name__ == "SSLWantWriteError"
            ):
                raise TimeoutError("timed out") from error
            raise
