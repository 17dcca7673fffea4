# Derived from CPython's Lib/socketserver.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""Servers on sockets, of every kind: the standard library's `socketserver`, fit for production.

    from stdserve import socketserver  # in place of: import socketserver

Everything is as documented in https://docs.python.org/3/library/socketserver.html, and what a subclass
overrides is called at the same point. What is different:

- `shutdown()` ends `serve_forever()` at once, not at the next `poll_interval`.
- `ThreadingMixIn` uses its threads again, and has at most `max_threads`; no request is accepted while all
  are busy.
- `ForkingMixIn` waits for a free child without blocking the loop, never waits for processes that it did not
  start, and leaves no zombie.
- `TCPServer.request_timeout` bounds how long a handler waits for its client.
- Out of descriptors or memory, the loop pauses; it does not spin.
- `ForkingUnixStreamServer` and `ForkingUnixDatagramServer` are there on every Python.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import threading
from functools import cache, partial
from io import BufferedIOBase, BytesIO
from time import monotonic as time
from typing import TYPE_CHECKING, Any

from stdserve import selectors
from stdserve._pool import ThreadPool
from stdserve._waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from typing_extensions import Buffer

    from stdserve._engine import Engine


__version__ = "0.4"

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
    "ForkingUnixDatagramServer",
    "ForkingUnixStreamServer",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer",
    "UDPServer",
    "UnixDatagramServer",
    "UnixStreamServer",
]

# poll needs no descriptor of its own, unlike epoll.
_ServerSelector: Callable[[], selectors.BaseSelector] = selectors.PollSelector

# Nothing was accepted, since there is not enough of something; or the socket is gone. Trying again at once
# is useless.
_PAUSE_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF))
_PAUSE_SECONDS = 0.05


@cache
def _engine() -> Any:
    """The native path, which needs modules that need this one."""
    from stdserve import _engine

    return _engine


class BaseServer:
    """What all servers share: the loop, and the steps that a request goes through.

    For the caller: `serve_forever`, `shutdown`, `handle_request`, `server_close`, `fileno`; also a context
    manager.

    A request goes through these steps, each of which may be overridden: `get_request`, `verify_request`,
    `process_request` (which calls `finish_request`), `shutdown_request`, `close_request`; `handle_error`
    where one fails. Also: `server_bind`, `server_activate`, `service_actions`, `handle_timeout`.
    """

    timeout: float | None = None
    """How long `handle_request` waits, in seconds; None for ever. `serve_forever` does not look at it."""

    use_engine: bool = True
    """Whether `serve_forever` may be done by the native engine, where nothing that it skips is overridden.

    `stdserve.explain(server)` tells whether it is.
    """

    # What serve_forever waits on while it runs.
    _stdserve_waiting: Waiting | Engine | None = None
    # The engine that the last serve_forever ran on, whose threads may not have finished.
    _stdserve_engine: Engine | None = None

    if TYPE_CHECKING:
        socket: socket.socket
        address_family: int
        socket_type: int

        def fileno(self) -> int: ...
        def get_request(self) -> tuple[Any, Any]: ...

    def __init__(self, server_address: Any, RequestHandlerClass: Callable[..., Any]) -> None:
        """May be extended, not overridden."""
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        self.__is_shut_down = threading.Event()
        self.__shutdown_request = False
        self.__pauses = False

    def server_activate(self) -> None:
        """Called by the constructor to activate the server."""

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Handles requests until `shutdown`.

        Calls `service_actions` after each, and every `poll_interval` seconds. Does not look at `timeout`.
        """
        self.__is_shut_down.clear()
        try:
            self.__serve(poll_interval)
        finally:
            self.__shutdown_request = False
            self.__is_shut_down.set()

    def __serve(self, poll_interval: float) -> None:
        engine = _engine().take(self)
        if engine is not None:
            self._stdserve_waiting = self._stdserve_engine = engine
            try:
                if not self.__shutdown_request:
                    engine.run(poll_interval)
            finally:
                self._stdserve_waiting = None
                engine.close()
            return
        waiting = Waiting(self, _ServerSelector)
        self._stdserve_waiting = waiting
        try:
            # Only now that `shutdown` can wake it: what came before is seen here.
            while not self.__shutdown_request:
                ready = waiting.wait(poll_interval, listen=self._stdserve_has_room(waiting))
                if self.__shutdown_request:
                    break
                if ready:
                    self._handle_request_noblock()
                    if self.__pauses:
                        self.__pauses = False
                        waiting.pause(_PAUSE_SECONDS)
                self.service_actions()
        finally:
            self._stdserve_waiting = None
            waiting.close()

    def _stdserve_has_room(self, waiting: Waiting) -> bool:
        """Whether another request can be processed now. If not, `waiting` is woken when one can."""
        return True

    def shutdown(self) -> None:
        """Ends `serve_forever`, and waits until it has ended.

        To be called from another thread than that of `serve_forever`.
        """
        self.__shutdown_request = True
        waiting = self._stdserve_waiting
        if waiting is not None:
            waiting.wake()
        self.__is_shut_down.wait()

    def service_actions(self) -> None:
        """Called by the loop of `serve_forever`, for what must be done now and then."""

    def handle_request(self) -> None:
        """Handles one request, waiting for it at most `timeout` seconds."""
        # The socket's own time-out counts too: programs used it before `timeout` was there.
        timeout = self.socket.gettimeout()
        if timeout is None:
            timeout = self.timeout
        elif self.timeout is not None:
            timeout = min(timeout, self.timeout)
        deadline = None if timeout is None else time() + timeout

        with _ServerSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while True:
                if selector.select(timeout):
                    self._handle_request_noblock()
                    return
                if deadline is not None:
                    timeout = deadline - time()
                    if timeout < 0:
                        self.handle_timeout()
                        return

    def _handle_request_noblock(self) -> None:
        """Handles the request that is there."""
        try:
            request, client_address = self.get_request()
        except OSError as error:
            self.__pauses = error.errno in _PAUSE_ERRORS
            return
        if self.verify_request(request, client_address):
            try:
                self.process_request(request, client_address)
            except Exception:
                self.handle_error(request, client_address)
                self.shutdown_request(request)
            except:
                self.shutdown_request(request)
                raise
        else:
            self.shutdown_request(request)

    def handle_timeout(self) -> None:
        """Called by `handle_request` when nothing came within `timeout`."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether to go on with this request."""
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handles the request: here and now, or in a thread or process where a mix-in says so."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)

    def server_close(self) -> None:
        """Called to clean up the server."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handles the request by making an instance of `RequestHandlerClass`."""
        self.RequestHandlerClass(request, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """Called to end and close a request."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Called to clean up after a request."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called when a request has failed. Prints the traceback to the standard error output."""
        print("-" * 40, file=sys.stderr)
        print("Exception occurred during processing of request from", client_address, file=sys.stderr)
        import traceback

        traceback.print_exc()
        print("-" * 40, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.server_close()


class TCPServer(BaseServer):
    """A server of connections, by TCP unless `address_family` says otherwise. One request at a time."""

    address_family: int = socket.AF_INET
    socket_type: int = socket.SOCK_STREAM

    request_queue_size = 5
    """How many connections may wait to be accepted (listen(2)). For streams only."""
    allow_reuse_address = False
    """Whether to take an address that a server has just left (SO_REUSEADDR)."""
    allow_reuse_port = False
    """Whether to share the port with other sockets (SO_REUSEPORT)."""
    request_timeout: float | None = None
    """How many seconds one operation on a connection may take: a time-out on the socket that the handler
    gets.

    None (the default, as in the standard library) for ever. For streams only.
    """

    def __init__(
        self, server_address: Any, RequestHandlerClass: Callable[..., Any], bind_and_activate: bool = True
    ) -> None:
        """May be extended, not overridden. Without `bind_and_activate` the caller does both."""
        BaseServer.__init__(self, server_address, RequestHandlerClass)
        self.socket = socket.socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Called by the constructor to bind the socket."""
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Unix sockets have no ports (Linux from 6.12 on refuses this for them).
        if (
            self.allow_reuse_port
            and hasattr(socket, "SO_REUSEPORT")
            and self.address_family in (socket.AF_INET, socket.AF_INET6)
        ):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Called by the constructor to listen."""
        self.socket.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Closes the socket."""
        self.socket.close()

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self.socket.fileno()

    def get_request(self) -> tuple[Any, Any]:
        """Accepts a connection."""
        request, client_address = self.socket.accept()
        if self.request_timeout is not None:
            request.settimeout(self.request_timeout)
        return request, client_address

    def shutdown_request(self, request: Any) -> None:
        """Ends what is sent, and closes the connection."""
        # close() alone would leave the end to the last one who holds the socket. The client may have left
        # already.
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Closes the connection."""
        request.close()


class UDPServer(TCPServer):
    """A server of datagrams. A request is the data and the socket to answer with."""

    allow_reuse_address = False
    allow_reuse_port = False
    socket_type = socket.SOCK_DGRAM

    max_packet_size = 8192
    """Longer datagrams are cut, in bytes."""

    def get_request(self) -> tuple[Any, Any]:
        """Receives a datagram."""
        data, client_addr = self.socket.recvfrom(self.max_packet_size)
        return (data, self.socket), client_addr

    def server_activate(self) -> None:
        """Nothing: datagrams need no listen(2)."""

    def shutdown_request(self, request: Any) -> None:
        """Only calls `close_request`."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Nothing: the socket is the server's."""


# For the type checker a mix-in has what a server has; in fact it stands beside it.
if TYPE_CHECKING:
    _MixInBase = BaseServer
else:
    _MixInBase = object


class ForkingMixIn(_MixInBase):
    """Handles each request in a process of its own."""

    timeout: float | None = 300
    active_children: set[int] | None = None
    """The process ids of the children that have not been waited for."""
    max_children = 40
    """How many may run at once. While so many do, no request is accepted."""
    block_on_close = True
    """Whether `server_close` waits for the children."""

    def collect_children(self, *, blocking: bool = False) -> None:
        """Takes note of the children that have ended; with `blocking`, waits for all of them."""
        if self.active_children is None:
            return
        for pid in self.active_children.copy():
            try:
                # 0 for one that still runs, which discard() takes as well
                ended, _ = os.waitpid(pid, 0 if blocking else os.WNOHANG)
                self.active_children.discard(ended)
            except ChildProcessError:
                # somebody else has waited for it
                self.active_children.discard(pid)
            except OSError:
                pass

    def _stdserve_has_room(self, waiting: Waiting) -> bool:
        if self.active_children is None or len(self.active_children) < max(self.max_children, 1):
            return True
        self.collect_children()
        return len(self.active_children) < max(self.max_children, 1)

    def handle_timeout(self) -> None:
        """Takes note of ended children. May be extended, not overridden."""
        self.collect_children()

    def service_actions(self) -> None:
        """Takes note of ended children. May be extended, not overridden."""
        self.collect_children()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Forks a process that handles the request. Waits for a child to end where `max_children` run."""
        if self.active_children is None:
            self.active_children = set()
        if len(self.active_children) >= max(self.max_children, 1):
            self.__wait_for_one()
        pid = os.fork()
        if pid:
            self.active_children.add(pid)
            if isinstance(self._stdserve_waiting, Waiting):
                self._stdserve_waiting.watch_child(pid)
            self.close_request(request)
            return
        # The child: it never returns from here.
        status = 1
        try:
            self.finish_request(request, client_address)
            status = 0
        except Exception:
            self.handle_error(request, client_address)
        finally:
            try:
                self.shutdown_request(request)
            finally:
                os._exit(status)

    # Only where requests are processed without serve_forever, whose loop does not accept one in the first
    # place.
    def __wait_for_one(self) -> None:
        self.collect_children()
        while self.active_children and len(self.active_children) >= max(self.max_children, 1):
            with selectors.PollSelector() as selector:
                for pid in self.active_children:
                    with contextlib.suppress(OSError):
                        selector.register(os.pidfd_open(pid), selectors.EVENT_READ)
                # Without descriptors to wait on it looks again and again.
                selector.select(None if selector.get_map() else _PAUSE_SECONDS)
                for child in list(selector.get_map() or ()):
                    os.close(child if isinstance(child, int) else child.fileno())
            self.collect_children()

    def server_close(self) -> None:
        """Closes the server and, with `block_on_close`, waits for the children."""
        super().server_close()
        self.collect_children(blocking=self.block_on_close)


class _Threads(list[threading.Thread]):
    """The threads to wait for at the end: all but daemons."""

    def append(self, thread: threading.Thread) -> None:
        self.reap()
        if thread.daemon:
            return
        super().append(thread)

    def pop_all(self) -> list[threading.Thread]:
        self[:], result = [], self[:]
        return result

    def join(self) -> None:
        for thread in self.pop_all():
            thread.join()

    def reap(self) -> None:
        self[:] = (thread for thread in self if thread.is_alive())


class _NoThreads:
    """In place of `_Threads` where nothing is waited for."""

    def append(self, thread: threading.Thread) -> None:
        pass

    def join(self) -> None:
        pass


class ThreadingMixIn(_MixInBase):
    """Handles each request in a thread."""

    daemon_threads = False
    """Whether the program may end while threads are busy."""
    block_on_close = True
    """Whether `server_close` waits for the threads (daemons are never waited for)."""
    max_threads: int | None = 512
    """How many may be busy at once. While so many are, no request is accepted. None for no bound."""
    idle_thread_timeout: float = 10.0
    """How long a thread waits for another request before it ends, in seconds."""

    _threads: _Threads | _NoThreads = _NoThreads()
    _stdserve_pool: ThreadPool | None = None

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handles the request, in its thread."""
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Has a thread handle the request. Waits for one where `max_threads` are busy."""
        if self.block_on_close:
            self.__dict__.setdefault("_threads", _Threads())
        pool = self._stdserve_pool
        if pool is None or pool.daemon != self.daemon_threads:
            if pool is not None:
                pool.dismiss()
            pool = ThreadPool(daemon=self.daemon_threads, idle_timeout=self.idle_thread_timeout)
            self._stdserve_pool = pool
        job = partial(self.process_request_thread, request, client_address)
        pool.run(job, self.max_threads, self._threads.append)

    def _stdserve_has_room(self, waiting: Waiting) -> bool:
        pool = self._stdserve_pool
        return pool is None or pool.has_room(self.max_threads, waiting.wake)

    def server_close(self) -> None:
        """Closes the server and, with `block_on_close`, waits for the threads."""
        super().server_close()
        engine, self._stdserve_engine = self._stdserve_engine, None
        if engine is not None and self.block_on_close and not self.daemon_threads:
            engine.join()
        pool, self._stdserve_pool = self._stdserve_pool, None
        if pool is not None:
            pool.dismiss()
        self._threads.join()


class ForkingUDPServer(ForkingMixIn, UDPServer):
    """A server of datagrams, each in a process of its own."""


class ForkingTCPServer(ForkingMixIn, TCPServer):
    """A server of TCP connections, each in a process of its own."""


class ThreadingUDPServer(ThreadingMixIn, UDPServer):
    """A server of datagrams, each in a thread."""


class ThreadingTCPServer(ThreadingMixIn, TCPServer):
    """A server of TCP connections, each in a thread."""


class UnixStreamServer(TCPServer):
    """A server of connections to a Unix socket. One request at a time."""

    address_family = socket.AF_UNIX


class UnixDatagramServer(UDPServer):
    """A server of datagrams to a Unix socket. One request at a time."""

    address_family = socket.AF_UNIX


class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer):
    """A server of connections to a Unix socket, each in a thread."""


class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer):
    """A server of datagrams to a Unix socket, each in a thread."""


class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
    """A server of connections to a Unix socket, each in a process of its own."""


class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
    """A server of datagrams to a Unix socket, each in a process of its own."""


class BaseRequestHandler:
    """Handles one request, in its constructor: calls `setup`, `handle` and `finish`, each of which may be
    overridden.

    `request` is a socket, or the data and the socket where the server is one of datagrams.
    """

    def __init__(self, request: Any, client_address: Any, server: BaseServer) -> None:
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        try:
            self.handle()
        finally:
            self.finish()

    def setup(self) -> None:
        """Called before `handle`."""

    def handle(self) -> None:
        """Does what the request asks for."""

    def finish(self) -> None:
        """Called after `handle`, even if that failed; not if `setup` failed."""


class StreamRequestHandler(BaseRequestHandler):
    """Handles a connection through files: `rfile` to read from, `wfile` to write to."""

    rbufsize = -1
    """Buffer of `rfile` in bytes; -1 for the default, 0 for none."""
    wbufsize = 0
    """Buffer of `wfile` in bytes; 0 for none: each write is sent whole, at once."""
    timeout: float | None = None
    """Time-out of the socket in seconds; None for none."""
    disable_nagle_algorithm = False
    """Whether small packets are sent without delay (TCP_NODELAY). For a `wbufsize` other than 0."""

    def setup(self) -> None:
        """Makes `connection`, `rfile` and `wfile`."""
        self.connection = self.request
        if self.timeout is not None:
            self.connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        if self.wbufsize == 0:
            self.wfile = _SocketWriter(self.connection)
        else:
            self.wfile = self.connection.makefile("wb", self.wbufsize)

    def finish(self) -> None:
        """Sends what is left in `wfile`, and closes both files."""
        if not self.wfile.closed:
            # The client may have left.
            with contextlib.suppress(OSError):
                self.wfile.flush()
        self.wfile.close()
        self.rfile.close()


class _SocketWriter(BufferedIOBase):
    """A file that sends each write whole, at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def writable(self) -> bool:
        return True

    def write(self, b: Buffer) -> int:
        self._sock.sendall(b)
        with memoryview(b) as view:
            return view.nbytes

    def fileno(self) -> int:
        return self._sock.fileno()


class DatagramRequestHandler(BaseRequestHandler):
    """Handles a datagram through files: `rfile` holds it, what is written to `wfile` is sent back as one."""

    def setup(self) -> None:
        """Makes `packet`, `socket`, `rfile` and `wfile`."""
        self.packet, self.socket = self.request
        self.rfile = BytesIO(self.packet)
        self.wfile = BytesIO()

    def finish(self) -> None:
        """Sends the answer."""
        self.socket.sendto(self.wfile.getvalue(), self.client_address)


# The classes are known under the name of the module that they stand in for: in the names of loggers, in
# messages, and to who looks for what a module defines.
for _name in __all__:
    globals()[_name].__module__ = "socketserver"
del _name
