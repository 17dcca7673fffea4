"""Servers of the drop-in modules, in this process, and a client that sends bytes as they are."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .waiting import PATIENCE


@contextmanager
def running(server: Any, *, engine: bool = False) -> Iterator[tuple[str, int]]:
    """Serves in a thread, on the plain path unless told otherwise; yields the address, ends the server."""
    server.use_engine = engine
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def connect(address: tuple[str, int]) -> socket.socket:
    """A connection that waits long enough, and not for ever."""
    return socket.create_connection(address[:2], timeout=PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    """What the server sends until it ends the connection."""
    received = b""
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionResetError:
        # The server closed with something unread: what it sent before has arrived.
        pass
    return received


def ask(address: tuple[str, int], request: bytes) -> bytes:
    """Sends these bytes and no more, and returns what comes until the connection ends."""
    with connect(address) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def read_response(stream: Any) -> tuple[int, dict[str, str], bytes]:
    """Reads one response with a Content-Length from a connection's file: status, fields, body."""
    status = int(stream.readline().split()[1])
    fields: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.lower()] = value.strip()
    return status, fields, stream.read(int(fields.get("content-length", "0")))


def make_certificate(folder: Path) -> Path:
    """Makes a certificate of localhost; the file has its key as well."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    both.write_text(certificate.read_text() + key.read_text())
    return both


def tls(address: tuple[str, int]) -> ssl.SSLSocket:
    """A TLS connection that trusts anybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(connect(address))
