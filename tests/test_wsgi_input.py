"""wsgi.input: the body as a file-like object, in memory and spooled to disk."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stdserve

from support.wire import Client

LINES = b"first\nsecond line\n\n" + b"x" * 100_000 + b"\nlast without newline"


class Asking:
    """A server whose application hands its input to the function of the test."""

    def __init__(self, body_buffer: int) -> None:
        self.act: Callable[[Any], Any] = lambda _: None
        self.outcome: Any = None
        self.server = stdserve.Server(self.app, bind="127.0.0.1:0", body_buffer=body_buffer)
        self.server.start()

    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Runs the function of the test."""
        try:
            self.outcome = self.act(environ["wsgi.input"])
        except Exception as error:
            self.outcome = error
        start_response("200 OK", [])
        return [b""]

    def post(self, act: Callable[[Any], Any], body: bytes = LINES) -> Any:
        """What the function makes of the body."""
        self.act = act
        with Client(self.server.address) as client:
            assert client.ask("/", "POST", body=body).status == 200
        return self.outcome


@pytest.fixture(scope="module", params=[1 << 20, 1024], ids=["memory", "file"])
def asking(request: pytest.FixtureRequest) -> Iterator[Asking]:
    """Once with bodies in memory, once with spooled ones."""
    asking = Asking(request.param)
    yield asking
    asking.server.stop()


def reference(act: Callable[[Any], Any], body: bytes = LINES) -> Any:
    """What a file of the standard library gives."""
    return act(io.BytesIO(body))


ACTS: dict[str, Callable[[Any], Any]] = {
    "read": lambda f: (f.read(), f.read(), f.read(5)),
    "read minus one": lambda f: f.read(-1),
    "read None": lambda f: f.read(None),
    "read in pieces": lambda f: [f.read(7) for _ in range(5)],
    "read zero": lambda f: (f.read(0), f.read(3)),
    "read past the end": lambda f: (f.read(10**6), f.read(1)),
    "readline": lambda f: [f.readline() for _ in range(7)],
    "readline sized": lambda f: [f.readline(4) for _ in range(8)],
    "readline minus one": lambda f: f.readline(-1),
    "readline zero": lambda f: (f.readline(0), f.readline()),
    "readlines": lambda f: f.readlines(),
    "readlines hint": lambda f: (f.readlines(7), f.readlines(1), f.readlines(0)),
    "iterate": list,
    "mixed": lambda f: (f.read(3), f.readline(), next(iter(f)), f.read(2), f.readlines()),
    "lines then read": lambda f: (f.readline(), f.read(4), f.readline(), f.read()),
    "readinto": lambda f: (lambda b: (f.readinto(b), bytes(b)))(bytearray(9)),
    "buffered reader": lambda f: io.BufferedReader(f).read() if not isinstance(f, io.BytesIO) else f.read(),
}


@pytest.mark.parametrize("name", ACTS)
def test_it_reads_as_a_file_does(asking: Asking, name: str) -> None:
    """Same calls, same answers as io.BytesIO."""
    assert asking.post(ACTS[name]) == reference(ACTS[name])


def test_an_empty_body_reads_empty(asking: Asking) -> None:
    """Also where there is none."""
    assert asking.post(lambda f: (f.read(), f.readline(), f.readlines(), list(f)), b"") == (b"", b"", [], [])


def test_wrong_arguments_are_type_errors(asking: Asking) -> None:
    """And nothing is lost by them."""
    assert isinstance(asking.post(lambda f: f.read("1")), TypeError)
    assert isinstance(asking.post(lambda f: f.readline(1.5)), TypeError)


def test_closed_by_the_application(asking: Asking) -> None:
    """As a file: reading fails with ValueError."""

    def act(f: Any) -> Any:
        f.close()
        return f.closed, f.read()

    assert isinstance(asking.post(act), ValueError)
    assert asking.post(lambda f: f.read(5)) == b"first"


def test_after_the_request_it_is_over(asking: Asking) -> None:
    """A late reader sees no other request's body."""
    kept = asking.post(lambda f: f)
    with pytest.raises(ValueError, match="over"):
        kept.read()
    assert asking.post(lambda f: f.read(), b"another") == b"another"
    assert asking.post(lambda f: f is kept) is False
    assert kept.closed


def test_read_by_several_threads_nothing_comes_twice(asking: Asking) -> None:
    """Each byte goes to one of them; who comes while another waits for the disk is told."""

    def act(f: Any) -> int:
        total = []

        def read() -> None:
            while True:
                try:
                    data = f.read(1000)
                except (RuntimeError, OSError):
                    continue
                if not data:
                    return
                total.append(len(data))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(total)

    assert asking.post(act) == len(LINES)


def test_short_lines_of_a_spooled_body_cost_about_what_they_cost_in_memory() -> None:
    """What was read ahead was moved for each line, and the interpreter's lock let go of."""

    def count(stream: Any) -> tuple[int, float]:
        began = time.thread_time()
        return sum(1 for _ in stream), time.thread_time() - began

    body = b"\n" * 300_000
    spent = {}
    for body_buffer in (1 << 20, 1024):
        asking = Asking(body_buffer)
        outcomes = [asking.post(count, body) for _ in range(3)]
        asking.server.stop()
        assert all(lines == len(body) for lines, _ in outcomes)
        spent[body_buffer] = min(seconds for _, seconds in outcomes)
    assert spent[1024] < 2.5 * spent[1 << 20]
