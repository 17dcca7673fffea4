"""`stdserve.http.server` beyond CPython's own tests: what is called, what is added, the command."""

from __future__ import annotations

import copy
import http.client
import io
import os
import pickle
import random
import re
import socket
import subprocess
import sys
import threading
import time
from functools import partial
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

from support.dropin import ask, connect, make_certificate, read_response, running, tls
from support.waiting import PATIENCE, until


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
    handler: Any = Files._for_connection("socket", ("127.0.0.1", 1), "server", keywords)
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


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files to serve."""
    (tmp_path / "digits.txt").write_bytes(b"0123456789")
    (tmp_path / "unknown.zzz").write_bytes(b"?")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    return tmp_path


class Files(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def get(address: tuple[str, int], path: str, **fields: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One GET: status, fields, body."""
    connection = http.client.HTTPConnection(*address[:2], timeout=PATIENCE)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in fields.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, body


@pytest.mark.parametrize(
    ("value", "status", "body", "said"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("Bytes = 0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=\u0660-\u0663".encode().decode("latin-1"), 200, b"0123456789", None),
    ],
)
def test_parts_of_files(folder: Path, value: str, status: int, body: bytes, said: str | None) -> None:
    """One range is answered; what is not understood does not count (RFC 9110 14.2)."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        got = get(address, "/digits.txt", Range=value)
    assert (got[0], got[2], got[1]["Content-Range"]) == (status, body, said)
    assert got[1]["Content-Length"] == str(len(body))


def test_a_slash_may_be_encoded(folder: Path) -> None:
    """`%2f` at the end of a path is a slash: a folder, and no file (Python 3.14)."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert [get(address, path)[0] for path in ("/sub%2f", "/sub%2F", "/sub", "/digits.txt%2f")] == [
            200,
            200,
            301,
            404,
        ]


def test_if_range_decides_whether_a_part_is_sent(folder: Path) -> None:
    """The part only of the file that the client has the rest of (RFC 9110 13.1.5)."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        date = get(address, "/digits.txt")[1]["Last-Modified"]
        assert get(address, "/digits.txt", Range="bytes=0-0", If_Range=date)[0] == 206
        other = "Sun, 06 Nov 1994 08:49:37 GMT"
        assert get(address, "/digits.txt", Range="bytes=0-0", If_Range=other)[0] == 200
        assert get(address, "/digits.txt", Range="bytes=0-0", If_Range='"etag"')[0] == 200


def test_parts_of_files_can_be_switched_off(folder: Path) -> None:
    """`range_requests`."""

    class Whole(Files):
        range_requests = False

    with running(HTTPServer(("127.0.0.1", 0), partial(Whole, directory=folder))) as address:
        status, fields, body = get(address, "/digits.txt", Range="bytes=0-3")
    assert (status, body, fields["Accept-Ranges"]) == (200, b"0123456789", None)


def test_range_bombs_are_answered_with_one_file(folder: Path) -> None:
    """Thousands of ranges, overlapping or not, cost what the file costs."""
    many = "bytes=" + ",".join(f"{n % 10}-" for n in range(5000))
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert get(address, "/digits.txt", Range=many)[2] == b"0123456789"
        assert get(address, "/empty", Range="bytes=0-")[0] == 416


def test_extra_response_headers_of_3_15(folder: Path) -> None:
    """They stand in answers of 200, and never in the place of the server's own."""
    extra = [("X-One", "1"), ("X-One", "2"), ("Content-Type", "no/no"), ("Server", "no")]
    handler = partial(Files, directory=folder, extra_response_headers=extra)
    with running(HTTPServer(("127.0.0.1", 0), handler)) as address:
        for path in ("/digits.txt", "/"):
            fields = get(address, path)[1]
            assert fields.get_all("X-One") == ["1", "2"]
            assert "no/no" not in fields.get_all("Content-Type", [])
            assert fields.get_all("Server") != ["no"]
            assert len(fields.get_all("Server", [])) == 1
        assert get(address, "/nothing")[1]["X-One"] is None
        assert get(address, "/sub")[1]["X-One"] is None


def test_default_content_type_of_3_15(folder: Path) -> None:
    """The type of what no extension tells."""

    class Text(Files):
        default_content_type = "text/plain"

    with running(HTTPServer(("127.0.0.1", 0), partial(Text, directory=folder))) as address:
        assert get(address, "/unknown.zzz")[1]["Content-Type"] == "text/plain"


def test_index_pages_of_3_12(folder: Path) -> None:
    """`index_pages`, on every Python."""

    class Home(Files):
        index_pages = ("home.txt", "digits.txt")

    with running(HTTPServer(("127.0.0.1", 0), partial(Home, directory=folder))) as address:
        assert get(address, "/")[2] == b"0123456789"


def test_a_file_that_changes_its_length_keeps_the_framing(folder: Path) -> None:
    """What has grown is cut where it was said to end; what has shrunk ends the connection."""
    path = folder / "digits.txt"

    class Changing(Files):
        protocol_version = "HTTP/1.1"

        def copyfile(self, source: Any, outputfile: Any) -> None:
            os.truncate(path, 0)
            path.write_bytes(b"x" * (15 if self.path.endswith("grow") else 4))
            super().copyfile(source, outputfile)

    with running(HTTPServer(("127.0.0.1", 0), partial(Changing, directory=folder))) as address:
        with connect(address) as sock:
            sock.sendall(b"GET /digits.txt?grow HTTP/1.1\r\nHost: a\r\n\r\n")
            stream = sock.makefile("rb")
            assert read_response(stream)[2] == b"x" * 10
            sock.sendall(b"GET /digits.txt?shrink HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_response(stream)[1]["content-length"] == "15"
            assert stream.read() == b""


def test_pipes_and_folders_are_no_files(folder: Path) -> None:
    """A named pipe without a writer would hold up the open for ever."""
    os.mkfifo(folder / "pipe")
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert get(address, "/pipe")[0] == 404
        assert get(address, "/digits.txt")[0] == 200


def test_links_lead_out_unless_told_otherwise(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`follow_symlinks`."""
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("secret")
    (folder / "link").symlink_to(outside)
    (folder / "inner").symlink_to("digits.txt")
    (folder / "up").symlink_to(outside.parent)

    class Inside(Files):
        follow_symlinks = False

    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert get(address, "/link")[2] == b"secret"
    with running(HTTPServer(("127.0.0.1", 0), partial(Inside, directory=folder))) as address:
        assert [get(address, path)[0] for path in ("/link", "/up/secret", "/up/", "/inner")] == [
            404,
            404,
            404,
            200,
        ]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, with its key in the same file."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


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


# The command


def command(*arguments: str, cwd: Path) -> tuple[subprocess.Popen[str], str]:
    """Starts `python -m stdserve.http.server`, and returns it with what it printed first."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "stdserve.http.server", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


def test_the_command_serves_a_folder_with_the_options_of_3_15(folder: Path) -> None:
    """Files, extra fields, a default type, an address."""
    process, greeting = command(
        *("--bind", "127.0.0.1", "--directory", str(folder), "--protocol", "HTTP/1.1"),
        *("-H", "X-A", "1", "--header", "X-B", "2", "--content-type", "text/plain", "0"),
        cwd=folder,
    )
    try:
        found = re.fullmatch(
            r"Serving HTTP on 127\.0\.0\.1 port (\d+) \(http://127\.0\.0\.1:\1/\) \.\.\.\n", greeting
        )
        assert found is not None, greeting
        status, fields, body = get(("127.0.0.1", int(found[1])), "/unknown.zzz")
        assert (status, body) == (200, b"?")
        assert (fields["X-A"], fields["X-B"], fields["Content-Type"]) == ("1", "2", "text/plain")
    finally:
        process.terminate()
        process.communicate()


def test_the_command_serves_over_tls(folder: Path, certificate: Path) -> None:
    """--tls-cert, of 3.14."""
    process, greeting = command("--bind", "127.0.0.1", "--tls-cert", str(certificate), "0", cwd=folder)
    try:
        found = re.match(r"Serving HTTPS on 127\.0\.0\.1 port (\d+) \(https://", greeting)
        assert found is not None, greeting
        with tls(("127.0.0.1", int(found[1]))) as sock:
            sock.sendall(b"GET /digits.txt HTTP/1.0\r\n\r\n")
            assert sock.makefile("rb").read().endswith(b"0123456789")
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tls-key", "x"], "--tls-key requires --tls-cert to be set"),
        (["--tls-password-file", "x"], "--tls-password-file requires --tls-cert to be set"),
        (["--tls-cert", "x", "--tls-password-file", "/nowhere"], "Failed to read TLS password file"),
        (["--unknown"], "unrecognized arguments: --unknown"),
        (["port"], "invalid int value"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage errors end with code 2 and say what was wrong."""
    with pytest.raises(SystemExit) as end:
        server._main(arguments)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


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
