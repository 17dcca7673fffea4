"""`stdserve.http.server` beyond CPython's own tests: what is called, what is added."""

from __future__ import annotations

import copy
import http.client
import io
import os
import pickle
import random
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from stdserve.http import _headers, server
from stdserve.http.server import (
    BaseHTTPRequestHandler,
    HTTPServer,
    HTTPSServer,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
    ThreadingHTTPSServer,
)

from support.dropin import ask, connect, read_response, running, tls
from support.waiting import until


class Quiet(BaseHTTPRequestHandler):
    """Answers GET with what the test set, and keeps connections."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("HTTPServer", "ThreadingHTTPServer", "HTTPSServer", "ThreadingHTTPSServer"),
        *("BaseHTTPRequestHandler", "SimpleHTTPRequestHandler", "CGIHTTPRequestHandler"),
        *("DEFAULT_ERROR_MESSAGE", "DEFAULT_ERROR_CONTENT_TYPE", "test", "executable", "nobody_uid"),
        *("_url_collapse_path", "_get_best_family", "_main", "__version__"),
    ],
)
def test_every_name_of_the_standard_module_is_there(name: str) -> None:
    """The names of CPython 3.11 to 3.15."""
    assert hasattr(server, name)


def test_what_this_pythons_own_module_has_is_there() -> None:
    """No public name, and no attribute of a class, is missing."""
    import http.server as standard

    imported = {"annotations"} | {
        name for name in vars(standard) if isinstance(vars(standard)[name], type(os))
    }
    missing = [
        name
        for name in vars(standard)
        if not name.startswith("_") and name not in imported and not hasattr(server, name)
    ]
    assert set(missing) <= {"HTTPStatus", "nobody"}, missing
    for name in standard.__all__:
        ours, theirs = getattr(server, name), getattr(standard, name)
        assert [part for part in dir(theirs) if part[:2] != "__" and not hasattr(ours, part)] == [], name


# Overrides


def test_every_override_is_called() -> None:
    """Each documented step of server and handler, once for a connection of one request."""
    called: list[str] = []
    lock = threading.Lock()

    def recording(name: str, base: type) -> Any:
        def step(self: Any, *args: Any, **kwargs: Any) -> Any:
            with lock:
                called.append(name)
            return getattr(super(cls[base], self), name)(*args, **kwargs)

        return step

    server_steps = [
        *("server_bind", "server_activate", "get_request", "verify_request", "process_request"),
        *("process_request_thread", "finish_request", "shutdown_request", "close_request"),
        *("service_actions", "server_close"),
    ]
    handler_steps = [
        *("setup", "handle", "handle_one_request", "parse_request", "finish", "handle_expect_100"),
        *("send_response", "send_response_only", "send_header", "end_headers", "flush_headers"),
        *("log_request", "log_message", "version_string", "date_time_string"),
        *("log_date_time_string", "address_string", "do_GET"),
    ]

    class Log(Quiet):
        protocol_version = "HTTP/1.1"
        log_message = BaseHTTPRequestHandler.log_message

    cls: dict[type, type] = {}
    server_class = type(
        "Server", (ThreadingHTTPServer,), {n: recording(n, ThreadingHTTPServer) for n in server_steps}
    )
    handler_class = type("Handler", (Log,), {n: recording(n, Log) for n in handler_steps})
    cls[ThreadingHTTPServer], cls[Log] = server_class, handler_class
    with running(server_class(("127.0.0.1", 0), handler_class)) as address:
        got = ask(address, b"GET /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\n/x")
    # The client sees the end before the thread has done its last step.
    until(lambda: "close_request" in called, "the end of the connection")
    assert [step for step in server_steps + handler_steps if step not in called] == []
    assert called.count("do_GET") == called.count("setup") == called.count("finish") == 1


def test_methods_may_come_from_getattr() -> None:
    """As frameworks do it: one function for all methods."""

    class Any_(Quiet):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return lambda: Quiet.do_GET(self)
            raise AttributeError(name)

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Any_)) as address:
        assert b" 200 OK" in ask(address, b"BREW /pot HTTP/1.0\r\n\r\n")


def test_an_error_in_a_method_goes_to_handle_error() -> None:
    """The connection ends, the server goes on."""
    seen: list[str] = []

    class Fails(Quiet):
        def do_GET(self) -> None:
            raise RuntimeError("on purpose")

    class Server(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            seen.append(repr(sys.exc_info()[1]))

    with running(Server(("127.0.0.1", 0), Fails)) as address:
        assert ask(address, b"GET / HTTP/1.0\r\n\r\n") == b""
        assert ask(address, b"GET / HTTP/1.0\r\n\r\n") == b""
    assert seen == ["RuntimeError('on purpose')"] * 2


def test_connections_are_kept_and_requests_come_one_behind_the_other() -> None:
    """Pipelined, and one by one, on one connection and with one handler object."""
    handlers: set[int] = set()

    class Remembers(Quiet):
        def do_GET(self) -> None:
            handlers.add(id(self))
            super().do_GET()

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Remembers)) as address, connect(address) as sock:
        stream = sock.makefile("rb")
        sock.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [read_response(stream)[2] for _ in range(2)] == [b"/1", b"/2"]
        sock.sendall(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_response(stream)[2] == b"/3"
        assert len(handlers) == 1
        sock.sendall(b"GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_response(stream)[2] == b"/4"
        assert stream.read() == b""


def test_a_head_read_by_others_is_served_the_same_way() -> None:
    """`_serve_head`: the entry for who has read a head by other means."""
    sent: list[bytes] = []
    for via_head in (True, False):
        handler: Any = Quiet.__new__(Quiet)
        handler.client_address = ("127.0.0.1", 1)
        handler.wfile = io.BytesIO()
        handler.date_time_string = lambda timestamp=None: "now"
        if via_head:
            handler.rfile = io.BytesIO()
            headers = _headers.LazyMessage(lambda: [("Host", "a"), ("Connection", "close")])
            handler._serve_head("GET", "//x", "HTTP/1.1", "GET //x HTTP/1.1", headers, "close")
        else:
            handler.rfile = io.BytesIO(b"GET //x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            handler.handle_one_request()
        assert handler.close_connection is True
        assert handler.headers["host"] == "a"
        sent.append(handler.wfile.getvalue())
    assert sent[0] == sent[1]
    assert sent[0].endswith(b"\r\n\r\n/x")


def test_a_handler_for_whoever_drives_it_has_what_its_constructor_was_given(tmp_path: Path) -> None:
    """`_for_connection`: the keywords of the constructor, and the connection, but nothing has been read."""
    (tmp_path / "file").write_text("file")
    keywords = {"directory": tmp_path, "extra_response_headers": [("X-A", "b")]}
    handler: Any = SimpleHTTPRequestHandler._for_connection("socket", ("127.0.0.1", 1), "server", keywords)
    assert (handler.request, handler.server, handler.client_address) == ("socket", "server", ("127.0.0.1", 1))
    for path, code in (("/file", b"200"), ("/none", b"404")):
        handler.rfile, handler.wfile = io.BytesIO(), io.BytesIO()
        handler._serve_head("GET", path, "HTTP/1.0", "GET", _headers.LazyMessage([]))
        assert handler.wfile.getvalue().split()[1] == code
        assert (b"\r\nX-A: b\r\n" in handler.wfile.getvalue()) == (code == b"200")
    with pytest.raises(TypeError):
        Quiet._for_connection("socket", ("127.0.0.1", 1), "server", keywords)


def test_http_0_9_is_answered_at_once() -> None:
    """There is no head to wait for; the answer has none either, and the connection ends (Python 3.14)."""

    class Old(Quiet):
        def do_GET(self) -> None:
            assert self.headers.items() == []
            super().do_GET()

    with running(HTTPServer(("127.0.0.1", 0), Old)) as address, connect(address) as sock:
        sock.sendall(b"GET /old\r\n")
        assert sock.makefile("rb").read() == b"/old"


# Header fields


HEADS = [
    b"Host: a\r\n",
    b"A: b\r\na: c\r\nX-Empty:\r\nSpace:   two  \r\n",
    b"Content-Type: text/html; charset=utf-8\r\nCookie: a=b\r\nCookie: c=d\r\n",
    "Latin: Ä\r\n".encode("latin-1"),
    b"Folded: a\r\n\tb\r\n  c\r\nNext: d\r\n",
    b"Line: feed\nOnly: x\n",
]


@pytest.mark.parametrize("head", HEADS)
def test_messages_are_what_http_client_makes(head: bytes) -> None:
    """The quick way to a message gives the same object as the standard library's."""
    theirs = http.client.parse_headers(io.BytesIO(head + b"\r\n"))
    lines = _headers.read_lines(io.BytesIO(head + b"\r\n"), 65536, 100, 65536)
    fields = _headers.plain_fields(lines)
    assert fields is not None
    for ours in (_headers.LazyMessage(list(fields)), _headers.LazyMessage(lambda: list(fields))):
        assert isinstance(ours, http.client.HTTPMessage)
        assert ours.items() == theirs.items()
        assert ours.keys() == theirs.keys()
        assert str(ours) == str(theirs)
        assert ours.get_content_type() == theirs.get_content_type()
        assert ours.get_all("cookie") == theirs.get_all("cookie")
        assert ours.get_content_charset() == theirs.get_content_charset()
        assert ("host" in ours) == ("host" in theirs)
        assert ours.defects == theirs.defects == []
        assert pickle.loads(pickle.dumps(ours)).items() == theirs.items()
        assert copy.deepcopy(ours).items() == theirs.items()
        ours["Added"] = "1"
        del ours["Host"]
        assert ours["added"] == "1"
        assert ours["host"] is None


def test_any_head_that_is_plain_means_what_it_means_to_http_client() -> None:
    """Random heads of the bytes that matter: refused, or the same fields as the standard library's."""
    chance = random.Random(20210221)
    pieces = [
        b"A",
        b"b-1",
        b":",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"x",
        b"\x85",
        b"\x0b",
        b"\x00",
        b"From ",
        b"\xe4",
    ]
    same = 0
    for _ in range(20000):
        head = b"".join(
            chance.choices(pieces, weights=[6, 4, 6, 4, 1, 5, 1, 0.2, 5, 1, 0.2, 0.2, 0.3, 1], k=14)
        )
        lines = _headers.read_lines(io.BytesIO(head + b"\r\n\r\n"), 65536, 100, 65536)
        fields = _headers.plain_fields(lines)
        if fields is None:
            continue
        same += bool(fields)
        theirs = http.client.parse_headers(io.BytesIO(b"".join(lines)))
        assert theirs.items() == fields, head
        assert theirs.get_payload() == "", head
    assert same > 500


def test_a_message_class_of_ones_own_is_used() -> None:
    """`MessageClass`, as documented."""

    class Message(http.client.HTTPMessage):
        pass

    seen: list[Any] = []

    class Handler(Quiet):
        MessageClass = Message

        def do_GET(self) -> None:
            seen.append(self.headers)
            super().do_GET()

    with running(HTTPServer(("127.0.0.1", 0), Handler)) as address:
        ask(address, b"GET / HTTP/1.0\r\nA: b\r\n\r\n")
    assert type(seen[0]) is Message
    assert seen[0]["a"] == "b"


def test_dates_are_those_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made once a second, never a second late."""
    handler = Quiet.__new__(Quiet)
    texts = []
    for now in (784111777.9, 784111778.0, 784111778.5, 784111777.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        texts.append(handler.date_time_string())
        assert handler.log_date_time_string().endswith(f":{int(now) % 60:02d}")
    assert texts == [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        *["Sun, 06 Nov 1994 08:49:38 GMT"] * 2,
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ]


# TLS


@pytest.mark.parametrize("kind", [HTTPSServer, ThreadingHTTPSServer])
def test_https_server_of_3_14(certificate: Path, kind: Any) -> None:
    """Serves over TLS, keeps connections, and speaks HTTP/1.1 by ALPN."""
    with running(kind(("127.0.0.1", 0), Quiet, certfile=certificate)) as address, tls(address) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
        with sock.makefile("rb") as stream:
            for path in (b"/1", b"/2"):
                sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                assert read_response(stream)[2] == path


def test_who_says_nothing_does_not_hold_up_a_tls_server(certificate: Path) -> None:
    """The handshake is no part of accepting."""
    with running(ThreadingHTTPSServer(("127.0.0.1", 0), Quiet, certfile=certificate)) as address:
        with connect(address), tls(address) as sock:
            sock.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_response(sock.makefile("rb"))[2] == b"/1"


def test_a_handshake_must_come_in_time(certificate: Path) -> None:
    """`handshake_timeout`."""

    class Server(HTTPSServer):
        handshake_timeout = 0.05

    with running(Server(("127.0.0.1", 0), Quiet, certfile=certificate)) as address:
        with connect(address) as silent:
            assert silent.recv(1) == b""


def test_the_log_line_is_the_standard_librarys(capsys: pytest.CaptureFixture[str]) -> None:
    """Address, time, request line, status; control characters as numbers."""

    class Logs(Quiet):
        log_message = BaseHTTPRequestHandler.log_message

    with running(HTTPServer(("127.0.0.1", 0), Logs)) as address:
        ask(address, b"GET /\x1b\\ HTTP/1.0\r\n\r\n")
        line = until(lambda: capsys.readouterr().err, "the log line")
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4} \d\d:\d\d:\d\d\] "GET /\\x1b\\\\ HTTP/1\.0" 200 -\n',
        line,
    )


def test_a_unix_socket_may_be_served(short_path: Path) -> None:
    """As programs do it: the family, and a name for the server."""

    class Server(HTTPServer):
        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)
            self.server_name, self.server_port = "unix", 0

        def get_request(self) -> tuple[Any, Any]:
            request, _ = super().get_request()
            return request, ("unix", 0)

    path = str(short_path / "http")
    serving: Any = Server(path, Quiet)
    with running(serving), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET /unix HTTP/1.0\r\n\r\n")
        assert sock.makefile("rb").read().endswith(b"\r\n\r\n/unix")
