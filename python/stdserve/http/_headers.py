"""Heads of requests: reading their lines within limits, and the message object that handlers see.

`http.client.parse_headers` hands every head to the email package, which costs more than the rest of a
request. A head whose lines are all plain (`name: value`) means the same without it.
"""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import http.client
import re
from collections.abc import Callable
from typing import Any

Fields = list[tuple[str, str]]


class HeadTooLarge(Exception):
    """The head of a request is over a limit. `reason` is the short form for the status line."""

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(explanation)
        self.reason = reason


class LazyMessage(http.client.HTTPMessage):
    """An `http.client.HTTPMessage` whose fields are made when somebody looks at them.

    `source` is the list of fields, or a function without arguments that returns it.
    """

    # What email.message.Message.__init__ would set on every object.
    policy = email.policy.compat32
    _unixfrom = None
    _payload = ""
    _charset = None
    preamble = None
    epilogue = None
    _default_type = "text/plain"

    _headers: Fields
    defects: list[Any]

    def __init__(self, source: Fields | Callable[[], Fields]) -> None:
        if callable(source):
            self._source = source
        else:
            self._headers = source

    def __getattr__(self, name: str) -> Any:
        # Reached only for what the object does not have yet.
        if name == "_headers":
            self._headers = fields = self._source()
            del self._source
            return fields
        if name == "defects":
            self.defects = []
            return self.defects
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        return {"_headers": self._headers, **{k: v for k, v in self.__dict__.items() if k != "_source"}}


def read_lines(rfile: Any, longest: int, most: int, size: int) -> list[bytes]:
    """Reads the lines of a head, up to and including the empty one (or the end of the stream).

    A line of more than `longest` bytes, more than `most` lines, or more than `size` bytes in all is
    HeadTooLarge.
    """
    lines: list[bytes] = []
    readline = rfile.readline
    total = 0
    while True:
        line = readline(longest + 1)
        length = len(line)
        if length > longest:
            raise HeadTooLarge("Line too long", f"got more than {longest} bytes when reading header line")
        lines.append(line)
        if length <= 2 and line in (b"\r\n", b"\n", b""):
            return lines
        total += length
        if len(lines) > most:
            raise HeadTooLarge("Too many headers", f"got more than {most} headers")
        if total > size:
            raise HeadTooLarge("Headers too large", f"got more than {size} bytes of headers")


# RFC 9110 5.1 and 5.5: a token, a colon, a value without control characters; ended by CRLF or (RFC 9112 2.2)
# by LF.
_PLAIN = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)(\r?\n)")
# RFC 9112 5.2: what continues the value of the line before. Not what others could take for a field with a
# space before it.
_FOLDED = re.compile(
    r"([ \t]+(?![!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*:)[^\x00-\x20\x7f][^\x00-\x08\x0a-\x1f\x7f]*)(\r?\n)"
)


def plain_fields(lines: list[bytes]) -> Fields | None:
    """The fields of a head, or None where a line is not plain.

    A value that continues on the next line keeps the line end, as in the standard library.
    """
    fields: Fields = []
    end = ""
    match = _PLAIN.fullmatch
    for line in lines[:-1]:
        text = str(line, "iso-8859-1")
        found = match(text)
        if found is not None:
            name, value, end = found.groups()
            fields.append((name, value))
            continue
        found = _FOLDED.fullmatch(text)
        if found is None or not fields or not fields[-1][1]:
            return None
        name, value = fields[-1]
        fields[-1] = (name, value + end + found[1])
        end = found[2]
    return fields


def parse(lines: list[bytes], kind: type[email.message.Message]) -> email.message.Message:
    """The message as the standard library makes it, whatever the lines are."""
    return email.parser.Parser(_class=kind).parsestr(b"".join(lines).decode("iso-8859-1"))
