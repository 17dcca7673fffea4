# Derived from CPython's Lib/http/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""The server classes of ``http.server``."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any

from stdserve import socketserver
from stdserve.http._streams import is_tls

if TYPE_CHECKING:
    import ssl

_Address = Any
_Password = str | bytes | None


class HTTPServer(socketserver.TCPServer):
    """A TCP server that knows its own name and port: `server_name` and `server_port`."""

    allow_reuse_address = True
    # 3.14: http.server no longer sets SO_REUSEPORT.
    allow_reuse_port = False

    server_name: str
    server_port: int

    def server_bind(self) -> None:
        """Binds, and asks for the full name of the host that it is bound to."""
        super().server_bind()
        host, port = self.server_address[:2]
        self.server_name = socket.getfqdn(host)
        self.server_port = port


class ThreadingHTTPServer(socketserver.ThreadingMixIn, HTTPServer):
    """An `HTTPServer` that handles connections in threads."""

    daemon_threads = True


class HTTPSServer(HTTPServer):
    """An `HTTPServer` over TLS (Python 3.14).

    `certfile` is the path of a certificate chain, `keyfile` that of the private key (where it does not
    stand in `certfile`), `password` the key's. `alpn_protocols` are offered to the client; ``["http/1.1"]``
    unless given.

    The standard library greets a client (the handshake) where it accepts it, so that one that says nothing
    stops the server. Here that happens where the connection is handled, within `handshake_timeout` seconds.
    """

    #: Seconds that a client has for the TLS handshake; None: no limit.
    handshake_timeout: float | None = 10

    def __init__(
        self,
        server_address: _Address,
        RequestHandlerClass: Any,
        bind_and_activate: bool = True,
        *,
        certfile: str | PathLike[str],
        keyfile: str | PathLike[str] | None = None,
        password: _Password = None,
        alpn_protocols: Iterable[str] | None = None,
    ) -> None:
        self.certfile = certfile
        self.keyfile = keyfile
        self.password = password
        self.alpn_protocols = ["http/1.1"] if alpn_protocols is None else alpn_protocols
        try:
            import ssl  # noqa: F401
        except ImportError as error:
            raise RuntimeError("HTTPSServer needs the module ssl, which this Python lacks") from error
        super().__init__(server_address, RequestHandlerClass, bind_and_activate)

    def server_activate(self) -> None:
        """Wraps the socket for TLS, then listens."""
        super().server_activate()
        context = self._create_context()
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def _create_context(self) -> ssl.SSLContext:
        """A context of the default settings, with the certificate."""
        import ssl

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certfile, self.keyfile, self.password)
        context.set_alpn_protocols(list(self.alpn_protocols))
        return context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shakes hands, then handles the connection. A client that does not manage the first is dropped."""
        if self._shake_hands(request):
            super().finish_request(request, client_address)

    def _shake_hands(self, request: Any) -> bool:
        """Whether the client got through the handshake in time."""
        if not is_tls(request):
            return True
        before = request.gettimeout()
        with contextlib.suppress(OSError):
            request.settimeout(self.handshake_timeout)
            request.do_handshake()
            request.settimeout(before)
            return True
        return False


class ThreadingHTTPSServer(socketserver.ThreadingMixIn, HTTPSServer):
    """An `HTTPSServer` that handles connections in threads."""

    daemon_threads = True
