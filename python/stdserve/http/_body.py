"""A request's body as a file that ends where the body does, while the connection goes on."""

from __future__ import annotations

import io
from typing import Any


class BodyReader(io.BufferedIOBase):
    """Reads the next `length` bytes of another file, and then its end."""

    def __init__(self, stream: Any, length: int) -> None:
        self._stream = stream
        self._left = length

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads `size` bytes, or all; fewer where the client has left."""
        return self._take(self._stream.read, size)

    def read1(self, size: int = -1, /) -> bytes:
        """Reads what is there, at most `size` bytes."""
        return self._take(getattr(self._stream, "read1", self._stream.read), size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Reads a line, at most `size` bytes of it."""
        return self._take(self._stream.readline, size)

    def readinto(self, buffer: Any, /) -> int:
        """Reads into a buffer."""
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)

    def _take(self, read: Any, size: int | None) -> bytes:
        """Reads by this function, within the body."""
        if size is None or size < 0 or size > self._left:
            size = self._left
        if not size:
            return b""
        data: bytes = read(size)
        self._left -= len(data)
        return data
