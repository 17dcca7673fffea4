"""File systems that are soon full."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_file_system(folder: Path) -> Iterator[Path]:
    """A file system with room for two MiB. Needs root: PermissionError without."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "stdserve-test", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError("needs root: a small tmpfs is mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leaves not a byte of room; the file that has taken it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 65536):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return filler
