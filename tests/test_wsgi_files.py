"""`wsgi.file_wrapper` (PEP 3333): which files go by sendfile, which are read, and what is on the wire."""

# ruff: noqa: SIM115, the application opens files, and the server closes them

from __future__ import annotations

import gzip
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stdserve

from support.hosting import App, Host
from support.waiting import until
from support.wire import Client, Closed

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 256,000 bytes."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def wrapped(opened: Callable[[], Any], headers: Any = (), size: int | None = 8192) -> App:
    """An application that returns a wrapped file."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(headers))
        wrapper = environ["wsgi.file_wrapper"]
        return wrapper(opened()) if size is None else wrapper(opened(), size)

    return app


@pytest.mark.parametrize("size", [None, 1, 100_000])
def test_files_are_sent_whole(host: Host, file: Path, size: int | None) -> None:
    """Opened in each way that goes by sendfile."""
    opens: list[Callable[[], Any]] = [
        lambda: open(file, "rb"),
        lambda: open(file, "rb", buffering=0),
        lambda: open(file, "r+b"),
    ]
    for opened in opens:
        with host.client(wrapped(opened, size=size)) as client:
            for _ in range(2):
                answer = client.ask()
                assert answer.body == CONTENT
                assert answer.get("Content-Length") == str(len(CONTENT))
            assert client.ask("/", "HEAD").body == b""
            assert client.ask().status == 200


def test_a_file_is_sent_from_where_it_stands(host: Host, file: Path) -> None:
    """tell() counts, not the descriptor's position, which buffering moves."""

    def opened() -> Any:
        handle = open(file, "rb")
        handle.read(1000)
        return handle

    with host.client(wrapped(opened)) as client:
        assert client.ask().body == CONTENT[1000:]


def test_a_range_of_a_file(host: Host, file: Path) -> None:
    """A Content-Length below the file's size means its beginning."""
    with host.client(wrapped(lambda: open(file, "rb"), [("Content-Length", "500")])) as client:
        assert client.ask().body == CONTENT[:500]
        assert client.ask().body == CONTENT[:500]


def test_files_that_lie_are_read(host: Host, file: Path, tmp_path: Path) -> None:
    """Their descriptor holds something else than read() gives."""
    zipped = tmp_path / "file.gz"
    zipped.write_bytes(gzip.compress(CONTENT))

    def spooled() -> Any:
        handle = tempfile.SpooledTemporaryFile(max_size=10)
        handle.write(CONTENT)
        handle.seek(0)
        return handle

    class Shouting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size).replace(b"a", b"A")

    def unflushed() -> Any:
        handle = open(tmp_path / "new", "w+b")
        handle.write(b"not flushed")
        handle.seek(0)
        return handle

    for opened, expected in [
        (lambda: gzip.open(zipped), CONTENT),
        (spooled, CONTENT),
        (lambda: io.BytesIO(CONTENT), CONTENT),
        (lambda: Shouting(file), CONTENT.replace(b"a", b"A")),
        (lambda: io.BufferedReader(Shouting(file)), None),
        (unflushed, b"not flushed"),
    ]:
        with host.client(wrapped(opened)) as client:
            answer = client.ask()
            assert answer.status == 200
            if expected is not None:
                assert answer.body == expected


def test_a_pipe_is_read(host: Host) -> None:
    """It has a descriptor and no size."""

    def opened() -> Any:
        reading, writing = os.pipe()
        os.write(writing, b"through a pipe")
        os.close(writing)
        return open(reading, "rb")

    with host.client(wrapped(opened)) as client:
        assert client.ask().body == b"through a pipe"


def test_a_file_of_the_kernel_is_read(host: Host) -> None:
    """Files in /proc are regular and say that they are empty."""
    with host.client(wrapped(lambda: open("/proc/self/status", "rb"))) as client:
        assert client.ask().body.startswith(b"Name:")


def test_an_empty_file_is_answered_at_once(host: Host, tmp_path: Path) -> None:
    """Its head was announced as the beginning of more, which the kernel held back for 200 ms."""
    empty = tmp_path / "empty"
    empty.touch()
    with host.client(wrapped(lambda: open(empty, "rb"))) as client:
        spent = []
        for _ in range(20):
            began = time.monotonic()
            assert client.ask().body == b""
            spent.append(time.monotonic() - began)
        # Held back, not one comes sooner.
        assert min(spent) < 0.2


def test_the_file_is_closed(host: Host, file: Path) -> None:
    """By the wrapper's close(), once the response is on its way."""
    handles = []

    def opened() -> Any:
        handles.append(open(file, "rb"))
        return handles[-1]

    with host.client(wrapped(opened)) as client:
        assert client.ask().body == CONTENT
        until(lambda: handles[0].closed, "the file is closed")


def test_a_file_shorter_than_its_length_is_cut(host: Host, file: Path) -> None:
    """The client can tell."""
    app = wrapped(lambda: open(file, "rb"), [("Content-Length", "300000")])
    with host.client(app) as client, pytest.raises(Closed):
        client.ask()


def test_the_wrapper_is_an_iterable_like_wsgirefs(file: Path) -> None:
    """Middleware may iterate it."""
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        wrapper = environ["wsgi.file_wrapper"](io.BytesIO(b"abcdef"), 4)
        seen.extend([list(wrapper), wrapper.blksize, wrapper.filelike.tell()])
        start_response("200 OK", [])
        return []

    with stdserve.Server(app, bind="127.0.0.1:0") as server, Client(server.address) as client:
        client.ask()
    assert seen == [[b"abcd", b"ef"], 4, 6]
