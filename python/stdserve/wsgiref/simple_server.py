# Derived from CPython's Lib/wsgiref/simple_server.py: Copyright (c) 2001 Python Software Foundation; All
# Rights Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""A server for one WSGI application: the standard library's ``wsgiref.simple_server``, to be imported in its
place.

    from stdserve.wsgiref.simple_server import make_server

    with make_server("127.0.0.1", 8000, app) as server:
        server.serve_forever()

What is added is listed in docs/drop-in.md.
"""

from __future__ import annotations

import sys
import urllib.parse
from http import HTTPStatus
from platform import python_implementation
from typing import TYPE_CHECKING, Any
from wsgiref.handlers import SimpleHandler

from stdserve.http._body import BodyReader
from stdserve.http.server import BaseHTTPRequestHandler, HTTPServer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.headers import Headers
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__version__ = "0.2"
__all__ = ["WSGIRequestHandler", "WSGIServer", "demo_app", "make_server"]

server_version = "WSGIServer/" + __version__
sys_version = python_implementation() + "/" + sys.version.split()[0]
software_version = server_version + " " + sys_version


class ServerHandler(SimpleHandler):
    """Runs the application for one request, and logs it at the end."""

    server_software = software_version
    request_handler: WSGIRequestHandler
    if TYPE_CHECKING:
        status: str | None
        headers: Headers
        bytes_sent: int

    def cleanup_headers(self) -> None:
        """Looks at the head before it is sent: `WSGIRequestHandler.refuse_header_injection`."""
        if self.request_handler.refuse_header_injection:
            lines = [self.status or "", *(f"{name}: {value}" for name, value in self.headers.items())]
            for line in lines:
                if "\n" in line or "\r" in line or "\0" in line:
                    raise ValueError(f"a line end or NUL stands in the head of the response: {line!r}")
        super().cleanup_headers()

    def close(self) -> None:
        """Logs the request, and cleans up."""
        try:
            self.request_handler.log_request((self.status or "-").split(" ", 1)[0], self.bytes_sent)
        finally:
            super().close()


class WSGIServer(HTTPServer):
    """An HTTP server that has a WSGI application."""

    application: WSGIApplication | None = None
    base_environ: WSGIEnvironment

    def server_bind(self) -> None:
        """Binds, and prepares what is the same in every environ."""
        super().server_bind()
        self.setup_environ()

    def setup_environ(self) -> None:
        """Sets `base_environ`."""
        self.base_environ = {
            "SERVER_NAME": self.server_name,
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PORT": str(self.server_port),
            "REMOTE_HOST": "",
            "CONTENT_LENGTH": "",
            "SCRIPT_NAME": "",
        }

    def get_app(self) -> WSGIApplication | None:
        """The application."""
        return self.application

    def set_app(self, application: WSGIApplication | None) -> None:
        """Sets the application."""
        self.application = application


class WSGIRequestHandler(BaseHTTPRequestHandler):
    """Hands a request to the server's application."""

    server_version = "WSGIServer/" + __version__

    #: Leaves fields with an underscore in their name out of the environ, where `X_User` would be as `X-User`.
    drop_underscored_headers: bool = True
    #: Leaves the field `Proxy` out of the environ: HTTP_PROXY means something else to many
    #: (CVE-2016-1000111).
    drop_proxy_header: bool = True
    #: `wsgi.input` ends where the request's body does, as PEP 3333 has it, and does not wait for more.
    bounded_input: bool = True

    def get_environ(self) -> WSGIEnvironment:
        """The environ of this request, but for its `wsgi.` part."""
        server: Any = self.server
        env: WSGIEnvironment = server.base_environ.copy()
        path, _, query = self.path.partition("?")
        headers = self.headers
        kind = headers.get("content-type")
        env["SERVER_PROTOCOL"] = self.request_version
        env["SERVER_SOFTWARE"] = self.server_version
        env["REQUEST_METHOD"] = self.command
        env["PATH_INFO"] = urllib.parse.unquote(path, "iso-8859-1") if "%" in path else path
        env["QUERY_STRING"] = query
        env["REMOTE_ADDR"] = self.client_address[0]
        env["CONTENT_TYPE"] = headers.get_content_type() if kind is None else kind
        length = headers.get("content-length")
        if length:
            env["CONTENT_LENGTH"] = length
        for name, value in headers.items():
            if "_" in name and self.drop_underscored_headers:
                continue
            key = name.replace("-", "_").upper()
            if key in env or (key == "PROXY" and self.drop_proxy_header):
                continue
            key = "HTTP_" + key
            value = value.strip()
            env[key] = f"{env[key]},{value}" if key in env else value
        return env

    def get_stderr(self) -> Any:
        """Where `wsgi.errors` goes."""
        return sys.stderr

    def handle(self) -> None:
        """Handles one request."""
        self.close_connection = True
        try:
            self._await_head()
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:
                self.requestline = ""
                self.request_version = ""
                self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
                return
            if not self.parse_request():
                return
            self._begin_body()
        except TimeoutError as error:
            self.log_error("Request timed out: %r", error)
            return
        output: Any = self.wfile
        handler = ServerHandler(
            self._input(), output, self.get_stderr(), self.get_environ(), multithread=False
        )
        handler.request_handler = self
        server: Any = self.server
        handler.run(server.get_app())
        self._end_body()

    def _input(self) -> Any:
        """What the application reads the body from."""
        if not self.bounded_input or self._framing.chunked or not self.strict_framing:
            return self.rfile
        return BodyReader(self.rfile, self._framing.length)


def demo_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """An application that greets, and shows its environ."""
    lines = ["Hello world!", "", *(f"{key} = {value!r}" for key, value in sorted(environ.items())), ""]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["\n".join(lines).encode("utf-8")]


def make_server(
    host: str,
    port: int,
    app: WSGIApplication,
    server_class: Any = WSGIServer,
    handler_class: Any = WSGIRequestHandler,
) -> Any:
    """A server for `app`, which listens on `host` and `port`."""
    server = server_class((host, port), handler_class)
    server.set_app(app)
    return server


for _thing in (ServerHandler, WSGIServer, WSGIRequestHandler, demo_app, make_server):
    _thing.__module__ = "wsgiref.simple_server"


if __name__ == "__main__":
    with make_server("", 8000, demo_app) as httpd:
        host, port = httpd.socket.getsockname()[:2]
        print("Serving HTTP on", host, "port", port, "...")
        import webbrowser

        webbrowser.open("http://localhost:8000/xyz?abc")
        # One request, and then the end.
        httpd.handle_request()
