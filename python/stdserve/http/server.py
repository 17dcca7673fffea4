# Derived from CPython's Lib/http/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""HTTP servers: the standard library's ``http.server``, to be imported in its place.

The names are those of CPython 3.11 to 3.15, on every Python; what they do is what they are documented to
do. What is added is listed in docs/drop-in.md.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from stdserve.http._base import BaseHTTPRequestHandler
from stdserve.http._cgi import CGIHTTPRequestHandler, _url_collapse_path, executable, nobody_uid
from stdserve.http._files import SimpleHTTPRequestHandler
from stdserve.http._responses import DEFAULT_ERROR_CONTENT_TYPE, DEFAULT_ERROR_MESSAGE, __version__
from stdserve.http._servers import HTTPServer, HTTPSServer, ThreadingHTTPServer, ThreadingHTTPSServer

__all__ = [  # noqa: RUF022 (CPython's order)
    "HTTPServer",
    "ThreadingHTTPServer",
    "HTTPSServer",
    "ThreadingHTTPSServer",
    "BaseHTTPRequestHandler",
    "SimpleHTTPRequestHandler",
    "CGIHTTPRequestHandler",
]

# Not public by CPython's word, and used by its tests and by programs.
_PRIVATE = (
    DEFAULT_ERROR_CONTENT_TYPE,
    DEFAULT_ERROR_MESSAGE,
    __version__,
    _url_collapse_path,
    executable,
    nobody_uid,
)

# Programs and tests compare this name; so it is the standard library's.
for _name in __all__:
    globals()[_name].__module__ = "http.server"


def _get_best_family(host: str | None, port: int) -> tuple[int, Any]:
    """Address family and address to listen on, for a host (None: all) and a port."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, sockaddr = next(iter(infos))
    return family, sockaddr


def test(
    HandlerClass: Any = BaseHTTPRequestHandler,  # noqa: PT028 (no test)
    ServerClass: Any = ThreadingHTTPServer,  # noqa: PT028
    protocol: str = "HTTP/1.0",  # noqa: PT028
    port: int = 8000,  # noqa: PT028
    bind: str | None = None,  # noqa: PT028
    tls_cert: str | None = None,  # noqa: PT028
    tls_key: str | None = None,  # noqa: PT028
    tls_password: str | None = None,  # noqa: PT028
) -> None:
    """Serves with this handler class until it is interrupted; over TLS where `tls_cert` is given (Python
    3.14).
    """
    ServerClass.address_family, address = _get_best_family(bind, port)
    HandlerClass.protocol_version = protocol
    if tls_cert:
        server = ServerClass(address, HandlerClass, certfile=tls_cert, keyfile=tls_key, password=tls_password)
    else:
        server = ServerClass(address, HandlerClass)
    with server as httpd:
        host, port = httpd.socket.getsockname()[:2]
        url_host = f"[{host}]" if ":" in host else host
        scheme = "HTTPS" if tls_cert else "HTTP"
        print(f"Serving {scheme} on {host} port {port} ({scheme.lower()}://{url_host}:{port}/) ...")
        try:
            httpd.serve_forever()
        except KeyboardInterrupt:
            print("\nKeyboard interrupt received, exiting.")
            sys.exit(0)


def _main(args: Sequence[str] | None = None) -> None:
    """The command ``python -m http.server``, with the options of CPython 3.15."""
    import argparse

    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--cgi", action="store_true", help="run as CGI server")
    add("-b", "--bind", metavar="ADDRESS", help="bind to this address (default: all interfaces)")
    add(
        "-d",
        "--directory",
        default=os.getcwd(),
        help="serve this directory (default: current directory)",
    )
    add(
        "-p",
        "--protocol",
        metavar="VERSION",
        default="HTTP/1.0",
        help="conform to this HTTP version (default: %(default)s)",
    )
    add("--tls-cert", metavar="PATH", help="path to the TLS certificate chain file")
    add("--tls-key", metavar="PATH", help="path to the TLS key file")
    add("--tls-password-file", metavar="PATH", help="path to the password file for the TLS key")
    add(
        "--content-type",
        metavar="TYPE",
        help="Content-Type of files whose type their name does not tell (default: application/octet-stream)",
    )
    add(
        "-H",
        "--header",
        nargs=2,
        action="append",
        metavar=("HEADER", "VALUE"),
        help="add a header field to responses of status 200; may be given several times",
    )
    add("port", default=8000, type=int, nargs="?", help="bind to this port (default: %(default)s)")
    options = parser.parse_args(args)

    if not options.tls_cert and options.tls_key:
        parser.error("--tls-key requires --tls-cert to be set")
    password = None
    if options.tls_password_file:
        if not options.tls_cert:
            parser.error("--tls-password-file requires --tls-cert to be set")
        try:
            with open(options.tls_password_file, encoding="utf-8") as file:
                password = file.read().strip()
        except OSError as error:
            parser.error(f"Failed to read TLS password file: {error}")

    handler: Any = CGIHTTPRequestHandler if options.cgi else SimpleHTTPRequestHandler
    if options.content_type is not None:
        handler.default_content_type = options.content_type

    class DualStackServerMixin:
        """Listens for IPv4 and IPv6, and gives the handler its options."""

        def server_bind(self: Any) -> Any:
            # There is no such option where the protocol is IPv4.
            with contextlib.suppress(Exception):
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            return super().server_bind()  # type: ignore[misc]

        def finish_request(self: Any, request: Any, client_address: Any) -> None:
            if not options.tls_cert or self._shake_hands(request):
                self.RequestHandlerClass(
                    request,
                    client_address,
                    self,
                    directory=options.directory,
                    extra_response_headers=options.header,
                )

    class HTTPDualStackServer(DualStackServerMixin, ThreadingHTTPServer):
        pass

    class HTTPSDualStackServer(DualStackServerMixin, ThreadingHTTPSServer):
        pass

    test(
        HandlerClass=handler,
        ServerClass=HTTPSDualStackServer if options.tls_cert else HTTPDualStackServer,
        port=options.port,
        bind=options.bind,
        protocol=options.protocol,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        tls_password=password,
    )


if __name__ == "__main__":
    _main()
