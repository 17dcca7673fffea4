# Derived from CPython's Lib/xmlrpc/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""XML-RPC servers: the standard library's ``xmlrpc.server``, to be imported in its place.

    from stdserve.xmlrpc.server import SimpleXMLRPCServer

    with SimpleXMLRPCServer(("localhost", 8000)) as server:
        server.register_function(pow)
        server.serve_forever()

The names are those of CPython 3.11 to 3.15, on every Python; what they do is what they are documented to
do. Documents are read and written natively. What is added is listed in docs/drop-in.md.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from typing import Any, ClassVar
from xmlrpc.client import Fault, gzip_decode, gzip_encode

from stdserve import _stdserve, socketserver
from stdserve.http._responses import DEFAULT_ERROR_CONTENT_TYPE, DEFAULT_ERROR_MESSAGE
from stdserve.http.server import BaseHTTPRequestHandler
from stdserve.xmlrpc import _codec
from stdserve.xmlrpc._codec import dumps, loads
from stdserve.xmlrpc._dispatch import (
    SimpleXMLRPCDispatcher,
    list_public_methods,
    resolve_dotted_attribute,
)
from stdserve.xmlrpc._doc import ServerHTMLDoc, XMLRPCDocGenerator, stylesheet

__all__ = [  # noqa: RUF022 (the order of the documentation)
    "SimpleXMLRPCServer",
    "SimpleXMLRPCRequestHandler",
    "SimpleXMLRPCDispatcher",
    "MultiPathXMLRPCServer",
    "CGIXMLRPCRequestHandler",
    "DocXMLRPCServer",
    "DocXMLRPCRequestHandler",
    "DocCGIXMLRPCRequestHandler",
    "ServerHTMLDoc",
    "XMLRPCDocGenerator",
    "resolve_dotted_attribute",
    "list_public_methods",
]

# Names of the standard library's module that programs import from it.
_ALSO_THERE = (dumps, loads, Fault, gzip_decode, gzip_encode)

_decode_of_client = gzip_decode


class SimpleXMLRPCRequestHandler(BaseHTTPRequestHandler):
    """Takes POST requests for calls, and has the server answer them."""

    #: A `SimpleXMLRPCServer`, or what has its `logRequests` and `_marshaled_dispatch`.
    server: Any

    #: The paths that are answered; others are 404. Empty: all paths.
    rpc_paths: Any = ("/", "/RPC2", "/pydoc.css")

    #: Answers with more bytes are compressed for clients that accept gzip; None: none are.
    encode_threshold: int | None = 1400

    # As socketserver's StreamRequestHandler has them: output is gathered, and not held back by the kernel.
    wbufsize = -1
    disable_nagle_algorithm = True

    # Safety that the standard library lacks. Each is changed by setting it in a subclass.

    #: Most bytes of a body, as it is sent; 413 past it. None: no limit.
    max_body_size: int | None = 64 << 20
    #: Most bytes that a compressed body may have inflated; the bound of `xmlrpc.client.gzip_decode`.
    max_inflated_size: int = 20 << 20
    #: How many times its size a compressed body may grow, once that is past 1 MiB.
    max_inflate_ratio: int = 200

    # A content-coding of Accept-Encoding, and its weight.
    aepattern: ClassVar[re.Pattern[str]] = re.compile(
        r"""
        \s* ([^\s;]+) \s*            #content-coding
        (;\s* q \s*=\s* ([0-9\.]+))? #q
        """,
        re.VERBOSE | re.IGNORECASE,
    )

    def accept_encodings(self) -> dict[str, float]:
        """The codings that the client accepts, and how much it likes them."""
        accepted = {}
        for entry in self.headers.get("Accept-Encoding", "").split(","):
            match = self.aepattern.match(entry)
            if match:
                weight = match.group(3)
                accepted[match.group(1)] = float(weight) if weight else 1.0
        return accepted

    def is_rpc_path_valid(self) -> bool:
        """Whether calls are taken at the path of the request."""
        return self.path in self.rpc_paths if self.rpc_paths else True

    def do_POST(self) -> None:
        """Answers a call. The server's `_marshaled_dispatch` makes the answer, and is given the `_dispatch`
        of this class where a subclass has one.
        """
        if not self.is_rpc_path_valid():
            self.report_404()
            return
        try:
            # In pieces: some systems do not like to be asked for all of a large body at once.
            max_chunk_size = 10 * 1024 * 1024
            size_remaining = int(self.headers["content-length"])
            chunks = []
            while size_remaining:
                chunk = self.rfile.read(min(size_remaining, max_chunk_size))
                if not chunk:
                    break
                chunks.append(chunk)
                size_remaining -= len(chunk)
            data = self.decode_request_content(b"".join(chunks))
            if data is None:
                return  # it was answered
            response = self.server._marshaled_dispatch(data, getattr(self, "_dispatch", None), self.path)
        except Exception as e:
            # Only what is wrong with the program itself comes here.
            self.send_response(500)
            for name, value in _told_of(self.server, e):
                self.send_header(name, value)
            self.send_header("Content-length", "0")
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-type", "text/xml")
            threshold = self.encode_threshold
            if threshold is not None and len(response) > threshold and self.accept_encodings().get("gzip", 0):
                response = _stdserve.gzip(response)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

    def decode_request_content(self, data: bytes) -> bytes | None:
        """The body without its content-coding; None where that cannot be taken off, which is answered."""
        encoding = self.headers.get("content-encoding", "identity").lower()
        if encoding == "identity":
            return data
        if encoding == "gzip":
            try:
                if gzip_decode is not _decode_of_client:
                    # A program has put its own in place.
                    return gzip_decode(data)
                return _stdserve.gunzip(data, self.max_inflated_size, self.max_inflate_ratio)
            except NotImplementedError:
                self.send_response(501, f"encoding {encoding!r} not supported")
            except ValueError:
                self.send_response(400, "error decoding gzip content")
        else:
            self.send_response(501, f"encoding {encoding!r} not supported")
        self.send_header("Content-length", "0")
        self.end_headers()
        return None

    def report_404(self) -> None:
        """Answers that there is no such path."""
        self.send_response(404)
        response = b"No such page"
        self.send_header("Content-type", "text/plain")
        self.send_header("Content-length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs the request, unless the server was made with `logRequests` false."""
        if self.server.logRequests:
            BaseHTTPRequestHandler.log_request(self, code, size)


def _told_of(server: Any, error: BaseException) -> list[tuple[str, str]]:
    """The fields of an answer of 500: what went wrong, where the server says that."""
    if not getattr(server, "_send_traceback_header", False):
        return []
    trace = "".join(traceback.format_exception(error)).encode("ASCII", "backslashreplace").decode("ASCII")
    # In one line, as header fields are.
    return [("X-exception", " ".join(str(error).split())), ("X-traceback", " | ".join(trace.splitlines()))]


class SimpleXMLRPCServer(socketserver.TCPServer, SimpleXMLRPCDispatcher):
    """Listens at `addr`, and answers calls with the functions and the instance that are registered. Override
    `_dispatch` to choose otherwise.
    """

    allow_reuse_address = True

    # For tests only: answers of 500 then tell the exception, and where in the program it was raised.
    _send_traceback_header = False

    def __init__(
        self,
        addr: Any,
        requestHandler: Any = SimpleXMLRPCRequestHandler,
        logRequests: bool = True,
        allow_none: bool = False,
        encoding: str | None = None,
        bind_and_activate: bool = True,
        use_builtin_types: bool = False,
    ) -> None:
        self.logRequests = logRequests
        SimpleXMLRPCDispatcher.__init__(self, allow_none, encoding, use_builtin_types)
        socketserver.TCPServer.__init__(self, addr, requestHandler, bind_and_activate)


class MultiPathXMLRPCServer(SimpleXMLRPCServer):
    """Several dispatchers at one address, each at a path of its own. The request handler's `rpc_paths` must
    let these paths through.
    """

    def __init__(
        self,
        addr: Any,
        requestHandler: Any = SimpleXMLRPCRequestHandler,
        logRequests: bool = True,
        allow_none: bool = False,
        encoding: str | None = None,
        bind_and_activate: bool = True,
        use_builtin_types: bool = False,
    ) -> None:
        SimpleXMLRPCServer.__init__(
            self,
            addr,
            requestHandler,
            logRequests,
            allow_none,
            encoding,
            bind_and_activate,
            use_builtin_types,
        )
        self.dispatchers: dict[str, Any] = {}
        self.allow_none = allow_none
        self.encoding = encoding or "utf-8"

    def add_dispatcher(self, path: str, dispatcher: Any) -> Any:
        """Has `dispatcher` answer the calls at `path`, and returns it."""
        self.dispatchers[path] = dispatcher
        return dispatcher

    def get_dispatcher(self, path: str) -> Any:
        """The dispatcher at `path`."""
        return self.dispatchers[path]

    def _marshaled_dispatch(self, data: bytes | str, dispatch_method: Any = None, path: Any = None) -> bytes:
        try:
            response: bytes = self.dispatchers[path]._marshaled_dispatch(data, dispatch_method, path)
            return response
        except BaseException as exc:
            # A dispatcher makes faults of what its functions raise: this is something else.
            return _codec.response(Fault(1, f"{type(exc)}:{exc}"), self.encoding, self.allow_none)


class CGIXMLRPCRequestHandler(SimpleXMLRPCDispatcher):
    """Answers the one request of a CGI script."""

    def __init__(
        self, allow_none: bool = False, encoding: str | None = None, use_builtin_types: bool = False
    ) -> None:
        SimpleXMLRPCDispatcher.__init__(self, allow_none, encoding, use_builtin_types)

    def handle_xmlrpc(self, request_text: bytes | str) -> None:
        """Answers a call."""
        _print_answer(["Content-Type: text/xml"], self._marshaled_dispatch(request_text))

    def handle_get(self) -> None:
        """Answers a GET request: with an error, since calls are made by POST."""
        code = 400
        message, explain = BaseHTTPRequestHandler.responses[code]
        page = DEFAULT_ERROR_MESSAGE % {"code": code, "message": message, "explain": explain}
        head = [f"Status: {code} {message}", f"Content-Type: {DEFAULT_ERROR_CONTENT_TYPE}"]
        _print_answer(head, page.encode("utf-8"))

    def handle_request(self, request_text: bytes | str | None = None) -> None:
        """Answers the request: `request_text`, else what the environment and standard input hold."""
        if request_text is None and os.environ.get("REQUEST_METHOD", None) == "GET":
            self.handle_get()
            return
        if request_text is None:
            try:
                length = int(os.environ.get("CONTENT_LENGTH", ""))
            except ValueError:
                length = -1
            request_text = sys.stdin.read(length)
        self.handle_xmlrpc(request_text)


def _print_answer(head: list[str], body: bytes) -> None:
    for line in head:
        print(line)
    print(f"Content-Length: {len(body)}")
    print()
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


class DocXMLRPCRequestHandler(SimpleXMLRPCRequestHandler):
    """Takes POST requests for calls, and answers GET with the documentation of what can be called."""

    def _get_css(self, url: str) -> bytes:
        return stylesheet()

    def do_GET(self) -> None:
        """Answers with the documentation, or with its style sheet for a path that ends so."""
        if not self.is_rpc_path_valid():
            self.report_404()
            return
        if self.path.endswith(".css"):
            content_type = "text/css"
            response = self._get_css(self.path)
        else:
            content_type = "text/html"
            response = self.server.generate_html_documentation().encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", f"{content_type}; charset=UTF-8")
        self.send_header("Content-length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)


class DocXMLRPCServer(SimpleXMLRPCServer, XMLRPCDocGenerator):
    """A `SimpleXMLRPCServer` that documents itself."""

    def __init__(
        self,
        addr: Any,
        requestHandler: Any = DocXMLRPCRequestHandler,
        logRequests: bool = True,
        allow_none: bool = False,
        encoding: str | None = None,
        bind_and_activate: bool = True,
        use_builtin_types: bool = False,
    ) -> None:
        SimpleXMLRPCServer.__init__(
            self,
            addr,
            requestHandler,
            logRequests,
            allow_none,
            encoding,
            bind_and_activate,
            use_builtin_types,
        )
        XMLRPCDocGenerator.__init__(self)


class DocCGIXMLRPCRequestHandler(CGIXMLRPCRequestHandler, XMLRPCDocGenerator):
    """A `CGIXMLRPCRequestHandler` that answers GET with its documentation."""

    def __init__(self) -> None:
        CGIXMLRPCRequestHandler.__init__(self)
        XMLRPCDocGenerator.__init__(self)

    def handle_get(self) -> None:
        """Answers with the documentation."""
        _print_answer(["Content-Type: text/html"], self.generate_html_documentation().encode("utf-8"))


# Programs and tests compare this name; so it is the standard library's.
for _name in __all__:
    globals()[_name].__module__ = "xmlrpc.server"
