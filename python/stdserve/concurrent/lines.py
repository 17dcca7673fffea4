"""Lines of many files, plain or gzip, that contain a given text, found by native threads."""

from __future__ import annotations

import errno
import gzip
import os
import select
from collections.abc import Generator, Iterable
from typing import TypeVar

from stdserve._stdserve import LineSearch

Name = TypeVar("Name", bound=str | bytes | os.PathLike[str] | os.PathLike[bytes])

#: How long the closing of a search waits for its threads, in milliseconds. They end after the piece that they
#: are at; those that wait for a slow disk or a pipe, when that answers.
_CLOSING = 1000


def matching_lines(
    paths: Iterable[Name],
    needle: bytes,
    *,
    threads: int | None = None,
    max_line: int = 1 << 20,
    ordered: bool = True,
) -> Generator[tuple[Name, bytes], None, None]:
    """Yields `(path, line)` for each line of the files that contains `needle`, without its line end.

    Files that begin as gzip does (one or several members) are inflated, all others are read as they are. A
    line ends with LF or CR LF; the last one may end with the file. An empty needle is in every line.

    Files are read in parallel, piece by piece, by at most `threads` native threads (default: one for each
    CPU that this process may use) that take no part in the interpreter's lock. They begin with the first
    `next()`, and run ahead of the caller by some hundred kilobytes a file at most. With `ordered` the lines
    come in the order of `paths`; without, as they are found, and in order within each file.

    `max_line` (bytes) bounds what is held of a line. A longer one is passed over where the needle is not in
    it.

    Raises OSError for a file that cannot be read, `gzip.BadGzipFile` (an OSError too) for one that is cut
    off or corrupt, ValueError for a line with the needle that is longer than `max_line`. Each names the
    file, the latter two also the byte: of the compressed file, or of the text where the line begins. The
    lines before have been yielded by then. No file is read any further after an error, after `close()` and
    when the generator is dropped. In a forked child, a search that the parent has begun raises
    RuntimeError.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError("paths is one path: put it into a list")
    given = list(paths)
    names = [os.fsencode(path) for path in given]
    for name in names:
        if b"\0" in name:
            raise ValueError(f"NUL in the path {os.fsdecode(name)!r}")
    if not isinstance(needle, bytes):
        raise TypeError(f"needle is no bytes but {type(needle).__name__}")
    if b"\n" in needle or b"\r" in needle:
        raise ValueError(f"a line end in the needle {needle!r}: no line contains one")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}: one at least is needed")
    if max_line < 1:
        raise ValueError(f"max_line is {max_line}: one byte at least is needed")
    return _search(given, names, needle, threads or 0, max_line, ordered)


def _search(
    paths: list[Name], names: list[bytes], needle: bytes, threads: int, max_line: int, ordered: bool
) -> Generator[tuple[Name, bytes], None, None]:
    search = LineSearch(names, needle, threads, max_line, ordered)
    # It is waited for here, not in native code: the ending interpreter may leave behind a thread that waits.
    waiting = select.poll()
    waiting.register(search.fileno(), select.POLLIN)
    closing = _CLOSING  # the module may be gone when an ending interpreter closes what is left
    try:
        while True:
            batch = search.take()
            if batch is not None:
                number, lines, trouble = batch
                path = paths[number]
                for line in lines:
                    yield path, line
                if trouble is not None:
                    raise _error(path, *trouble)
            elif search.ended:
                return
            else:
                waiting.poll()
    finally:
        if not search.close() and waiting.poll(closing):
            search.close()


def _error(path: Name, kind: str, number: int, what: str) -> Exception:
    name = os.fsdecode(path)
    match kind:
        case "os":
            return OSError(number or errno.EIO, os.strerror(number) if number else what, path)
        case "gzip":
            return gzip.BadGzipFile(f"{name}: {what} at byte {number}")
        case "line":
            return ValueError(f"{name}: {what}")
        case _:
            return RuntimeError(f"{name}: {what}")
