# Derived from CPython's Lib/http/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""The half of `BaseHTTPRequestHandler` that writes: responses, error pages, and the log."""

from __future__ import annotations

import email.utils
import html
import itertools
import sys
import time
from http import HTTPStatus
from typing import Any, ClassVar

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


class _Texts:
    """Texts that are the same in many responses: those of the current second are made once a second."""

    # The second and its text, in one value: threads read and replace it whole.
    date = (-1, "")
    log = (-1, "")
    # With the versions that stand in them.
    fields = (-1, ("", ""), b"")
    # Status lines by version, code and phrase.
    lines: ClassVar[dict[tuple[str, int, str], bytes]] = {}


class Responses:
    """Writes responses to `wfile`; the names are those of the standard library's `BaseHTTPRequestHandler`."""

    sys_version = "Python/" + sys.version.split()[0]
    server_version = "BaseHTTP/" + __version__
    error_message_format = DEFAULT_ERROR_MESSAGE
    error_content_type = DEFAULT_ERROR_CONTENT_TYPE
    #: Set to "HTTP/1.1" for connections that are kept. Every response then needs a Content-Length.
    protocol_version = "HTTP/1.0"
    responses: ClassVar[dict[int, tuple[str, str]]] = {
        status: (status.phrase, status.description) for status in HTTPStatus.__members__.values()
    }

    #: Refuses line ends in response fields (ValueError) and takes them out of reason phrases.
    refuse_header_injection: bool = True

    weekdayname: ClassVar[list[str]] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    monthname: ClassVar[list[str | None]] = [
        None,
        *("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    ]

    wfile: Any
    client_address: Any
    requestline: str
    request_version: str
    command: str | None
    close_connection: bool
    _headers_buffer: list[bytes]
    # The connection ends after this response, whatever its fields say.
    _last_request: bool = False
    _connection_sent: bool = False
    # The response that is being written is of the 1xx kind.
    _interim: bool = False

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
        fields = self._usual_fields()
        if fields is None:
            self.send_header("Server", self.version_string())
            self.send_header("Date", self.date_time_string())
        elif self.request_version != "HTTP/0.9":
            self._headers_buffer.append(fields)

    def _usual_fields(self) -> bytes | None:
        """`Server` and `Date` of this second; None where a step that makes them is not this class's own."""
        try:
            usual = (
                self.send_header.__func__ is _SEND_HEADER  # type: ignore[attr-defined]
                and self.date_time_string.__func__ is _DATE_TIME_STRING  # type: ignore[attr-defined]
                and self.version_string.__func__ is _VERSION_STRING  # type: ignore[attr-defined]
            )
        except AttributeError:
            return None
        if not usual or not hasattr(self, "_headers_buffer"):
            return None
        now, versions, fields = _Texts.fields
        if now == int(time.time()) and versions == (self.server_version, self.sys_version):
            return fields
        return self._make_usual_fields()

    def _make_usual_fields(self) -> bytes | None:
        """The same, made anew."""
        date = self.date_time_string()
        versions = (self.server_version, self.sys_version)
        server = self.version_string()
        if "\n" in server or "\r" in server:
            return None
        fields = f"Server: {server}\r\nDate: {date}\r\n".encode("latin-1")
        second, known = _Texts.date
        if date == known:
            _Texts.fields = (second, versions, fields)
        return fields

    def send_response_only(self, code: int, message: str | None = None) -> None:
        """Starts a response with its status line alone."""
        self._interim = code < 200
        if self.request_version == "HTTP/0.9":
            return
        if message is None:
            known = self.responses.get(code)
            key = (self.protocol_version, code, known[0] if known else "")
            line = _Texts.lines.get(key)
            if line is None:
                line = _status_line(*key)
                # Codes and phrases come from the program: as many as it has, unless it makes them up.
                if len(_Texts.lines) < 1000:
                    _Texts.lines[key] = line
        else:
            if self.refuse_header_injection and ("\n" in message or "\r" in message):
                message = " ".join(message.split())
            line = _status_line(self.protocol_version, code, message)
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
        second, text = _Texts.date
        if second != now:
            text = email.utils.formatdate(now, usegmt=True)
            _Texts.date = (now, text)
        return text

    def log_date_time_string(self) -> str:
        """The time as the log writes it."""
        now = int(time.time())
        second, text = _Texts.log
        if second != now:
            year, month, day, hh, mm, ss, *_ = time.localtime(now)
            text = f"{day:02d}/{self.monthname[month]:3}/{year:04d} {hh:02d}:{mm:02d}:{ss:02d}"
            _Texts.log = (now, text)
        return text

    def address_string(self) -> str:
        """The client's address."""
        return str(self.client_address[0])


def _status_line(version: str, code: int, phrase: str) -> bytes:
    """The first line of a response."""
    return ("%s %d %s\r\n" % (version, code, phrase)).encode("latin-1")  # noqa: UP031 (codes may be enums)


_SEND_HEADER = Responses.send_header
_DATE_TIME_STRING = Responses.date_time_string
_VERSION_STRING = Responses.version_string
