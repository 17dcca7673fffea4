"""A small, strict HTTP/1 client on a bare socket.

It sends what it is told, byte for byte, and takes nothing for granted about the answer: a status line, field
lines, framing and end of body that are not as RFC 9112 says raise `Broken`.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Seconds without a byte after which a read gives up: only a broken server is silent for so long.
SILENCE = 30.0

STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
SIZE = re.compile(rb"[0-9A-Fa-f]+")
DATE = re.compile(
    rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    rb"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)


class Broken(AssertionError):
    """The server sent what is not HTTP/1.1."""


class Closed(Exception):
    """The connection ended where a response was expected. `reset` tells a reset from an orderly end."""

    def __init__(self, reset: bool, after: bytes = b"") -> None:
        super().__init__(f"{'reset' if reset else 'closed'} after {after[:200]!r}")
        self.reset = reset
        self.after = after


@dataclass
class Response:
    """One final response, with the interim ones that came before it."""

    status: int
    reason: bytes
    fields: list[tuple[str, str]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Values of every field of that name."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Value of a field that may stand at most once."""
        values = self.all(name)
        if len(values) > 1:
            raise Broken(f"{name} stands {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        """Whether the response announces the end of the connection."""
        return "close" in (self.get("Connection") or "").lower()

    @property
    def chunked(self) -> bool:
        """Whether the body came in chunks."""
        return self.get("Transfer-Encoding") is not None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def request(
    method: str = "GET", target: str = "/", fields: Iterable[tuple[str, str]] = (), body: bytes | None = None
) -> bytes:
    """An HTTP/1.1 request with a Host line and, for a body, its length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Client:
    """One connection."""

    def __init__(
        self, address: tuple[str, int] | str, *, receive_buffer: int | None = None, source: str | None = None
    ) -> None:
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(SILENCE)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # sending

    def send(self, data: bytes, piece: int = 0) -> None:
        """Send the bytes; with `piece`, in pieces of that size, each in its own segment."""
        if not piece:
            self.socket.sendall(data)
            return
        for start in range(0, len(data), piece):
            self.socket.sendall(data[start : start + piece])

    def ask(
        self,
        target: str = "/",
        method: str = "GET",
        fields: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Response:
        """One request and its response."""
        self.send(request(method, target, fields, body))
        return self.read(method)

    # ending

    def half_close(self) -> None:
        """Say that nothing more will be sent; go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with a reset."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    # receiving

    def readable(self, seconds: float = 0.0) -> bool:
        """Whether bytes, or the end, have come."""
        return bool(self.buffer) or bool(select.select([self.socket], [], [], seconds)[0])

    def _more(self) -> None:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            raise Closed(True, bytes(self.buffer)) from None
        if not data:
            raise Closed(False, bytes(self.buffer))
        self.buffer += data

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if b"\n" in self.buffer:
                raise Broken(f"bare LF in {bytes(self.buffer)[:200]!r}")
            self._more()
        line = self._take(self.buffer.index(b"\r\n"))
        self._take(2)
        if b"\n" in line or b"\r" in line:
            raise Broken(f"bare CR or LF in {line!r}")
        return line

    def _fields(self) -> list[tuple[str, str]]:
        fields = []
        while line := self._line():
            match = FIELD.fullmatch(line)
            if match is None:
                raise Broken(f"not a field line: {line!r}")
            fields.append((match[1].decode(), match[2].decode("latin-1")))
        return fields

    def head(self) -> Response:
        """Status line and fields of the next final response; the body is still to be read."""
        interim: list[int] = []
        while True:
            line = self._line()
            match = STATUS.fullmatch(line)
            if match is None:
                raise Broken(f"not a status line: {line!r}")
            found = Response(int(match[1]), match[2], self._fields(), interim=interim)
            if found.status >= 200:
                break
            interim.append(found.status)
        date = found.get("Date")
        if date is None or not DATE.fullmatch(date.encode("latin-1")):
            raise Broken(f"Date is {date!r}")
        return found

    def read(self, method: str = "GET") -> Response:
        """The next response with its body."""
        found = self.head()
        length, coding = found.get("Content-Length"), found.get("Transfer-Encoding")
        if length is not None and coding is not None:
            raise Broken("both Content-Length and Transfer-Encoding")
        if method == "HEAD" or found.status in (204, 304):
            if found.status == 204 and (length is not None or coding is not None):
                raise Broken("204 with a length (RFC 9110 section 8.6)")
            return found
        if coding is not None:
            if coding != "chunked":
                raise Broken(f"Transfer-Encoding: {coding}")
            found.body = b"".join(self.chunks())
        elif length is not None:
            if not re.fullmatch("[0-9]+", length):
                raise Broken(f"Content-Length: {length}")
            found.body = self._take(int(length))
        else:
            if not found.closes:
                raise Broken("a body up to the end of the connection, and no Connection: close")
            found.body = self.rest()
        return found

    def chunks(self) -> Iterable[bytes]:
        """The chunks of a chunked body, each as it comes."""
        while True:
            size = self._line()
            if not SIZE.fullmatch(size):
                raise Broken(f"chunk size {size!r}")
            count = int(size, 16)
            if count == 0:
                break
            yield self._take(count)
            if self._take(2) != b"\r\n":
                raise Broken("no CRLF after a chunk")
        self._fields()

    def rest(self) -> bytes:
        """All up to the orderly end of the connection."""
        while True:
            try:
                self._more()
            except Closed as end:
                if end.reset:
                    raise
                data = bytes(self.buffer)
                self.buffer.clear()
                return data

    def expect_end(self) -> None:
        """The server ends the connection, by close or reset, and sends nothing before that."""
        try:
            after = self.rest()
        except Closed as end:
            after = end.after
        if after:
            raise Broken(f"bytes where the connection should have ended: {after[:200]!r}")
