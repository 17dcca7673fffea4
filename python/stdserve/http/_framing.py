"""Where a request ends: what RFC 9112 says of bodies, and what is refused because two readers could differ.

A server that reads a request's end elsewhere than the proxy before it reads part of one user's body as
another's request ("request smuggling"). So heads whose meaning is in doubt are refused, and the connection
is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from stdserve.http._headers import Fields

# As many as 64 bits have. Who sends such a body is done with this connection in any case.
_MOST_DIGITS = 20


class Refused(Exception):
    """A request that is not served. `status` is the answer's, `reason` its short and the text its long
    form.
    """

    def __init__(self, status: HTTPStatus, reason: str, explanation: str) -> None:
        super().__init__(explanation)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Framing:
    """How long a request's body is: `length` bytes, or as long as its chunks say.

    `ambiguous`: it had both a length and chunks. The chunks count (RFC 9112 6.3), and nothing that follows
    on the connection may be taken for a request.
    """

    length: int = 0
    chunked: bool = False
    ambiguous: bool = False


NO_BODY = Framing()


def _bad(explanation: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "Bad request framing", explanation)


def framing(fields: Fields, http_1_1: bool) -> Framing:
    """Finds how long the body is, or refuses (`Refused`). `http_1_1`: the request is HTTP/1.1 or later."""
    lengths: list[str] = []
    codings: list[str] = []
    hosts = 0
    for name, value in fields:
        # Few names have such a length: the others need no second look.
        size = len(name)
        if size == 14 and name.lower() == "content-length":
            lengths.append(value.strip(" \t"))
        elif size == 17 and name.lower() == "transfer-encoding":
            codings.append(value.strip(" \t"))
        elif size == 4 and name.lower() == "host":
            hosts += 1
    if hosts > 1:
        raise _bad("Host stands more than once.")
    if codings:
        return _chunks(codings, bool(lengths), http_1_1)
    if not lengths:
        return NO_BODY
    if any(value != lengths[0] for value in lengths):
        raise _bad("Content-Length stands twice with different values.")
    length = lengths[0]
    if not (length.isascii() and length.isdigit()) or len(length) > _MOST_DIGITS:
        raise _bad("Content-Length is not a decimal number.")
    return Framing(int(length))


def _chunks(codings: list[str], lengths: bool, http_1_1: bool) -> Framing:
    """The same for a request with Transfer-Encoding."""
    if not http_1_1:
        raise _bad("Transfer-Encoding stands in an HTTP/1.0 request.")
    if len(codings) > 1 or codings[0].lower() != "chunked":
        raise Refused(
            HTTPStatus.NOT_IMPLEMENTED,
            "Unsupported transfer encoding",
            "The only transfer coding that is understood is one 'chunked'.",
        )
    return Framing(chunked=True, ambiguous=lengths)
