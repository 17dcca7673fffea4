"""The engine under `serve_forever`: the Python half of the drop-in modules' native path.

`stdserve._paths` decides whether a server goes this way. The native half accepts, waits, reads requests and
keeps connections; it calls a `Driver` for what is the program's: handlers, and the steps of the server that
may be overridden on either path.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from stdserve import _paths, _stdserve

if TYPE_CHECKING:
    from stdserve._paths import Choice

#: Family, type and protocol of a socket.
Kind = tuple[int, int, int]

_MOST_THREADS = 10_000

#: Limits of handlers that the engine keeps for them.
_LIMITS = (
    *("max_header_fields", "max_header_size", "max_body_size"),
    *("header_timeout", "keep_alive_timeout", "body_timeout", "write_timeout"),
)


class Engine:
    """The engine of one `serve_forever`, as the server sees it."""

    def __init__(self, server: Any, choice: Choice) -> None:
        self._server = server
        self._threads = choice.concurrency == "threads"
        self._stopping = False
        # Whether the engine has let go of the server's socket.
        self._released = True
        self._stop = threading.Event()
        kind = "http" if choice.family == "files" else str(choice.family)
        driver = _DRIVERS.get(kind, Driver)(server, choice)
        most = getattr(server, "max_threads", None)
        self._loop = _stdserve.DropIn(
            server.fileno(),
            kind,
            driver,
            min(max(_MOST_THREADS if most is None else most, 1), _MOST_THREADS) if self._threads else 0,
            **(driver.limits() if kind in ("http", "wsgi", "xmlrpc") else {}),
        )

    def run(self, poll_interval: float) -> None:
        """Serves until `wake`."""
        try:
            if self._threads:
                self._loop.start()
                if not self._server.daemon_threads:
                    _at_exit(self._loop)
                self._stop.wait()
            else:
                # The interval is how often Python looks for signals; what comes wakes the loop by itself.
                while not self._stopping and self._loop.turn(max(poll_interval, 0.001)):
                    pass
        finally:
            if self._threads:
                self._released = self._loop.drain()
                if not threading.main_thread().is_alive():
                    # The interpreter ends as soon as this thread does.
                    self._loop.wait()
            else:
                self._loop.stop()
                with contextlib.suppress(Exception):
                    self._loop.turn(0)

    def wake(self) -> None:
        """Ends `run`; requests that run are finished by their threads."""
        self._stopping = True
        self._stop.set()
        self._loop.wake()

    def close(self) -> None:
        """Gives the socket back as it was."""
        # The engine has made it non-blocking, which copies of a descriptor share.
        listener = self._server.socket
        if self._released and listener.fileno() != -1:
            listener.settimeout(listener.gettimeout())

    def join(self) -> None:
        """Waits until every request has been finished."""
        self._loop.wait()


def take(server: Any) -> Engine | None:
    """The engine for this server, if it may go that way."""
    choice = _paths.choose(server)
    if choice.path != "engine":
        return None
    return Engine(server, choice)


def _at_exit(loop: _stdserve.DropIn) -> None:
    """The program does not end before the requests that run have been finished."""
    reference = weakref.ref(loop)

    def finish() -> None:
        loop = reference()
        if loop is not None:
            loop.drain()
            loop.wait()

    # Private, and the only hook that comes before threads are joined; concurrent.futures uses it too.
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with contextlib.suppress(RuntimeError):
            register(finish)


class Driver:
    """What the native half calls. Runs in the engine's threads, or in that of `serve_forever`."""

    def __init__(self, server: Any, choice: Choice) -> None:
        self._server = server
        self._threads = choice.concurrency == "threads"
        listener = server.socket
        self._kind: Kind = (listener.family, listener.type, listener.proto)
        factory = server.RequestHandlerClass
        keywords: dict[str, Any] = {}
        while isinstance(factory, functools.partial):
            keywords = {**factory.keywords, **keywords}
            factory = factory.func
        self.handler_class = factory
        self._keywords = keywords
        # Of what a datagram goes through, all else does nothing.
        self._only_handler = _paths.is_own(
            server, "verify_request", "finish_request", "shutdown_request", "close_request"
        )

    def limits(self) -> dict[str, Any]:
        """The limits of the handler class, which the engine keeps."""
        handler = self.handler_class
        limits = {name: getattr(handler, name) for name in _LIMITS if hasattr(handler, name)}
        if limits.get("max_body_size", 0) is None:
            del limits["max_body_size"]
        return limits

    # Requests

    def open(self, address: Any, descriptor: int) -> Any:
        """The handler object of a connection, which is made without its `__init__`: that would handle it."""
        handler = self.handler_class.__new__(self.handler_class)
        handler.request = handler.connection = LazySocket(descriptor, self._kind, handler)
        handler.client_address = address
        handler.server = self._server
        handler.close_connection = True
        configure = getattr(handler, "_configure", None)
        if configure is not None:
            configure(**self._keywords)
        return handler

    def serve(
        self,
        handler: Any,
        command: str,
        path: str,
        version: str,
        line: str,
        fields: list[tuple[str, str]],
        connection: str,
        expect: str,
        rfile: Any,
        wfile: Any,
    ) -> bool:
        """Runs one request. Whether the connection ends."""
        handler.rfile = rfile
        handler.wfile = wfile
        request = handler.request
        request._stdserve_active = True
        try:
            handler._serve_head(command, path, version, line, _message(fields), connection, expect)
        except Exception:
            self._server.handle_error(request, handler.client_address)
            return True
        except BaseException:
            self._let_through()
            return True
        finally:
            request._stdserve_active = False
        return bool(handler.close_connection)

    # Connections and datagrams

    def session(self, descriptor: int, address: Any, ahead: bytes) -> None:
        """Handles one connection by the server's own steps."""
        if ahead:
            request: socket.socket = SocketAhead.of(descriptor, self._kind, ahead)
        else:
            request = socket.socket(*self._kind, fileno=descriptor)
        timeout = self._server.request_timeout
        if timeout is not None:
            request.settimeout(timeout)
        self._handle(request, address)

    def datagram(self, data: bytes, address: Any) -> None:
        """Handles one datagram by the server's own steps."""
        server = self._server
        request = (data[: server.max_packet_size], server.socket)
        if not self._only_handler:
            self._handle(request, address)
            return
        try:
            server.RequestHandlerClass(request, address, server)
        except Exception:
            server.handle_error(request, address)
        except BaseException:
            self._let_through()

    def _handle(self, request: Any, address: Any) -> None:
        server = self._server
        try:
            if server.verify_request(request, address):
                server.finish_request(request, address)
        except Exception:
            server.handle_error(request, address)
        except BaseException:
            self._let_through()
        finally:
            server.shutdown_request(request)

    def _let_through(self) -> None:
        """What is no Exception ends `serve_forever` where that runs it, else it goes where threads' does."""
        if not self._threads:
            raise
        kind, value, traceback = sys.exc_info()
        threading.excepthook(threading.ExceptHookArgs((kind, value, traceback, threading.current_thread())))


class WsgiDriver(Driver):
    """What the native gateway asks of a server of `wsgiref.simple_server`."""

    def __init__(self, server: Any, choice: Choice) -> None:
        super().__init__(server, choice)
        module = sys.modules["stdserve.wsgiref.simple_server"]
        handler = self.handler_class
        own = module.WSGIRequestHandler
        names = ("log_request", "log_message", "log_date_time_string", "address_string", "__getattribute__")
        self._plain_log = all(getattr(handler, name) is getattr(own, name) for name in names)
        self._clock = own.__new__(own)

    def limits(self) -> dict[str, Any]:
        """Also what the field `Server` says."""
        module = sys.modules["stdserve.wsgiref.simple_server"]
        return {**super().limits(), "server_name": module.ServerHandler.server_software}

    def application(self) -> Any:
        """The application, which has to be set by now."""
        return self._server.get_app()

    def environ(self) -> dict[str, Any]:
        """What stands in every environ, as `wsgiref` has it."""
        return {
            # What stands as HTTP_… in the process's environment is no header field (CVE-2016-1000111).
            **{name: value for name, value in os.environ.items() if not name.startswith("HTTP_")},
            **self._server.base_environ,
            "CONTENT_TYPE": "text/plain",
            "SERVER_SOFTWARE": self.handler_class.server_version,
            "wsgi.errors": sys.stderr,
        }

    def log(self, address: str, line: str, status: int, sent: int) -> None:
        """Logs a request as its handler would."""
        if self._plain_log:
            if not line.isprintable() or "\\" in line:
                line = line.translate(self._clock._control_char_table)
            date = self._clock.log_date_time_string()
            sys.stderr.write(f'{address} - - [{date}] "{line}" {status} {sent}\n')
            return
        handler = self.handler_class.__new__(self.handler_class)
        handler.client_address = (address, 0)
        handler.server = self._server
        handler.requestline = line
        handler.command, handler.path, handler.request_version = line.split(" ", 2)
        handler.close_connection = True
        handler.log_request(str(status), sent)


class XmlRpcDriver(Driver):
    """What native code asks of a server of `xmlrpc.server` whose handler is unchanged."""

    def __init__(self, server: Any, choice: Choice) -> None:
        super().__init__(server, choice)
        from stdserve.xmlrpc import _codec, _dispatch

        handler = self.handler_class
        self._handler = handler.__new__(handler)
        marshaled = _dispatch.SimpleXMLRPCDispatcher._marshaled_dispatch
        #: What `crates/python/src/dropin/calls.rs` takes, by the names there.
        self.calls: dict[str, Any] = {
            "server": server,
            "answer": _dispatch.answer,
            "failure": _dispatch.failure,
            "told_of": self._told_of,
            "log": self._log,
            "unchanged": _codec.client_is_unchanged,
            "paths": [path.encode("latin-1") for path in handler.rpc_paths or ()],
            "threshold": handler.encode_threshold,
            "name": self._handler.version_string(),
            "keeps": _paths.keeps_connections(handler),
            "plain": type(server)._marshaled_dispatch is marshaled,
        }

    def _told_of(self, error: BaseException) -> bytes:
        """Header lines of an answer of 500."""
        module = sys.modules["stdserve.xmlrpc.server"]
        lines = [f"{name}: {value}\r\n" for name, value in module._told_of(self._server, error)]
        return "".join(lines).replace("\0", "").encode("latin-1", "replace")

    def _log(self, address: Any, line: str, status: int) -> None:
        """Logs a request as its handler would."""
        try:
            if not line.isprintable() or "\\" in line:
                line = line.translate(self._handler._control_char_table)
            date = self._handler.log_date_time_string()
            sys.stderr.write(f'{address[0]} - - [{date}] "{line}" {status} -\n')
        except Exception:
            self._server.handle_error(None, address)


_DRIVERS: dict[str, type[Driver]] = {"wsgi": WsgiDriver, "xmlrpc": XmlRpcDriver}


@functools.cache
def _message_class() -> Any:
    from stdserve.http._headers import LazyMessage

    return LazyMessage


def _message(fields: list[tuple[str, str]]) -> Any:
    return _message_class()(fields)


class LazySocket:
    """A handler's `request` and `connection`: becomes a socket when somebody asks something of it.

    There is one only while a request runs; between requests the connection is the engine's.
    """

    def __init__(self, descriptor: int, kind: Any, handler: Any) -> None:
        self._stdserve_descriptor = descriptor
        self._stdserve_kind = kind
        self._stdserve_timeout = getattr(handler, "write_timeout", None)
        self._stdserve_active = False
        self._stdserve_socket: socket.socket | None = None

    def __getattr__(self, name: str) -> Any:
        if not self._stdserve_active:
            raise OSError(errno.EBADF, "the connection is not this handler's between requests")
        real = self._stdserve_socket
        if real is None:
            family, kind, protocol = self._stdserve_kind
            real = socket.socket(family, kind, protocol, fileno=os.dup(self._stdserve_descriptor))
            # With a time-out Python waits for a socket that does not block, as the engine needs it.
            real.settimeout(self._stdserve_timeout or 86_400)
            self._stdserve_socket = real
        return getattr(real, name)

    def __del__(self) -> None:
        if self._stdserve_socket is not None:
            self._stdserve_socket.close()


class SocketAhead(socket.socket):
    """A socket of which something was read before."""

    _stdserve_ahead = b""

    @classmethod
    def of(cls, descriptor: int, kind: Kind, ahead: bytes) -> SocketAhead:
        """A socket of which `ahead` was read."""
        family, type_, protocol = kind
        made = cls(family, type_, protocol, fileno=descriptor)
        made._stdserve_ahead = ahead
        return made

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receives, at first what was read before."""
        ahead = self._stdserve_ahead
        if not ahead:
            return super().recv(size, flags)
        if not flags & socket.MSG_PEEK:
            self._stdserve_ahead = ahead[size:]
        return ahead[:size]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receives, at first what was read before."""
        if not self._stdserve_ahead:
            return super().recv_into(buffer, nbytes, flags)
        with memoryview(buffer).cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
        return len(data)
