"""What `stdserve.http.server` refuses, bounds and ends: each limit, each time-out, each known attack."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from stdserve.http.server import (
    BaseHTTPRequestHandler,
    CGIHTTPRequestHandler,
    HTTPServer,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
    ThreadingHTTPSServer,
)

from support.dropin import ask, connect, read_all, read_response, running, tls
from support.waiting import PATIENCE


class Recorder(BaseHTTPRequestHandler):
    """Answers every GET and POST, and keeps what it was asked, and what it logged."""

    protocol_version = "HTTP/1.1"
    reads_body = True
    asked: list[tuple[str, str, bytes]]
    logged: list[str]

    def do_GET(self) -> None:
        body = b""
        if self.reads_body:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.command or "", self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        self.logged.append(format % args)


@contextmanager
def recording(**attributes: Any) -> Iterator[tuple[tuple[str, int], Any]]:
    """A server of a `Recorder` with these attributes: address and handler class."""
    handler = type("Handler", (Recorder,), {"asked": [], "logged": [], **attributes})
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield address, handler


def status(answer: bytes) -> int:
    """The status of a response."""
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer.split()[1])


# Smuggling: RFC 9112

#: What comes behind the ambiguous request, and must never be served.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"Content-Length: 3\r\nContent-Length: 5\r\n", 400),
        (b"Content-Length: 3, 3\r\n", 400),
        (b"Content-Length: +3\r\n", 400),
        (b"Content-Length: -3\r\n", 400),
        (b"Content-Length: 0x3\r\n", 400),
        (b"Content-Length: 1_0\r\n", 400),
        (b"Content-Length: 3 3\r\n", 400),
        (b"Content-Length: \xb2\r\n", 400),
        (b"Content-Length: \r\n", 400),
        (b"Content-Length: 99999999999999999999999\r\n", 400),
        (b"Content-Length:\r\n 3\r\n", 400),
        (b"Content-Length: 3\r\n 3\r\n", 400),
        (b"Content-Length : 3\r\n", 400),
        (b"Content-Length\t: 3\r\n", 400),
        (b" Content-Length: 3\r\n", 400),
        (b"X: y\r\n Content-Length : 3\r\n", 400),
        (b"X: y\r\n\tTransfer-Encoding:chunked\r\n", 400),
        (b"X: y\r\n \r\nContent-Length: 3\r\n", 400),
        (b"X: y\rContent-Length: 3\r\n", 400),
        (b"X: y\x00Content-Length: 3\r\n", 400),
        (b"X: y\x0bz\r\n", 400),
        (b"X\x00: y\r\n", 400),
        (b"X Y: z\r\n", 400),
        (b"no colon\r\n", 400),
        (b": no name\r\n", 400),
        (b"Transfer-Encoding: xchunked\r\n", 501),
        (b"Transfer-Encoding: chunked, identity\r\n", 501),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 501),
        (b"Transfer-Encoding: chun\r\n ked\r\n", 501),
        (b"Transfer-Encoding: \x0bchunked\r\n", 400),
        (b"Transfer-Encoding : chunked\r\n", 400),
        (b"Host: b\r\n", 400),
    ],
)
def test_smuggling_ambiguous_heads_are_refused_with_all_behind_them(head: bytes, code: int) -> None:
    """The answer says so, and the connection ends."""
    with recording() as (address, handler):
        answer = ask(address, b"POST /front HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n" + HIDDEN)
        assert status(answer) == code
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.count(b"HTTP/1.1 ") == 1
    assert handler.asked == []


def test_smuggling_transfer_encoding_in_http_1_0_is_refused() -> None:
    """RFC 9112 6.1: its framing is faulty."""
    with recording() as (address, handler):
        assert status(ask(address, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")) == 400
    assert handler.asked == []


@pytest.mark.parametrize("refuse", [False, True])
def test_smuggling_length_beside_chunks_ends_the_connection(refuse: bool) -> None:
    """CL.TE and TE.CL: whatever the handler reads, nothing behind it is served (RFC 9112 6.3)."""
    head = b"POST /front HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with recording(reads_body=False, refuse_length_with_chunks=refuse) as (address, handler):
        answer = ask(address, head + b"0\r\n\r\n" + HIDDEN)
        assert status(answer) == (400 if refuse else 200)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nConnection: close\r\n" in answer
    assert [path for _, path, _ in handler.asked] == ([] if refuse else ["/front"])


def test_smuggling_a_body_that_is_not_read_is_no_request() -> None:
    """In CPython what a handler leaves unread is taken for the next request."""
    body = HIDDEN
    request = b"POST /front HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with recording(reads_body=False) as (address, handler):
        answer = ask(address, request + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 ") == 2
    assert [path for _, path, _ in handler.asked] == ["/front", "/next"]


def test_a_long_body_that_is_not_read_ends_the_connection() -> None:
    """`max_unread_body`."""
    request = b"POST /front HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    with recording(reads_body=False, max_unread_body=99) as (address, handler), connect(address) as sock:
        sock.sendall(request)
        assert status(read_all(sock)) == 200
    assert len(handler.asked) == 1


def test_smuggling_in_laxness_one_can_choose() -> None:
    """`strict_framing = False`: as the standard library, whatever that means."""
    with recording(strict_framing=False) as (address, handler):
        assert status(ask(address, b"GET / HTTP/1.1\r\nno colon\r\n\r\n")) == 200
        assert status(ask(address, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")) == 200
    assert len(handler.asked) == 2


def test_requests_that_are_fine_are_served() -> None:
    """The other side of the list: none of these is refused."""
    fine = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nX-Empty:\r\nFolded: a\r\n\tb\r\n\r\n",
    ]
    with recording() as (address, handler):
        assert [status(ask(address, request)) for request in fine] == [200] * len(fine)
    assert len(handler.asked) == len(fine)


# Limits


def test_the_number_of_header_lines_is_bounded() -> None:
    """`max_header_fields`."""
    with recording(max_header_fields=3) as (address, _):
        assert status(ask(address, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3 + b"\r\n")) == 200
        assert status(ask(address, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4 + b"\r\n")) == 431


def test_the_size_of_the_header_lines_is_bounded() -> None:
    """`max_header_size`, whose default is 128 KiB; CPython takes a hundred lines of 64 KiB."""
    with recording(max_header_size=20) as (address, _):
        assert status(ask(address, b"GET / HTTP/1.1\r\nA: 345678\r\nB: 345678\r\n\r\n")) == 431
        assert status(ask(address, b"GET / HTTP/1.1\r\nA: 345678\r\n\r\n")) == 200
    with recording() as (address, _):
        assert status(ask(address, b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 60000 + b"\r\n\r\n")) == 200
        assert status(ask(address, b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 60000 + b"\r\n") * 3)) == 431


def test_the_announced_body_is_bounded() -> None:
    """`max_body_size`."""
    with recording(max_body_size=3) as (address, handler):
        assert status(ask(address, b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")) == 200
        assert status(ask(address, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd")) == 413
        assert handler.asked == [("POST", "/", b"abc")]
    with recording() as (address, handler):
        assert status(ask(address, b"POST / HTTP/1.1\r\nContent-Length: 1073741825\r\n\r\n")) == 413
    with recording(max_body_size=None, reads_body=False) as (address, handler):
        assert status(ask(address, b"POST / HTTP/1.1\r\nContent-Length: 1073741825\r\n\r\n")) == 200


def test_who_is_refused_while_sending_sees_the_answer() -> None:
    """`linger_timeout`: closing with something unread would reset the connection, and lose the answer."""
    body = bytes(4 << 20)
    with recording(max_body_size=3) as (address, _), connect(address) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert status(answer) == 413


def test_the_body_is_asked_for_only_where_it_is_taken() -> None:
    """Expect: 100-continue, and a body that is too long: 413 and no 100."""
    with recording(max_body_size=3) as (address, _), connect(address) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert status(read_all(sock)) == 413


def test_a_chunked_request_with_expectation_gets_a_clean_100() -> None:
    """The end of the connection is announced in the answer, not before it."""
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    with recording() as (address, _):
        answer = ask(address, head)
    interim, final = answer.split(b"\r\n\r\n", 1)
    assert interim == b"HTTP/1.1 100 Continue"
    assert final.count(b"Connection: close\r\n") == 1


# Time-outs


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: b\r\nC"])
def test_a_head_must_come_in_time(sent: bytes) -> None:
    """`header_timeout`: from the connection's begin to the head's end."""
    with recording(header_timeout=0.05) as (address, handler), connect(address) as sock:
        sock.sendall(sent)
        assert read_all(sock) == b""
        assert handler.asked == []
    assert handler.logged == ["Request timed out: TimeoutError('timed out')"]


def test_a_head_that_drips_in_is_not_waited_for() -> None:
    """slowloris: each byte comes soon after the one before, and the head never ends."""
    with recording(header_timeout=0.2) as (address, handler), connect(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nX: ")
        sock.settimeout(0.01)
        for _ in range(int(PATIENCE / 0.01)):
            try:
                assert sock.recv(1) == b""
                break
            except TimeoutError:
                sock.sendall(b"a")
            except ConnectionResetError:
                break
        else:
            pytest.fail("still waiting")
    assert handler.asked == []


def test_an_idle_connection_is_ended_without_a_word() -> None:
    """`keep_alive_timeout`; the next head has its whole time again."""
    with recording(keep_alive_timeout=0.05) as (address, handler), connect(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stream = sock.makefile("rb")
        assert read_response(stream)[2] == b"ok"
        assert stream.read() == b""
    assert handler.logged == ['"GET / HTTP/1.1" 200 -']


def test_a_second_head_must_come_in_time_too() -> None:
    """A begun request is a time-out and not idleness."""

    def do_GET(self: Any) -> None:
        # From here on: the first head has all the time that it needs.
        self.header_timeout = 0.05
        Recorder.do_GET(self)

    with recording(do_GET=do_GET) as (address, handler), connect(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\nGET /2")
        stream = sock.makefile("rb")
        assert read_response(stream)[2] == b"ok"
        assert stream.read() == b""
    assert handler.logged[-1].startswith("Request timed out")


def test_a_body_must_go_on_coming() -> None:
    """`body_timeout`, for a read of the handler."""
    with recording(body_timeout=0.05) as (address, handler), connect(address) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc")
        assert read_all(sock) == b""
    assert handler.asked == []
    assert handler.logged == ["Request timed out: TimeoutError('timed out')"]


def test_who_does_not_read_is_not_written_to_for_ever() -> None:
    """`write_timeout`."""
    over = threading.Event()

    def do_GET(self: Any) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(2000):
                self.wfile.write(bytes(1 << 16))
        except TimeoutError:
            over.set()
            raise

    with recording(do_GET=do_GET, write_timeout=0.05) as (address, handler), connect(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert over.wait(PATIENCE)
    assert handler.logged[-1].startswith("Request timed out")


def test_time_outs_leave_the_socket_as_it_is() -> None:
    """Who inherits the connection finds it blocking, and without a time-out of Python's."""
    seen: list[object] = []

    def do_GET(self: Any) -> None:
        seen.extend((self.connection.gettimeout(), os.get_blocking(self.connection.fileno())))
        self.send_error(404)

    with recording(do_GET=do_GET) as (address, _):
        ask(address, b"GET / HTTP/1.1\r\n\r\n")
    assert seen == [None, True]


def test_time_outs_count_over_tls(certificate: Path) -> None:
    """Where a record that came in part makes the socket readable."""
    handler: Any = type("Handler", (Recorder,), {"asked": [], "logged": [], "header_timeout": 0.1})
    with running(ThreadingHTTPSServer(("127.0.0.1", 0), handler, certfile=certificate)) as address:
        with tls(address) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nA")
            assert sock.recv(1) == b""
        with tls(address) as sock:
            raw = socket.socket(fileno=os.dup(sock.fileno()))
            with raw:
                # The first bytes of a record.
                raw.sendall(b"\x17\x03\x03\x00\x40\x00")
                raw.settimeout(PATIENCE)
                read_all(raw)
    assert handler.asked == []
    assert handler.logged == ["Request timed out: TimeoutError('timed out')"] * 2


def test_a_time_out_of_the_handlers_own_is_told_of_an_idle_connection_too() -> None:
    """As in the standard library."""

    def do_GET(self: Any) -> None:
        self.connection.settimeout(0.05)
        Recorder.do_GET(self)

    with recording(do_GET=do_GET) as (address, handler), connect(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stream = sock.makefile("rb")
        assert read_response(stream)[2] == b"ok"
        assert stream.read() == b""
    assert handler.logged[1:] == ["Request timed out: TimeoutError('timed out')"]


def test_a_time_out_of_the_handlers_own_counts_as_in_the_standard_library() -> None:
    """`timeout`, which the standard library documents."""
    with recording(timeout=0.05) as (address, handler), connect(address) as sock:
        assert read_all(sock) == b""
    assert handler.logged == ["Request timed out: TimeoutError('timed out')"]


# Injection


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\x00b"])
def test_response_splitting_line_ends_in_fields_are_refused(value: str) -> None:
    """`refuse_header_injection`."""
    raised: list[str] = []

    def do_GET(self: Any) -> None:
        self.send_response(302, "Found\r\nX-Injected: 1")
        for name, text in (("Location", value), (value, "x")):
            try:
                self.send_header(name, text)
            except ValueError as error:
                raised.append(str(error))
        self.send_header("Content-Length", "0")
        self.end_headers()

    with recording(do_GET=do_GET) as (address, _):
        answer = ask(address, b"GET / HTTP/1.1\r\n\r\n")
    assert len(raised) == 2
    assert answer.startswith(b"HTTP/1.1 302 Found X-Injected: 1\r\n")
    assert b"\r\nX-Injected" not in answer
    assert b"Set-Cookie" not in answer


def test_the_error_page_escapes_what_the_client_sent() -> None:
    """bpo-1100201: no script from the request line in the page."""
    with recording() as (address, _):
        answer = ask(address, b"<script>x</script> / HTTP/1.1\r\n\r\n")
    assert status(answer) == 501
    assert b"<script>" not in answer.split(b"\r\n\r\n", 1)[1]


# Known vulnerabilities


class Files(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to serve, with a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    served = tmp_path / "served"
    (served / "sub").mkdir(parents=True)
    (served / "file").write_text("file")
    return served


@pytest.mark.parametrize(
    "path",
    [
        *("//evil.example/..", "///evil.example/..", "////evil.example/%2e%2e", "//evil.example/%2f.."),
        *("/\\evil.example/..", "/\\/evil.example/..", "//\\evil.example/.."),
    ],
)
def test_cve_2021_28861_no_redirect_to_another_host(folder: Path, path: str) -> None:
    """What looks like `//host` in Location is another host's address to a browser."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        answer = ask(address, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    location = next(
        (line.partition(b": ")[2] for line in answer.split(b"\r\n") if line.startswith(b"Location")), b"/"
    )
    assert location.startswith(b"/")
    assert not location.startswith((b"//", b"/\\"))


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret", "/..%2fsecret", "/%2e%2e/secret", "/sub/../../secret", "/sub/..%2f..%2fsecret"),
        *("/....//secret", "/..\\secret", "/..%5csecret", "/%2e%2e%2fsecret", "//../secret", "../secret"),
        *("/.%00./secret", "/file%00/../../secret", "/..;/secret", "/%c0%ae%c0%ae/secret", "/..%252fsecret"),
        *("/sub/..%c0%af..%c0%afsecret", "/\x00/../secret", "http://host/../secret", "/%2e%2e%5csecret"),
    ],
)
def test_cve_2024_23334_and_2023_29159_no_path_leaves_the_folder(folder: Path, path: str) -> None:
    """Traversal: dots, encoded and doubly encoded, backslashes, NUL, overlong UTF-8, absolute forms."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        answer = ask(address, f"GET {path} HTTP/1.0\r\n\r\n".encode("latin-1"))
        assert answer, "the request was not answered"
        assert b"secret\r\n" not in answer.split(b"\r\n\r\n", 1)[-1]
        assert not answer.endswith(b"secret")
        assert ask(address, b"GET /file HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nfile")


def test_a_path_with_nul_is_not_found(folder: Path) -> None:
    """CPython ends such a request with a traceback."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert b" 404 " in ask(address, b"GET /a%00b HTTP/1.0\r\n\r\n").split(b"\r\n")[0]


SCRIPT = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
env
echo "args $*"
[ -z "$CONTENT_LENGTH" ] || cat
"""


class Scripts(CGIHTTPRequestHandler):
    """Runs scripts without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a script in cgi-bin, that everybody may read."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "cgi-bin" / "inner").mkdir(parents=True)
    for path in ("cgi-bin/script", "cgi-bin/inner/script"):
        (folder / path).write_text(SCRIPT)
        (folder / path).chmod(0o755)
    (folder / "page").write_text("a page")
    above = folder
    while above != Path("/tmp") and above != above.parent:
        # As root the script runs as nobody, who has to get there.
        if above.stat().st_uid == os.getuid():
            above.chmod(above.stat().st_mode | 0o011)
        above = above.parent
    return folder


SCRIPT_PATHS = [
    *("/cgi-bin/script", "cgi-bin/script", "//cgi-bin/script", "/cgi-bin//script", "/./cgi-bin/script"),
    *("/x/../cgi-bin/script", "/cgi-bin%2fscript", "/%63gi-bin/script", "/cgi-bin/inner/script"),
    *("/cgi-bin/script?", "/cgi-bin/script/", "/cgi-bin/../cgi-bin/script", "/cgi-bin/./script"),
    *("/cgi-bin/script#/../../page", "/cgi-bin/script#/../..", "/x/../../cgi-bin/script"),
    *("/../cgi-bin/script", "../cgi-bin/script", "/cgi-bin/script%00", "/cgi-bin/script%23/../../page"),
    *("/page/../cgi-bin/script#x", "/cgi-bin/inner/script#/../../../page", "cgi-bin/script#/../../page"),
]


@pytest.mark.parametrize("path", SCRIPT_PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_cve_2011_1015_the_source_of_a_script_is_never_served(scripts: Path, path: str, method: str) -> None:
    """Whatever way the path is written: the script is run, or not found."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Scripts, directory=scripts))) as address:
        answer = ask(address, f"{method} {path} HTTP/1.0\r\n\r\n".encode())
    assert answer, "the request was not answered"
    assert b"#!/bin/sh" not in answer


def test_cve_2011_1015_what_is_no_script_is_served_as_a_file(scripts: Path) -> None:
    """The other side: a page outside the folders of scripts."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Scripts, directory=scripts))) as address:
        assert b"a page" in ask(address, b"GET /page HTTP/1.0\r\n\r\n")


def test_cve_2016_1000111_no_script_sees_http_proxy(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpoxy: neither the client's field `Proxy` nor the server's own variable."""
    monkeypatch.setenv("HTTP_PROXY", "http://inner.example")
    with running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Scripts, directory=scripts))) as address:
        answer = ask(address, b"GET /cgi-bin/script HTTP/1.0\r\nProxy: evil.example\r\n\r\n")
    assert b"REQUEST_METHOD=GET" in answer
    assert b"HTTP_PROXY" not in answer
    assert b"evil.example" not in answer


def test_a_script_gets_the_body_and_its_end(scripts: Path) -> None:
    """`cat` ends, though the client holds the connection."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Scripts, directory=scripts))) as address:
        with connect(address) as sock:
            sock.sendall(b"POST /cgi-bin/script?a+b HTTP/1.0\r\nContent-Length: 9\r\n\r\nthe body\nMORE")
            answer = read_all(sock)
    assert answer.endswith(b"\nargs a b\nthe body\n")
    assert b"\nCONTENT_LENGTH=9\n" in answer


def test_a_script_that_does_not_end_is_ended(scripts: Path) -> None:
    """`cgi_timeout`: with everything that it started."""
    (scripts / "cgi-bin" / "sleeps").write_text("#!/bin/sh\nsleep 1000 & echo started\nwait\n")
    (scripts / "cgi-bin" / "sleeps").chmod(0o755)

    class Impatient(Scripts):
        cgi_timeout = 0.3

    with running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Impatient, directory=scripts))) as address:
        answer = ask(address, b"GET /cgi-bin/sleeps HTTP/1.0\r\n\r\n")
    assert b"Script output follows" in answer


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_script_of_roots_server_is_nobody(scripts: Path) -> None:
    """And in no group of root's."""
    (scripts / "cgi-bin" / "who").write_text("#!/bin/sh\nid -u\nid -G\n")
    (scripts / "cgi-bin" / "who").chmod(0o755)
    with running(ThreadingHTTPServer(("127.0.0.1", 0), partial(Scripts, directory=scripts))) as address:
        answer = ask(address, b"GET /cgi-bin/who HTTP/1.0\r\n\r\n")
    uid, groups = answer.rsplit(b"\n", 3)[1:3]
    assert int(uid) != 0
    assert b"0" not in groups.split()


def test_a_connection_that_ends_at_once_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A port scan leaves no traceback."""
    with recording() as (address, handler):
        with connect(address) as sock:
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
    assert handler.logged == []
    assert "Traceback" not in capsys.readouterr().err
