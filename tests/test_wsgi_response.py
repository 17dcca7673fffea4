"""From what an application returns to what is on the wire (PEP 3333)."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from support.hosting import App, Host
from support.waiting import until
from support.wire import Closed, request


def simple(result: Any, status: str = "200 OK", headers: Any = ()) -> App:
    """An application that returns this."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, list(headers))
        return result() if callable(result) else result

    return app


@pytest.mark.parametrize(
    "result",
    [
        [b"hello"],
        (b"hello",),
        [b"hel", b"", b"lo"],
        (b"h", b"ello"),
        {b"hello": 1},
        lambda: iter([b"hello"]),
        lambda: (piece for piece in [b"", b"he", b"llo"]),
        lambda: map(bytes, [b"hello"]),
        lambda: io.BytesIO(b"hello"),
    ],
)
@pytest.mark.parametrize("length", [True, False])
def test_iterables_of_every_kind(host: Host, result: Any, length: bool) -> None:
    """With and without a Content-Length, on one connection."""
    headers = [("Content-Length", "5")] if length else []
    with host.client(simple(result, headers=headers)) as client:
        for _ in range(3):
            answer = client.ask()
            assert (answer.status, answer.body, answer.closes) == (200, b"hello", False)


@pytest.mark.parametrize("result", [[], (), [b""], [b"", b""], lambda: iter(()), lambda: (b"" for _ in "ab")])
def test_empty_answers_have_length_zero(host: Host, result: Any) -> None:
    """No chunked nothing."""
    with host.client(simple(result)) as client:
        answer = client.ask()
        assert (answer.get("Content-Length"), answer.chunked) == ("0", False)
        assert client.ask().status == 200


def test_large_answers(host: Host) -> None:
    """Whole, as one block, several, and a stream, past every buffer."""
    block = os.urandom(1 << 20)
    for result in ([block * 3], [block, block, block], lambda: (block for _ in range(3))):
        with host.client(simple(result)) as client:
            assert client.ask().body == block * 3
            assert client.ask().status == 200


def test_set_cookie_lines_are_kept_apart_and_in_order(host: Host) -> None:
    """Joined cookies are broken cookies."""
    headers = [("Set-Cookie", "a=1"), ("X-Between", "x"), ("Set-Cookie", "b=2; Path=/")]
    with host.client(simple([b""], headers=headers)) as client:
        assert client.ask().all("Set-Cookie") == ["a=1", "b=2; Path=/"]


def test_non_ascii_is_latin_1(host: Host) -> None:
    """In reason and headers each code point is a byte."""
    with host.client(simple([b""], "200 Sch\xf6n", [("X-Name", "caf\xe9 \xff")])) as client:
        answer = client.ask()
        assert (answer.reason, answer.get("X-Name")) == (b"Sch\xf6n", "caf\xe9 \xff")


def test_a_lazy_start_response(host: Host) -> None:
    """A generator calls it at its first next(); status and headers are not lost."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [("X-Lazy", "yes")])
        yield b"made"

    with host.client(app) as client:
        answer = client.ask()
        assert (answer.status, answer.get("X-Lazy"), answer.body) == (201, "yes", b"made")


def test_blocks_are_sent_as_they_are_yielded(host: Host) -> None:
    """The client has the first block while the application makes the second."""
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "6")])
        yield b"one"
        assert go_on.wait(20)
        yield b"two"
        assert go_on.wait(20)

    with host.client(app) as client:
        client.send(request())
        client.head()
        assert client._take(3) == b"one"
        go_on.set()
        assert client._take(3) == b"two"


def test_the_last_block_does_not_wait_for_the_generators_end(host: Host) -> None:
    """Also where it is the only one and Content-Length says so."""
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "3")])
        yield b"all"
        assert go_on.wait(20)

    with host.client(app) as client:
        assert client.ask().body == b"all"
        go_on.set()


def test_write(host: Host) -> None:
    """write() sends at once; what is returned follows."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        assert write(b"") is None
        write(b"written, ")
        write(b"twice, ")
        return [b"then ", b"returned"]

    with host.client(app) as client:
        assert client.ask().body == b"written, twice, then returned"
        assert client.ask("/", "HEAD").body == b""
        assert client.ask().status == 200


def test_write_takes_bytes_only(host: Host) -> None:
    """And says so; the application may go on."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        for wrong in ("text", bytearray(b"x"), 1, None):
            with pytest.raises(TypeError):
                write(wrong)
        return [b"fine"]

    with host.client(app) as client:
        assert client.ask().body == b"fine"


def test_exc_info_replaces_a_head_that_is_not_sent(host: Host) -> None:
    """Nothing of the first head is left."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-First", "1"), ("Content-Length", "100")])
        try:
            raise ValueError
        except ValueError:
            keyword = environ["PATH_INFO"] == "/keyword"
            if keyword:
                start_response("503 Late", [], exc_info=sys.exc_info())
            else:
                start_response("503 Late", [], sys.exc_info())
        return [b"sorry"]

    with host.client(app) as client:
        for target in ("/", "/keyword"):
            answer = client.ask(target)
            assert (answer.status, answer.reason, answer.body) == (503, b"Late", b"sorry")
            assert answer.get("X-First") is None


def test_exc_info_after_the_head_is_raised_again(host: Host) -> None:
    """The application's own error ends the response, which the client sees cut."""
    raised = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        try:
            raise KeyError("mine")
        except KeyError:
            try:
                start_response("500 Late", [], sys.exc_info())
            except KeyError as error:
                raised.append(error)
                raise

    with host.client(app) as client, pytest.raises(Closed):
        client.ask()
    assert [error.args for error in raised] == [("mine",)]


def test_a_refused_head_may_be_mended(host: Host) -> None:
    """start_response fails where it is called, and the application can catch that."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises(ValueError, match="control"):
            start_response("200 OK", [("X-Bad", "a\r\nSet-Cookie: b")])
        with pytest.raises(TypeError, match=r"X-Snow.*latin-1"):
            start_response("200 OK", [("X-Snow", "\u2603")])
        with pytest.raises(TypeError):
            start_response("200 OK", [("X-Number", 1)])
        start_response("200 OK", [("X-Good", "1")])
        return [b"mended"]

    with host.client(app) as client:
        answer = client.ask()
        assert (answer.body, answer.get("X-Good"), answer.get("X-Bad")) == (b"mended", "1", None)


@pytest.mark.parametrize(
    "header",
    ["Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Proxy-Authenticate"],
)
def test_hop_by_hop_headers_are_refused(host: Host, header: str) -> None:
    """They are the server's (PEP 3333, Other HTTP Features)."""
    with host.client(simple([b"x"], headers=[(header, "x")])) as client:
        assert client.ask().status == 500


@pytest.mark.parametrize("kind", ["list", "subclass", "iterator", "generator", "failing", "head"])
def test_close_is_called_once(host: Host, kind: str) -> None:
    """Always: also for HEAD and where the iterable fails."""
    calls = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            yield b"x"
            if kind == "failing":
                raise RuntimeError("iterable fails")

        def close(self) -> None:
            calls.append("close")

    class Listed(list[bytes]):
        def close(self) -> None:
            calls.append("close")

    def generated() -> Iterator[bytes]:
        try:
            yield b"x"
        finally:
            calls.append("close")

    result: Any = Listed([b"x"]) if kind in ("list", "subclass") else Pieces()
    if kind == "generator":
        result = generated()
    with host.client(simple(lambda: result)) as client:
        method = "HEAD" if kind == "head" else "GET"
        client.send(request(method))
        try:
            client.read(method)
        except Closed:
            assert kind == "failing"
    wait_for(lambda: calls == ["close"])


def test_close_is_called_when_the_client_goes(host: Host) -> None:
    """And the endless iterable ends."""
    closed = threading.Event()

    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 100_000

        def close(self) -> None:
            closed.set()

    with host.client(simple(Endless)) as client:
        client.send(request())
        client.head()
        client.reset()
    assert closed.wait(20)


@pytest.mark.parametrize("length", [None, "5"])
@pytest.mark.parametrize("result", [[b"hello"], lambda: iter([b"hello"]), lambda: (b"hello" for _ in "1")])
def test_head_runs_the_application_and_sends_no_body(host: Host, result: Any, length: str | None) -> None:
    """The connection goes on behind it."""
    headers = [("Content-Length", length)] if length else []
    with host.client(simple(result, headers=headers)) as client:
        for _ in range(2):
            answer = client.ask("/", "HEAD")
            assert (answer.status, answer.body) == (200, b"")
            if length or isinstance(result, list):
                assert answer.get("Content-Length") == "5"
        assert client.ask().body == b"hello"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_no_body_where_there_can_be_none(host: Host, status: str) -> None:
    """Also if the application returns one."""
    for result in ([], [b"surplus"], lambda: iter([b"surplus"])):
        with host.client(simple(result, status)) as client:
            assert client.ask().body == b""
            assert client.ask().body == b""


@pytest.mark.parametrize("shape", ["list", "blocks", "iterator", "generator", "late", "write"])
def test_more_than_content_length_closes_and_is_logged(
    host: Host, capfd: pytest.CaptureFixture[str], shape: str
) -> None:
    """Never more bytes than declared are on the wire."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", [("Content-Length", "4")])
        if shape == "write":
            write(b"four too many")
            return []
        return {
            "list": [b"four too many"],
            "blocks": [b"four", b" too many"],
            "iterator": iter([b"four too many"]),
            "generator": (piece for piece in [b"fo", b"ur too", b" many"]),
            "late": iter([b"four", b"", b" too many"]),
        }[shape]

    with host.client(app) as client:
        client.send(request() + request())
        assert client.read().body == b"four"
        with pytest.raises(Closed) as end:
            client.read()
        assert end.value.after == b""
    wait_for(lambda: "longer than its Content-Length" in capfd.readouterr().err)


@pytest.mark.parametrize(
    "result", [[b"four"], [], lambda: iter([b"fo", b"ur"]), lambda: (b"four" for _ in "1")]
)
def test_less_than_content_length_closes_and_is_logged(
    host: Host, capfd: pytest.CaptureFixture[str], result: Any
) -> None:
    """The client can tell that something is missing."""
    with host.client(simple(result, headers=[("Content-Length", "10")])) as client, pytest.raises(Closed):
        client.ask()
    wait_for(lambda: "shorter than its Content-Length" in capfd.readouterr().err)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_failures(host: Host, capfd: pytest.CaptureFixture[str], error: type[BaseException]) -> None:
    """Before the head 500 and a traceback in the log; after it the connection is cut."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/before":
            raise error("as planned")
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/started":
            raise error("as planned")
        return pieces()

    class Pieces:
        def __init__(self) -> None:
            self.count = 0

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> bytes:
            self.count += 1
            if self.count > 1 and error is not StopIteration:
                raise error("as planned")
            return b"piece" if self.count < 9 else self.stop()

        def stop(self) -> bytes:
            raise StopIteration

    pieces = Pieces
    for target in ("/before", "/started"):
        with host.client(app) as client:
            answer = client.ask(target)
            assert answer.status == 500
            assert b"planned" not in answer.body
            assert client.ask(target).status == 500, "the connection goes on"
        log = capfd.readouterr().err
        assert f"error in GET {target}" in log
        assert "Traceback (most recent call last)" in log
        assert error.__name__ in log
        assert "as planned" in log
    if error is not StopIteration:
        with host.client(app) as client:
            client.send(request(target="/after"))
            with pytest.raises(Closed):
                client.read()
        wait_for(lambda: "as planned" in capfd.readouterr().err)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "NoneType, which is no iterable"),
        (42, "int, which is no iterable"),
        ("text", "is str; it must be bytes"),
        (["text"], "is str; it must be bytes"),
        ([b"fine", None], "is NoneType; it must be bytes"),
        ([bytearray(b"x")], "is bytearray; it must be bytes"),
        (b"bytes", "is int; it must be bytes"),
        (object, "is no iterable"),
    ],
)
def test_rubbish_is_named_in_the_log(
    host: Host, capfd: pytest.CaptureFixture[str], result: Any, words: str
) -> None:
    """500, and a sentence that says what was wrong."""
    with host.client(simple(lambda: result)) as client:
        assert client.ask().status == 500
    wait_for(lambda: words in capfd.readouterr().err)


def test_an_exception_that_cannot_be_shown(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    """It is reported all the same."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    class LoneError(Exception):
        pass

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        raise OddError if environ["PATH_INFO"] == "/odd" else LoneError("\udc80")

    with host.client(app) as client:
        assert client.ask("/odd").status == 500
        assert client.ask("/lone").status == 500
    wait_for(lambda: "OddError" in (log := capfd.readouterr().err) and "LoneError" in log)


def test_errors_stream_writes_whole_lines(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    """What is printed in pieces comes out in one."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        errors = environ["wsgi.errors"]
        print("one", "two", file=errors)
        errors.write("begun ")
        errors.writelines(["and ", "ended\n", "caf\xe9 \u2603"])
        errors.flush()
        with pytest.raises(TypeError):
            errors.write(b"bytes")
        start_response("200 OK", [])
        return []

    with host.client(app) as client:
        assert client.ask().status == 200
    assert capfd.readouterr().err == "one two\nbegun and ended\ncaf\xe9 \u2603\n"


def test_each_request_has_its_own_context(host: Host) -> None:
    """Call, iteration and close() share one; the next request starts with none of it."""
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    seen = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            seen.append(variable.get())
            yield variable.get().encode()

        def close(self) -> None:
            seen.append(variable.get())

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(variable.get())
        variable.set(environ["PATH_INFO"])
        start_response("200 OK", [])
        return Pieces()

    with host.client(app) as client:
        assert client.ask("/a").body == b"/a"
        assert client.ask("/b").body == b"/b"
        wait_for(lambda: len(seen) == 6)
    assert seen == ["nothing", "/a", "/a", "nothing", "/b", "/b"]


def test_late_calls_are_refused(host: Host) -> None:
    """start_response and write that were kept say that the request is over, and reach no other."""
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/keep":
            kept[:] = [start_response, start_response("200 OK", [])]
        elif environ["PATH_INFO"] == "/late":
            with pytest.raises(RuntimeError):
                kept[0]("200 OK", [("X-Late", "1")])
            with pytest.raises(RuntimeError):
                kept[1](b"late")
            start_response("200 OK", [])
        else:
            start_response("200 OK", [])
        return [b"body"]

    with host.client(app) as client:
        assert client.ask("/keep").body == b"body"
        with pytest.raises(RuntimeError):
            kept[1](b"late")
        answer = client.ask("/late")
        assert (answer.body, answer.get("X-Late")) == (b"body", None)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what happens after the response."""
    until(condition, "what follows the response")
