# Derived from CPython's Lib/http/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""`BaseHTTPRequestHandler`: reads requests, calls `do_GET` and its like, writes responses.

A request goes through three parts, which CPython has in one: its head is read (`parse_request`), what the
head says of the connection is settled (`_settle`), and the method is run (`_serve_parsed`). Whoever has
read a head by other means enters at `_serve_head`.
"""

from __future__ import annotations

import email.message
import email.utils
import html
import http.client
import itertools
import sys
import time
from http import HTTPStatus
from typing import Any, ClassVar

from stdserve import socketserver
from stdserve.http import _headers
from stdserve.http._framing import NO_BODY, Framing, Refused, framing
from stdserve.http._streams import CountedSocketIO, SocketWriter, bound_writes, watch

__version__ = "0.6"

DEFAULT_ERROR_MESSAGE = """\
<!DOCTYPE HTML>
<html lang="en">
    <head>
        <meta charset="utf-8">
        <title>Error response</title>
    </head>
    <body>
        <h1>Error response</h1>
        <p>Error code: %(code)d</p>
        <p>Message: %(message)s.</p>
        <p>Error code explanation: %(code)s - %(explain)s.</p>
    </body>
</html>
"""

DEFAULT_ERROR_CONTENT_TYPE = "text/html;charset=utf-8"

_LONGEST_LINE = 65536


class _Clock:
    """The texts of the current second, made once a second and not once a request."""

    # The second and its text, in one value: threads read and replace it whole.
    date = (-1, "")
    log = (-1, "")


class BaseHTTPRequestHandler(socketserver.StreamRequestHandler):
    """Handles the HTTP requests of one connection: subclasses define `do_GET`, `do_POST` and so on.

    What a request was is in `command`, `path`, `request_version`, `headers` (an `http.client.HTTPMessage`),
    `requestline` and `client_address`; its body is read from `rfile`, the response is written to `wfile`
    after `send_response`, `send_header` and `end_headers`. The names are those of the standard library's
    class, and so is what they do; the limits below are added.
    """

    sys_version = "Python/" + sys.version.split()[0]
    server_version = "BaseHTTP/" + __version__
    error_message_format = DEFAULT_ERROR_MESSAGE
    error_content_type = DEFAULT_ERROR_CONTENT_TYPE
    #: What is spoken until the request line has been read; HTTP/0.9 has no status line and no fields.
    default_request_version = "HTTP/0.9"
    #: Set to "HTTP/1.1" for connections that are kept. Every response then needs a Content-Length.
    protocol_version = "HTTP/1.0"
    MessageClass: type[email.message.Message] = http.client.HTTPMessage
    responses: ClassVar[dict[int, tuple[str, str]]] = {
        status: (status.phrase, status.description) for status in HTTPStatus.__members__.values()
    }

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
    #: Refuses line ends in response fields (ValueError) and takes them out of reason phrases.
    refuse_header_injection: bool = True

    weekdayname: ClassVar[list[str]] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    monthname: ClassVar[list[str | None]] = [
        None,
        *("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    ]

    raw_requestline: bytes
    requestline: str
    request_version: str
    command: str | None
    path: str
    headers: Any
    close_connection: bool
    _headers_buffer: list[bytes]
    # The raw end of rfile, where it is a socket's.
    _counted: CountedSocketIO | None = None
    _framing: Framing = NO_BODY
    # Where in rfile the body ends; None: not known, or the handler's own concern.
    _body_end: int | None = None
    # The connection ends after this response, whatever its fields say.
    _last_request: bool = False
    _connection_sent: bool = False
    # The response that is being written is of the 1xx kind.
    _interim: bool = False
    _requests: int = 0

    # The connection

    def setup(self) -> None:
        """Opens `rfile` and `wfile`."""
        super().setup()
        self._counted = watch(self.rfile)
        if self.wbufsize == 0:
            bound_writes(self.connection, self.write_timeout)
            self.wfile = SocketWriter(self.connection)

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
        try:
            fields = self._read_headers()
            if self.strict_framing and fields:
                self._set_framing(framing(fields, self.request_version >= "HTTP/1.1"))
            return self._settle(self.headers.get("Connection", ""), self.headers.get("Expect", ""))
        except _headers.HeadTooLarge as error:
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
        self._last_request = True
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
        if self.close_connection or self._body_end is None:
            return
        position = self._position()
        if position is None:
            return
        unread = self._body_end - position
        if unread > self.max_unread_body:
            self.close_connection = True
            return
        while unread > 0:
            skipped = len(self.rfile.read(min(unread, 65536)))
            if not skipped:
                self.close_connection = True
                return
            unread -= skipped

    # The response

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Sends and logs an error: `code`, a `message` of one line and an `explain` that may be longer.

        Both default to what is known of the code. To be called before anything of a response was sent; the
        connection is closed.
        """
        short, long = self.responses.get(code, ("???", "???"))
        if message is None:
            message = short
        if explain is None:
            explain = long
        self.log_error("code %d, message %s", code, message)
        self.send_response(code, message)
        self.send_header("Connection", "close")
        body = None
        # RFC 9110: 15.2, 15.3.5, 15.3.6, 15.4.5
        if code >= 200 and code not in (204, 205, 304):
            content = self.error_message_format % {
                "code": code,
                "message": html.escape(message, quote=False),
                "explain": html.escape(explain, quote=False),
            }
            body = content.encode("UTF-8", "replace")
            self.send_header("Content-Type", self.error_content_type)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and body:
            self.wfile.write(body)

    def send_response(self, code: int, message: str | None = None) -> None:
        """Logs the request, and starts a response: its status line, `Server` and `Date`."""
        self.log_request(code)
        self.send_response_only(code, message)
        self.send_header("Server", self.version_string())
        self.send_header("Date", self.date_time_string())

    def send_response_only(self, code: int, message: str | None = None) -> None:
        """Starts a response with its status line alone."""
        self._interim = code < 200
        if self.request_version == "HTTP/0.9":
            return
        if message is None:
            known = self.responses.get(code)
            message = known[0] if known else ""
        elif self.refuse_header_injection and ("\n" in message or "\r" in message):
            message = " ".join(message.split())
        line = ("%s %d %s\r\n" % (self.protocol_version, code, message)).encode("latin-1")  # noqa: UP031
        try:
            self._headers_buffer.append(line)
        except AttributeError:
            self._headers_buffer = [line]

    def send_header(self, keyword: str, value: Any) -> None:
        """Adds a field to the response. `Connection` also decides whether the connection is kept."""
        line = f"{keyword}: {value}"
        if self.refuse_header_injection and ("\n" in line or "\r" in line or "\0" in line):
            raise ValueError(f"a line end or NUL stands in a header field: {line!r}")
        if self.request_version != "HTTP/0.9":
            data = f"{line}\r\n".encode("latin-1")
            try:
                self._headers_buffer.append(data)
            except AttributeError:
                self._headers_buffer = [data]
        if len(keyword) == 10 and keyword.lower() == "connection":
            self._connection_sent = True
            if value.lower() == "close":
                self.close_connection = True
            elif value.lower() == "keep-alive":
                self.close_connection = False

    def end_headers(self) -> None:
        """Ends the fields, and sends them."""
        if self.request_version == "HTTP/0.9":
            return
        if (
            self._last_request
            and not (self._connection_sent or self._interim)
            and self.protocol_version >= "HTTP/1.1"
        ):
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n")
        self.flush_headers()

    def flush_headers(self) -> None:
        """Sends the fields that were added since the last time."""
        buffer = getattr(self, "_headers_buffer", None)
        if buffer is not None:
            self.wfile.write(b"".join(buffer))
            self._headers_buffer = []

    # The log

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs a request; `send_response` calls it."""
        if isinstance(code, HTTPStatus):
            code = code.value
        self.log_message('"%s" %s %s', self.requestline, str(code), str(size))

    def log_error(self, format: str, *args: Any) -> None:
        """Logs what went wrong, with the arguments of `log_message`, to which it goes."""
        self.log_message(format, *args)

    # https://en.wikipedia.org/wiki/List_of_Unicode_characters#Control_codes
    _control_char_table = str.maketrans(
        {c: rf"\x{c:02x}" for c in itertools.chain(range(0x20), range(0x7F, 0xA0))}
    )
    _control_char_table[ord("\\")] = r"\\"

    def log_message(self, format: str, *args: Any) -> None:
        """Writes `format` % `args` to sys.stderr, after the client's address and the time.

        Control characters are written as hexadecimal numbers.
        """
        message = format % args
        if "\\" in message or not message.isprintable():
            message = message.translate(self._control_char_table)
        sys.stderr.write(f"{self.address_string()} - - [{self.log_date_time_string()}] {message}\n")

    def version_string(self) -> str:
        """What the field `Server` says."""
        return self.server_version + " " + self.sys_version

    def date_time_string(self, timestamp: float | None = None) -> str:
        """A time (now, unless given in seconds since 1970) as header fields write it."""
        if timestamp is not None:
            return email.utils.formatdate(timestamp, usegmt=True)
        now = int(time.time())
        second, text = _Clock.date
        if second != now:
            text = email.utils.formatdate(now, usegmt=True)
            _Clock.date = (now, text)
        return text

    def log_date_time_string(self) -> str:
        """The time as the log writes it."""
        now = int(time.time())
        second, text = _Clock.log
        if second != now:
            year, month, day, hh, mm, ss, *_ = time.localtime(now)
            text = f"{day:02d}/{self.monthname[month]:3}/{year:04d} {hh:02d}:{mm:02d}:{ss:02d}"
            _Clock.log = (now, text)
        return text

    def address_string(self) -> str:
        """The client's address."""
        return str(self.client_address[0])


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
