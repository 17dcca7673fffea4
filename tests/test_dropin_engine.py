"""The engine's path of the drop-in modules: what a program can see of it is what the plain path shows."""

from __future__ import annotations

import contextvars
import io
import queue
import socket
import sys
import threading
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stdserve
from stdserve import socketserver
from stdserve.http.server import (
    BaseHTTPRequestHandler,
    HTTPServer,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from stdserve.wsgiref.simple_server import WSGIRequestHandler, make_server
from stdserve.xmlrpc.server import SimpleXMLRPCServer

from support.dropin import ask, connect, read_all, running
from support.waiting import PATIENCE

ANYWHERE = ("127.0.0.1", 0)


class Handler(BaseHTTPRequestHandler):
    """Echoes bodies, counts its requests, and does what else the path says."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_GET(self) -> None:
        self.count += 1
        if self.path == "/fails":
            raise RuntimeError("as asked")
        if self.path == "/nothing":
            return
        if self.path == "/peer":
            body = repr(self.connection.getpeername() == self.client_address).encode()
        else:
            length = int(self.headers.get("Content-Length") or 0)
            body = f"{self.command} {self.path} {self.count} ".encode() + self.rfile.read(length)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Failures:
    """Keeps what went wrong, in the place of printing it."""

    def __init__(self, *args: Any) -> None:
        self.failures: queue.Queue[BaseException | None] = queue.Queue()
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.failures.put(sys.exc_info()[1])


@pytest.fixture(params=[HTTPServer, ThreadingHTTPServer])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server that runs on the engine."""
    kind = type("Server", (Failures, request.param), {})
    made = kind(ANYWHERE, Handler)
    assert "path: engine" in stdserve.explain(made)
    with running(made, engine=True):
        yield made


def get(sock: socket.socket, path: str, body: bytes = b"") -> tuple[bytes, bytes]:
    """Head and body of the answer to a request on a kept connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    return answer_of(sock)


def answer_of(sock: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next answer."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = sock.recv(65536)
        assert piece, got
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(rest) < length:
        piece = sock.recv(65536)
        assert piece, rest
        rest += piece
    return head, rest


def test_a_connection_has_one_handler_for_all_its_requests(server: Any) -> None:
    with connect(server.server_address) as first, connect(server.server_address) as second:
        for number in range(1, 4):
            for sock in (first, second):
                assert get(sock, "/a", b"body")[1] == f"POST /a {number} body".encode()


def test_the_answer_is_the_handlers_own(server: Any) -> None:
    with connect(server.server_address) as sock:
        head, _ = get(sock, "/")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert [line.split(b":")[0] for line in lines[1:]] == [b"Server", b"Date", b"Content-Length"]
    assert b"Python/" in head


def test_the_connection_can_be_asked_for_its_addresses(server: Any) -> None:
    with connect(server.server_address) as sock:
        assert get(sock, "/peer")[1] == b"True"
        assert get(sock, "/peer")[1] == b"True"


def test_handle_error_is_called_and_the_connection_ends(server: Any) -> None:
    with connect(server.server_address) as sock:
        sock.sendall(b"GET /fails HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_all(sock) == b""
    assert str(server.failures.get(timeout=PATIENCE)) == "as asked"
    with connect(server.server_address) as sock:
        assert get(sock, "/")[1].startswith(b"POST / 1")


def test_a_large_body_is_whole(server: Any) -> None:
    body = bytes(range(256)) * 12_000
    with connect(server.server_address) as sock:
        assert get(sock, "/", body)[1] == b"POST / 1 " + body


def test_chunks_reach_a_handler_that_reads_them_itself(server: Any) -> None:
    seen: queue.Queue[bytes] = queue.Queue()

    class Chunks(Handler):
        def do_POST(self) -> None:
            seen.put(self.rfile.read())
            self.send_error(404)

    server.RequestHandlerClass = Chunks
    made = type(server)(ANYWHERE, Chunks)
    with running(made, engine=True) as address:
        request = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        ask(address, request + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert seen.get(timeout=PATIENCE) == b"5\r\nabcde\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\nConnection: close\n\n",
        b"BAD\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
    ],
)
def test_what_the_engine_does_not_understand_is_answered_as_on_the_plain_path(
    server: Any, request_line: bytes
) -> None:
    with running(HTTPServer(ANYWHERE, Handler)) as plain:
        expected = ask(plain, request_line)
    got = ask(server.server_address, request_line)

    def without_date(answer: bytes) -> list[bytes]:
        return [line for line in answer.split(b"\r\n") if not line.startswith(b"Date:")]

    assert without_date(got) == without_date(expected)
    assert expected


def test_smuggling_nothing_behind_an_ambiguous_head_is_served(server: Any) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n"
    answer = ask(server.server_address, head + hidden)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_what_is_written_goes_out_while_its_handler_waits() -> None:
    entered: queue.Queue[bool] = queue.Queue()
    go_on = threading.Event()

    class Slow(Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"first")
            entered.put(True)
            go_on.wait(PATIENCE)
            self.wfile.write(b"second")
            self.close_connection = True

    for kind in (HTTPServer, ThreadingHTTPServer):
        go_on.clear()
        with running(kind(ANYWHERE, Slow), engine=True) as address, connect(address) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            entered.get(timeout=PATIENCE)
            got = b""
            while not got.endswith(b"first"):
                got += sock.recv(1000)
            go_on.set()
            assert read_all(sock) == b"second"


def test_requests_of_a_threading_server_run_beside_one_another() -> None:
    together = threading.Barrier(3)

    class Meeting(Handler):
        def do_POST(self) -> None:
            together.wait(PATIENCE)
            super().do_POST()

    with running(ThreadingHTTPServer(ANYWHERE, Meeting), engine=True) as address:
        socks = [connect(address) for _ in range(3)]
        for sock in socks:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        for sock in socks:
            assert answer_of(sock)[0].startswith(b"HTTP/1.1 200")
            sock.close()


def test_a_server_without_threads_runs_in_the_thread_of_serve_forever() -> None:
    threads: set[threading.Thread] = set()

    class Noting(Handler):
        def do_POST(self) -> None:
            threads.add(threading.current_thread())
            super().do_POST()

    made = HTTPServer(ANYWHERE, Noting)
    made.use_engine = True
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    with connect(made.server_address) as first, connect(made.server_address) as second:
        get(first, "/")
        # The first connection is kept, and holds up nobody.
        get(second, "/")
    made.shutdown()
    thread.join()
    made.server_close()
    assert threads == {thread}


def test_a_keyword_of_a_partial_reaches_the_handler(tmp_path: Path) -> None:
    import functools

    (tmp_path / "a.txt").write_bytes(b"here")
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    made = ThreadingHTTPServer(ANYWHERE, functools.partial(quiet, directory=str(tmp_path)))
    with running(made, engine=True) as address:
        assert ask(address, b"GET /a.txt HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nhere")
        assert ask(address, b"GET //a.txt/ HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 404 ")


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("kind", [socketserver.ThreadingTCPServer, socketserver.TCPServer])
def test_connections_go_through_the_servers_steps(kind: Any) -> None:
    steps: list[str] = []

    class Server(Failures, kind):  # type: ignore[misc]
        def verify_request(self, request: Any, client_address: Any) -> bool:
            steps.append("verify")
            return True

        def shutdown_request(self, request: Any) -> None:
            steps.append("shutdown")
            super().shutdown_request(request)

    class Echo(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    made = Server(ANYWHERE, Echo)
    assert "path: engine" in stdserve.explain(made)
    with running(made, engine=True) as address:
        for _ in range(20):
            assert ask(address, b"hello\n") == b"hello\n"
    assert steps == ["verify", "shutdown"] * 20


def test_a_context_is_a_connections_own() -> None:
    class Sets(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(variable.get().encode())
            variable.set("set")

    with running(socketserver.ThreadingTCPServer(ANYWHERE, Sets), engine=True) as address:
        assert [ask(address, b"") for _ in range(10)] == [b"unset"] * 10


@pytest.mark.parametrize("kind", [socketserver.ThreadingUDPServer, socketserver.UDPServer])
def test_datagrams_are_answered_and_cut_at_their_size(kind: Any) -> None:
    class Upper(socketserver.DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.read().upper())

    server = type("Server", (kind,), {"max_packet_size": 5})
    with (
        running(server(ANYWHERE, Upper), engine=True) as address,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(PATIENCE)
        sock.connect(address)
        for text in (b"one", b"", b"too long"):
            sock.send(text)
            assert sock.recv(100) == text[:5].upper()


def test_a_full_socket_is_waited_for(short_path: Path) -> None:
    """A Unix socket takes a few datagrams that nobody reads (unix(7)); `sendto` waits for room."""
    count = 100

    class Many(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            _, sock = self.request
            sent.put("begun")
            for number in range(count):
                sock.sendto(str(number).encode(), self.client_address)

    sent: queue.Queue[str] = queue.Queue()
    server = socketserver.ThreadingUnixDatagramServer(str(short_path / "server"), Many)
    with running(server, engine=True), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.bind(str(short_path / "client"))
        sock.sendto(b"go on", str(short_path / "server"))
        sent.get(timeout=PATIENCE)
        assert [int(sock.recv(100)) for _ in range(count)] == list(range(count))


def test_server_close_waits_for_handlers_and_serve_forever_can_begin_again() -> None:
    entered = threading.Event()
    go_on = threading.Event()
    done = threading.Event()

    class Slow(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            entered.set()
            go_on.wait(PATIENCE)
            done.set()

    made = socketserver.ThreadingTCPServer(ANYWHERE, Slow)
    for _ in range(2):
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        entered.clear()
        sock = connect(made.server_address)
        assert entered.wait(PATIENCE)
        # The handler goes on: nothing waits for it yet.
        made.shutdown()
        thread.join()
        assert not done.is_set()
        assert made.socket.getblocking()
        if _ == 0:
            go_on.set()
            assert read_all(sock) == b""
            go_on.clear()
            done.clear()
        sock.close()
    threading.Timer(0.01, go_on.set).start()
    made.server_close()
    assert done.is_set()


def test_an_application_of_wsgiref_is_served_and_logged_as_there() -> None:
    asked: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        asked.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"hi"]

    lines: list[str] = []
    keeping = type(
        "Keeping", (WSGIRequestHandler,), {"log_message": lambda _, text, *rest: lines.append(text % rest)}
    )
    with running(make_server("127.0.0.1", 0, app, handler_class=keeping), engine=True) as address:
        with connect(address) as sock:
            for _ in range(2):
                head, body = get(sock, "/p%20q?r")
                assert body == b"hi"
                assert b"Server: WSGIServer/0.2 " in head
    environ = asked[0]
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/p q", "r")
    assert environ["SERVER_SOFTWARE"] == "WSGIServer/0.2"
    assert environ["REMOTE_HOST"] == ""
    assert environ["wsgi.multithread"] is False
    assert not [key for key in environ if key.startswith("HTTP_") and key not in ("HTTP_HOST",)]
    assert lines == ['"POST /p%20q?r HTTP/1.1" 200 2'] * 2


def test_wsgiref_logs_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("204 No Content", [])
        return []

    with running(make_server("127.0.0.1", 0, app), engine=True) as address:
        ask(address, b"GET /x HTTP/1.0\r\n\r\n")
    assert written.getvalue().endswith('] "GET /x HTTP/1.0" 204 0\n')
    assert written.getvalue().startswith("127.0.0.1 - - [")


def test_calls_are_made_over_the_engine() -> None:
    made = SimpleXMLRPCServer(ANYWHERE, logRequests=False)
    made.register_function(lambda a, b: a + b, "add")
    assert "path: engine" in stdserve.explain(made)
    with running(made, engine=True) as (host, port):
        with xmlrpc.client.ServerProxy(f"http://{host}:{port}") as client:
            assert [client.add(2, n) for n in range(5)] == [2, 3, 4, 5, 6]
            with pytest.raises(xmlrpc.client.Fault):
                client.unknown()
