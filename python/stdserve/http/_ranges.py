"""Parts of files: the field `Range` (RFC 9110 14), and a file that ends where the part does."""

from __future__ import annotations

import re
from typing import IO

# One range only: answering several costs a multiple of the file, and a server may decline (RFC 9110 14.2).
_ONE = re.compile(r"[ \t]*bytes[ \t]*=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII | re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range lies behind the end of the file: 416."""


def parse(value: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last of a `Range` on a file of `size` bytes.

    None: the field is not one that is understood, and does not count. `Unsatisfiable`: there is no such part.
    """
    found = _ONE.fullmatch(value)
    if found is None:
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, end = max(size - int(last), 0), size
    else:
        return None
    if start >= size or start >= end:
        raise Unsatisfiable
    return start, end


class Part:
    """A file opened for reading, from `start` on and no more than `length` bytes."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self._file = file
        self.left = length
        file.seek(start)

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads as a file does, up to the end of the part."""
        if size is None or size < 0 or size > self.left:
            size = self.left
        data = self._file.read(size)
        self.left -= len(data)
        return data

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
