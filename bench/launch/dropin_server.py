"""A server of the standard library's family, by the standard library or by stdserve: for `bench/dropin.py`.

    python dropin_server.py KIND {standard,stdserve}

KIND: http, wsgi, xmlrpc, tcp, udp, udp-files, udp-threads or udp-threads-files.

`-threads` is ThreadingUDPServer, and UDPServer without it; `-files` is a DatagramRequestHandler, and a
BaseRequestHandler that calls `sendto` without it.

Prints its port, and serves until it is ended.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

HELLO = b"Hello, world!\n"


def main() -> None:
    """Makes the server, and serves."""
    kind, whose = sys.argv[1:]
    prefix = "stdserve." if whose == "stdserve" else ""

    def module(name: str) -> Any:
        return importlib.import_module(prefix + name)

    server: Any
    if kind == "http":
        http = module("http.server")

        class Handler(http.BaseHTTPRequestHandler):  # type: ignore[misc, name-defined]
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(HELLO)))
                self.end_headers()
                self.wfile.write(HELLO)

            def log_message(self, *args: Any) -> None:
                pass

        server = http.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    elif kind == "wsgi":
        simple = module("wsgiref.simple_server")

        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))])
            return [HELLO]

        quiet = type("Quiet", (simple.WSGIRequestHandler,), {"log_message": lambda *args: None})
        server = simple.make_server("127.0.0.1", 0, app, handler_class=quiet)
    elif kind == "xmlrpc":
        server = module("xmlrpc.server").SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
        server.register_function(lambda a, b: a + b, "add")
        server.register_function(lambda value: value, "echo")
    else:
        socketserver = module("socketserver")

        class Echo(socketserver.BaseRequestHandler):  # type: ignore[misc, name-defined]
            def handle(self) -> None:
                if kind.startswith("udp"):
                    data, sock = self.request
                    sock.sendto(data, self.client_address)
                else:
                    self.request.sendall(self.request.recv(1024))

        class EchoByFiles(socketserver.DatagramRequestHandler):  # type: ignore[misc, name-defined]
            def handle(self) -> None:
                self.wfile.write(self.rfile.read())

        protocol = "UDP" if kind.startswith("udp") else "TCP"
        threads = "Threading" if "threads" in kind or kind == "tcp" else ""
        base = getattr(socketserver, f"{threads}{protocol}Server")
        handler = EchoByFiles if kind.endswith("files") else Echo
        server = type("Server", (base,), {"request_queue_size": 128})(("127.0.0.1", 0), handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
