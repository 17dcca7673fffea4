"""What an application is told (PEP 3333, environ Variables)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stdserve

from support.wire import Client

Environ = dict[str, Any]


class Seen:
    """A server whose application keeps a copy of each environ."""

    def __init__(self, **options: Any) -> None:
        self.all: list[Environ] = []
        self.bodies: list[bytes] = []
        options.setdefault("bind", "127.0.0.1:0")
        self.server = stdserve.Server(self.app, **options)
        self.server.start()

    def app(self, environ: Environ, start_response: Any) -> list[bytes]:
        """Notes what it is given."""
        self.bodies.append(environ["wsgi.input"].read())
        self.all.append(dict(environ))
        start_response("200 OK", [])
        return [b""]

    def ask(self, raw: bytes) -> Environ:
        """The environ of one raw request."""
        assert isinstance(self.server.address, tuple)
        with Client(self.server.address) as client:
            client.send(raw)
            assert client.read().status == 200
        return self.all[-1]

    def get(self, target: str = "/", *lines: str) -> Environ:
        """The environ of a GET with further header lines."""
        head = [f"GET {target} HTTP/1.1", "Host: localhost", *lines, "", ""]
        return self.ask("\r\n".join(head).encode("latin-1"))


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """One server for most tests."""
    seen = Seen()
    yield seen
    seen.server.stop()


def test_required_keys(seen: Seen) -> None:
    """Every key that PEP 3333 asks for is there, with a value of the right type."""
    environ = seen.get("/a/b?c=d")
    port = seen.server.address[1]
    for key, value in {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "c=d",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_URI": "/a/b?c=d",
        "RAW_URI": "/a/b?c=d",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }.items():
        assert environ[key] == value, key
    assert type(environ["wsgi.version"]) is tuple
    assert environ["REMOTE_PORT"].isdigit()
    assert "CONTENT_LENGTH" not in environ
    assert "CONTENT_TYPE" not in environ
    for method in ("write", "writelines", "flush"):
        assert callable(getattr(environ["wsgi.errors"], method))


def test_environ_is_a_fresh_plain_dict(seen: Seen) -> None:
    """Applications change it: the next request does not see that."""
    kinds = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        kinds.append((type(environ), environ.get("left.over"), environ["REQUEST_METHOD"]))
        environ["left.over"] = 1
        environ["REQUEST_METHOD"] = "SPOILT"
        start_response("200 OK", [])
        return []

    with stdserve.Server(app, bind="127.0.0.1:0") as server, Client(server.address) as client:
        for _ in range(3):
            client.ask()
    assert kinds == [(dict, None, "GET")] * 3


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/?", "/", ""),
        ("/?a", "/", "a"),
        ("/a%20b", "/a b", ""),
        ("/caf%C3%A9", "/caf\xc3\xa9", ""),
        ("/%ff%00", "/\xff\x00", ""),
        ("/a%2Fb?c%2Fd", "/a/b", "c%2Fd"),
        ("/100%", "/100%", ""),
        ("/%zz", "/%zz", ""),
        ("/a+b?c+d", "/a+b", "c+d"),
        ("/a//b/../c", "/a//b/../c", ""),
        ("http://other.example/x?y", "/x", "y"),
        ("http://other.example?y", "/", "y"),
    ],
)
def test_path_and_query(seen: Seen, target: str, path: str, query: str) -> None:
    """The path is decoded into bytes, shown as latin-1; the query stays as it was sent."""
    environ = seen.get(target)
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["RAW_URI"]) == (path, query, target)


def test_values_of_one_request_do_not_stay_for_the_next(seen: Seen) -> None:
    """The template is brought up to date in both directions."""
    first = seen.ask(b"DELETE /one?two HTTP/1.1\r\nHost: a\r\nX-Only: here\r\nCookie: c=1\r\n\r\n")
    second = seen.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert (first["REQUEST_METHOD"], first["HTTP_HOST"], first["HTTP_X_ONLY"]) == ("DELETE", "a", "here")
    assert (second["REQUEST_METHOD"], second["PATH_INFO"], second["QUERY_STRING"]) == ("GET", "/", "")
    assert second["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert not {"HTTP_HOST", "HTTP_X_ONLY", "HTTP_COOKIE"} & set(second)
    assert seen.get()["HTTP_HOST"] == "localhost"


def test_absolute_form_names_the_host(seen: Seen) -> None:
    """HTTP_HOST says what won (RFC 9112 §3.2.2)."""
    assert seen.get("http://other.example:81/")["HTTP_HOST"] == "other.example:81"


def test_asterisk_form(seen: Seen) -> None:
    """OPTIONS * is about the server: its path is the asterisk."""
    environ = seen.ask(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("OPTIONS", "*")


def test_headers_become_keys_in_any_case_of_letters(seen: Seen) -> None:
    """Known names and unknown ones alike."""
    environ = seen.get("/", "aCCept-encODing: gzip", "x-BRAND-new-0: 1", "User-Agent: me", "1: digit")
    assert environ["HTTP_ACCEPT_ENCODING"] == "gzip"
    assert environ["HTTP_X_BRAND_NEW_0"] == "1"
    assert environ["HTTP_USER_AGENT"] == "me"
    assert environ["HTTP_1"] == "digit"


def test_repeated_headers_are_joined(seen: Seen) -> None:
    """By a comma (RFC 9110 §5.3), cookies by a semicolon."""
    lines = ["X-A: 1", "Cookie: a=1", "X-A: 2", "Accept: x", "Cookie: b=2", "x-a:", "Accept: y"]
    environ = seen.get("/", *lines)
    assert environ["HTTP_X_A"] == "1,2,"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_ACCEPT"] == "x,y"


def test_header_bytes_are_latin_1(seen: Seen) -> None:
    """Every byte is one code point."""
    value = "\xe9\xff caf\xc3\xa9"
    assert seen.get("/", f"X-Bytes: {value}")["HTTP_X_BYTES"] == value


def test_more_unknown_headers_than_are_kept(seen: Seen) -> None:
    """The table of names is bounded; past its bound names work as before, repeated ones too."""
    for start in range(0, 400, 80):
        lines = [f"X-Many-{number}: {number}" for number in range(start, start + 80)]
        environ = seen.get("/", *lines, f"x-many-{start + 79}: again")
        for number in range(start, start + 79):
            assert environ[f"HTTP_X_MANY_{number}"] == str(number)
        assert environ[f"HTTP_X_MANY_{start + 79}"] == f"{start + 79},again"


def test_content_type_and_length(seen: Seen) -> None:
    """They have keys of their own."""
    environ = seen.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\ncontent-type: text/x\r\ncontent-length: 003\r\n\r\nabc"
    )
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/x", "3")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)
    assert seen.bodies[-1] == b"abc"


def test_a_chunked_body_has_its_length(seen: Seen) -> None:
    """It is whole before the application runs, so CONTENT_LENGTH is known and `chunked` is undone."""
    environ = seen.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert (environ["CONTENT_LENGTH"], seen.bodies[-1]) == ("5", b"abcde")
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_codings_before_chunked_are_the_applications(seen: Seen) -> None:
    """gzip is not undone, so the application has to be told."""
    environ = seen.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\n\r\n"
    )
    assert environ["HTTP_TRANSFER_ENCODING"] == "gzip"


@pytest.mark.parametrize("root", ["/mount", "/mount/"])
def test_root_path_is_script_name(root: str) -> None:
    """A path below it is split; one that a proxy has shortened already stays."""
    seen = Seen(root_path=root)
    for target, path in {
        "/mount/x?y": "/x",
        "/mount": "",
        "/mounted/x": "/mounted/x",
        "/x": "/x",
        "/mount/": "/",
    }.items():
        environ = seen.get(target)
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/mount", path), target
    seen.server.stop()


def test_one_thread_is_no_multithreading() -> None:
    """wsgi.multithread tells the truth."""
    seen = Seen(threads=1)
    assert seen.get()["wsgi.multithread"] is False
    seen.server.stop()


def test_unix_socket(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no address: SERVER_NAME and SERVER_PORT are not empty all the same."""
    monkeypatch.chdir(tmp_path)
    seen = Seen(bind="unix:s.sock")
    with Client("s.sock") as client:
        client.ask()
    environ = seen.all[-1]
    assert environ["REMOTE_ADDR"] == ""
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PORT"]
    seen.server.stop()


def test_two_listeners_have_their_own_values() -> None:
    """The prepared part belongs to a listener."""
    seen = Seen(bind=["127.0.0.1:0", "[::1]:0"])
    for _ in range(2):
        for address in seen.server.addresses:
            assert isinstance(address, tuple)
            with Client(address) as client:
                client.ask("/same?target")
            environ = seen.all[-1]
            assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (address[0], str(address[1]))
            assert (environ["REMOTE_ADDR"], environ["PATH_INFO"]) == (address[0], "/same")
    seen.server.stop()
