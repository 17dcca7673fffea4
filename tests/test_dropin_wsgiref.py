"""`stdserve.wsgiref` beyond CPython's own tests."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from stdserve.wsgiref import simple_server
from stdserve.wsgiref.simple_server import WSGIRequestHandler, demo_app, make_server

from support.dropin import ask, connect, read_all, running

Start = Callable[..., Any]


class Quiet(WSGIRequestHandler):
    """Without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def show(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Says what the environ is, and what the body was."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    return [repr((body, shown)).encode()]


def answer_of(request: bytes, app: Any = show, handler: Any = Quiet) -> bytes:
    """The body of the answer to this request."""
    with running(make_server("127.0.0.1", 0, app, handler_class=handler)) as address:
        return ask(address, request).partition(b"\r\n\r\n")[2]


def environ_of(request: bytes, handler: Any = Quiet) -> dict[str, str]:
    """The environ of this request."""
    shown: tuple[bytes, dict[str, str]] = eval(answer_of(request, handler=handler))
    return shown[1]


@pytest.mark.parametrize("name", ["handlers", "headers", "types", "util", "validate"])
def test_what_only_computes_is_the_standard_librarys(name: str) -> None:
    """The very same module, so that classes are the same under both names."""
    assert importlib.import_module(f"stdserve.wsgiref.{name}") is importlib.import_module(f"wsgiref.{name}")


def test_every_name_of_the_standard_module_is_there() -> None:
    """`wsgiref.simple_server`, with what its tests use."""
    standard = importlib.import_module("wsgiref.simple_server")
    missing = [
        name for name in vars(standard) if not name.startswith("_") and not hasattr(simple_server, name)
    ]
    assert missing == []
    assert sorted(simple_server.__all__) == sorted(standard.__all__)
    assert simple_server.WSGIServer.__module__ == "wsgiref.simple_server"


def test_the_demonstration_is_the_standard_librarys() -> None:
    """The same bytes."""
    standard = importlib.import_module("wsgiref.simple_server")
    environ = {"B": "1", "A": object()}
    start: Any = lambda *_: None  # noqa: E731
    ours, theirs = (list(app(dict(environ), start)) for app in (demo_app, standard.demo_app))
    assert ours == theirs


def test_the_environ_is_that_of_pep_3333() -> None:
    """Names and values, as the standard library makes them."""
    request = b"GET /a%20b/?c=d HTTP/1.0\r\nX-A: 1 \r\nx-a: 2\r\nContent-Type: text/x\r\nHost: h\r\n\r\n"
    environ = environ_of(request)
    expected = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/a b/",
        "QUERY_STRING": "c=d",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "HTTP_X_A": "1,2",
        "HTTP_HOST": "h",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
    }
    assert {key: environ.get(key) for key in expected} == expected


def test_the_input_ends_where_the_body_does() -> None:
    """PEP 3333; in the standard library `read()` waits for a client that waits for the answer."""
    with running(make_server("127.0.0.1", 0, show, handler_class=Quiet)) as address, connect(address) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbodyMORE")
        assert b"(b'body', {" in read_all(sock)


def test_the_ways_to_read_the_input() -> None:
    """Lines, pieces, buffers: none reads past the end."""

    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        stream = environ["wsgi.input"]
        buffer = bytearray(3)
        got = [stream.readline(), stream.read(2), stream.readline(1), stream.readinto(buffer), bytes(buffer)]
        got += [stream.read1(1), list(stream), stream.read(), stream.readline(), stream.readlines()]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [repr(got).encode()]

    request = b"POST / HTTP/1.0\r\nContent-Length: 18\r\n\r\none\n2233344\n5\nlast\nMORE"
    assert eval(answer_of(request, app)) == [
        *(b"one\n", b"22", b"3", 3, b"334", b"4", [b"\n", b"5\n", b"last"], b"", b"", []),
    ]


def test_cve_2016_1000111_the_environ_has_no_http_proxy() -> None:
    """httpoxy: unless told otherwise."""

    class Lax(Quiet):
        drop_proxy_header = False

    request = b"GET / HTTP/1.0\r\nProxy: evil.example\r\n\r\n"
    assert "HTTP_PROXY" not in environ_of(request)
    assert environ_of(request, Lax)["HTTP_PROXY"] == "evil.example"


def test_smuggling_a_field_with_an_underscore_is_not_its_twin_with_a_dash() -> None:
    """Both would be HTTP_X_USER, and a proxy strips only one."""

    class Lax(Quiet):
        drop_underscored_headers = False

    request = b"GET / HTTP/1.0\r\nX_User: admin\r\nContent_Length: 3\r\n\r\n"
    assert "HTTP_X_USER" not in environ_of(request)
    assert environ_of(request)["CONTENT_LENGTH"] == ""
    assert environ_of(request, Lax)["HTTP_X_USER"] == "admin"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nA: b"])
def test_a_head_must_come_in_time(sent: bytes) -> None:
    """`header_timeout` counts here as well."""

    class Impatient(Quiet):
        header_timeout = 0.05

    with running(make_server("127.0.0.1", 0, show, handler_class=Impatient)) as address:
        with connect(address) as sock:
            sock.sendall(sent)
            assert read_all(sock) == b""
