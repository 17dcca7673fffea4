# Derived from CPython's Lib/http/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""`BaseHTTPRequestHandler`: reads requests, and calls `do_GET` and its like.

A request goes through three parts, which CPython has in one: its head is read (`parse_request`), what the
head says of the connection is settled (`_settle`), and the method is run (`_serve_parsed`). Whoever has
read a head by other means enters at `_serve_head`.
"""

from __future__ import annotations

import contextlib
import email.message
import http.client
import socket
from http import HTTPStatus
from typing import Any

from stdserve import socketserver
from stdserve.http import _headers
from stdserve.http._framing import NO_BODY, Framing, Refused, framing
from stdserve.http._responses import Responses
from stdserve.http._streams import CountedSocketIO, SocketWriter, bound_writes, watch

_LONGEST_LINE = 65536
# What is received and forgotten at the end of a connection whose client goes on sending.
_MOST_DISCARDED = 16 << 20


class BaseHTTPRequestHandler(Responses, socketserver.StreamRequestHandler):
    """Handles the HTTP requests of one connection: subclasses define `do_GET`, `do_POST` and so on.

    What a request was is in `command`, `path`, `request_version`, `headers` (an `http.client.HTTPMessage`),
    `requestline` and `client_address`; its body is read from `rfile`, the response is written to `wfile`
    after `send_response`, `send_header` and `end_headers`. The names are those of the standard library's
    class, and so is what they do; the limits below are added.
    """

    #: What is spoken until the request line has been read; HTTP/0.9 has no status line and no fields.
    default_request_version = "HTTP/0.9"
    MessageClass: type[email.message.Message] = http.client.HTTPMessage

    # Safety that the standard library lacks. Each is changed by setting it in a subclass.

    #: Most header lines of a request; 431 past it.
    max_header_fields: int = 100
    #: Most bytes of a request's header lines together; 431 past it.
    max_header_size: int = 131072
    #: Most bytes of a body that a request may announce; 413 past it. None: no limit.
    max_body_size: int | None = 1 << 30
    #: Refuses heads that two readers could understand differently (RFC 9112), with 400 or 501.
    strict_framing: bool = True
    #: Refuses Content-Length beside Transfer-Encoding with 400. Otherwise the connection ends after the
    #: response.
    refuse_length_with_chunks: bool = False
    #: Seconds that a client has to send a request's head; None: no limit.
    header_timeout: float | None = 30
    #: Seconds that a kept connection waits for its next request; None: no limit.
    keep_alive_timeout: float | None = 60
    #: Seconds that a read of the body waits for the client; None: no limit.
    body_timeout: float | None = 60
    #: Seconds that a write waits for the client to read; None: no limit.
    write_timeout: float | None = 60
    #: Most bytes of a body that are skipped where a handler left them unread; with more the connection ends.
    max_unread_body: int = 65536
    #: Seconds that a client which is still sending has to read why it was refused, before the connection is
    #: closed on it. None: no time.
    linger_timeout: float | None = 2

    raw_requestline: bytes
    path: str
    headers: Any
    # The raw end of rfile, where it is a socket's.
    _counted: CountedSocketIO | None = None
    _framing: Framing = NO_BODY
    # Where in rfile the body ends; None: not known, or the handler's own concern.
    _body_end: int | None = None
    _requests: int = 0
    # The connection ends while the client may still be sending.
    _unread: bool = False

    # The connection

    @classmethod
    def _for_connection(
        cls, request: Any, client_address: Any, server: Any, keywords: dict[str, Any]
    ) -> BaseHTTPRequestHandler:
        """A handler as `__init__` makes it, which has not begun: for who calls `_serve_head` on it.

        `keywords` are those that `__init__` would get; TypeError where it takes none. `rfile` and `wfile` are
        still to be set.
        """
        handler = cls.__new__(cls)
        handler._configure(**keywords)
        handler.request = handler.connection = request
        handler.client_address = client_address
        handler.server = server
        handler.close_connection = True
        return handler

    def _configure(self) -> None:
        """What `__init__` does with its keywords."""

    def setup(self) -> None:
        """Opens `rfile` and `wfile`."""
        super().setup()
        self._counted = watch(self.rfile)
        if self.wbufsize == 0:
            bound_writes(self.connection, self.write_timeout)
            self.wfile = SocketWriter(self.connection)

    def finish(self) -> None:
        """Closes `rfile` and `wfile`; not at once on who still sends, and would lose the answer."""
        if self._unread and self._counted is not None and self.linger_timeout is not None:
            with contextlib.suppress(OSError, ValueError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_WR)
                self._counted.discard(self.linger_timeout, _MOST_DISCARDED)
        super().finish()

    def handle(self) -> None:
        """Handles one request, and the next ones while the connection is kept."""
        self.close_connection = True
        self.handle_one_request()
        while not self.close_connection:
            self.handle_one_request()

    def handle_one_request(self) -> None:
        """Reads a request, calls its `do_` method, and sends what was written."""
        try:
            self._await_head()
            self.raw_requestline = self.rfile.readline(_LONGEST_LINE + 1)
            if len(self.raw_requestline) > _LONGEST_LINE:
                self.requestline = ""
                self.request_version = ""
                self.command = ""
                self._unread = True
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
                return
            if not self.raw_requestline:
                self.close_connection = True
                return
            if not self.parse_request():
                return
            self._serve_parsed()
        except TimeoutError as error:
            self.log_error("Request timed out: %r", error)
            self.close_connection = True

    def _await_head(self) -> None:
        """Begins a request: its time runs from now, or from its first byte where it may wait for one."""
        self._framing = NO_BODY
        self._body_end = None
        self._last_request = self._connection_sent = False
        counted = self._counted
        if counted is not None:
            # Part of the next request may have come with the last one.
            if self._requests and self._position() == counted.received:
                counted.idle_then(self.keep_alive_timeout, self.header_timeout)
            else:
                counted.until(self.header_timeout)
        self._requests += 1

    # The head

    def parse_request(self) -> bool:
        """Parses `raw_requestline` and the header lines that follow in `rfile`.

        False: an answer has been sent (or nothing was asked), and the request is over.
        """
        self.command = None
        self.request_version = self.default_request_version
        self.close_connection = True
        requestline = str(self.raw_requestline, "iso-8859-1").rstrip("\r\n")
        self.requestline = requestline
        words = requestline.split()
        if not words or not self._parse_words(words):
            return False
        if len(words) == 2:
            # HTTP/0.9 has no header lines: none is waited for (Python 3.14).
            self.headers = _headers.LazyMessage([])
            return True
        try:
            fields = self._read_headers()
            if self.strict_framing and fields:
                self._set_framing(framing(fields, self.request_version >= "HTTP/1.1"))
            return self._settle(self.headers.get("Connection", ""), self.headers.get("Expect", ""))
        except _headers.HeadTooLarge as error:
            self._unread = True
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, error.reason, str(error))
        except Refused as error:
            self._refuse(error)
        return False

    def _parse_words(self, words: list[str]) -> bool:
        """Takes method, target and version from the words of the request line."""
        if len(words) >= 3:
            version = words[-1]
            if version not in ("HTTP/1.1", "HTTP/1.0"):
                number = _version_number(version)
                if number is None:
                    self.send_error(HTTPStatus.BAD_REQUEST, f"Bad request version ({version!r})")
                    return False
                if number >= (2, 0):
                    if self.protocol_version >= "HTTP/1.1":
                        self.close_connection = False
                    said = version.partition("/")[2]
                    self.send_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"Invalid HTTP version ({said})")
                    return False
            self.request_version = version
            if version >= "HTTP/1.1" and self.protocol_version >= "HTTP/1.1":
                self.close_connection = False
        if not 2 <= len(words) <= 3:
            self.send_error(HTTPStatus.BAD_REQUEST, f"Bad request syntax ({self.requestline!r})")
            return False
        command, path = words[:2]
        if len(words) == 2 and command != "GET":
            # HTTP/0.9 knows nothing else.
            self.send_error(HTTPStatus.BAD_REQUEST, f"Bad HTTP/0.9 request type ({command!r})")
            return False
        self.command = command
        self._take_path(path)
        return True

    def _take_path(self, path: str) -> None:
        """Sets `path`. One slash at its front: a redirect to `//host` would lead elsewhere
        (CVE-2021-28861).
        """
        self.path = "/" + path.lstrip("/") if path.startswith("//") else path

    def _read_headers(self) -> _headers.Fields:
        """Reads the header lines into `headers`, and returns them as a list."""
        lines = _headers.read_lines(
            self.rfile, _LONGEST_LINE, max(self.max_header_fields, 0), self.max_header_size
        )
        fields = _headers.plain_fields(lines)
        if fields is None:
            if self.strict_framing:
                raise Refused(
                    HTTPStatus.BAD_REQUEST,
                    "Bad header line",
                    "A header line is not a name, a colon and a value without control characters.",
                )
            self.headers = _headers.parse(lines, self.MessageClass)
            return list(self.headers.items())
        if self.MessageClass is http.client.HTTPMessage:
            self.headers = _headers.LazyMessage(fields)
        else:
            self.headers = _headers.parse(lines, self.MessageClass)
        return fields

    def _settle(self, connection: str, expect: str) -> bool:
        """Follows the fields `Connection` and `Expect`. False: an answer has been sent."""
        if connection:
            connection = connection.lower()
            if connection == "close":
                self.close_connection = True
            elif connection == "keep-alive" and self.protocol_version >= "HTTP/1.1":
                self.close_connection = False
        if (
            expect.lower() == "100-continue"
            and self.protocol_version >= "HTTP/1.1"
            and self.request_version >= "HTTP/1.1"
        ):
            return self.handle_expect_100()
        return True

    def _set_framing(self, body: Framing) -> None:
        """Notes where the request ends. May raise `Refused`."""
        if body is NO_BODY:
            return
        self._framing = body
        if body.ambiguous and self.refuse_length_with_chunks:
            raise Refused(
                HTTPStatus.BAD_REQUEST,
                "Bad request framing",
                "Content-Length and Transfer-Encoding stand together.",
            )
        if self.max_body_size is not None and body.length > self.max_body_size:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "Request body too large",
                f"No more than {self.max_body_size} bytes are accepted.",
            )
        if body.chunked:
            # Reading chunks is the handler's own concern, and so nobody here knows where they end.
            self._last_request = True

    def _refuse(self, refused: Refused) -> None:
        """Answers a request that is not served; nothing that follows it can be trusted to be one."""
        self._last_request = self._unread = True
        self.send_error(refused.status, refused.reason, str(refused))
        self.close_connection = True

    def handle_expect_100(self) -> bool:
        """Answers "Expect: 100-continue". An override may send an error instead, and return False."""
        self.send_response_only(HTTPStatus.CONTINUE)
        self.end_headers()
        return True

    # The method

    def _serve_head(
        self,
        command: str,
        path: str,
        request_version: str,
        requestline: str,
        headers: _headers.LazyMessage,
        connection: str = "",
        expect: str = "",
    ) -> None:
        """Serves a request whose head somebody else has read and found sound; `rfile` stands at its body.

        `connection` and `expect` are the values of these fields, "" where there is none. Does what
        `handle_one_request` does from there on: when it returns the answer has been written, and
        `close_connection` says whether the connection ends.
        """
        self.requestline = requestline
        self.command = command
        self.request_version = request_version
        self.headers = headers
        self._take_path(path)
        self._framing = NO_BODY
        self._body_end = None
        self._last_request = self._connection_sent = False
        self.close_connection = not (request_version >= "HTTP/1.1" and self.protocol_version >= "HTTP/1.1")
        try:
            if (connection or expect) and not self._settle(connection, expect):
                return
            self._serve_parsed()
        except TimeoutError as error:
            self.log_error("Request timed out: %r", error)
            self.close_connection = True

    def _serve_parsed(self) -> None:
        """Calls the `do_` method of a request whose head has been parsed, and sends what it wrote."""
        if self._framing is not NO_BODY or self._counted is not None:
            self._begin_body()
        method = getattr(self, f"do_{self.command}", None)
        if method is None:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED, f"Unsupported method ({self.command!r})")
        else:
            method()
            self.wfile.flush()
        self._end_body()

    def _begin_body(self) -> None:
        """The handler reads from now on: in its own time, each read within `body_timeout`."""
        if self._counted is not None:
            self._counted.each(self.body_timeout)
        if self._framing.length:
            position = self._position()
            if position is not None:
                self._body_end = position + self._framing.length

    def _position(self) -> int | None:
        """How far `rfile` has been read; None where it does not say."""
        try:
            position: int = self.rfile.tell()
        except (OSError, ValueError, AttributeError):
            return None
        return position

    def _end_body(self) -> None:
        """Skips what the handler left unread, lest it be taken for the next request."""
        if self._last_request:
            self.close_connection = True
        position = None if self._body_end is None else self._position()
        if position is None or self._body_end is None:
            self._unread = self._framing.chunked
            return
        unread = self._body_end - position
        if unread > 0 and (self.close_connection or unread > self.max_unread_body):
            self._unread = self.close_connection = True
        if self.close_connection:
            return
        while unread > 0:
            skipped = len(self.rfile.read(min(unread, 65536)))
            if not skipped:
                self.close_connection = True
                return
            unread -= skipped


def _version_number(version: str) -> tuple[int, int] | None:
    """The two numbers of "HTTP/1.1"; None where it is not of that form."""
    name, _, numbers = version.partition("/")
    parts = numbers.split(".")
    if name != "HTTP" or len(parts) != 2:
        return None
    if not all(part.isdigit() and len(part) <= 10 for part in parts):
        return None
    try:
        return int(parts[0]), int(parts[1])
    except ValueError:
        return None
