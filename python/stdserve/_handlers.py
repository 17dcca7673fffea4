"""What handler classes have for a server under `stdserve tcp` and `stdserve udp`.

The engine accepts, waits and receives; each connection or datagram then goes through the steps of
`socketserver` from `process_request` on. Where handlers run in processes of their own, a thread of the
worker forks and waits for each.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from stdserve import socketserver
from stdserve._stdserve import end_with_parent

if TYPE_CHECKING:
    from stdserve._stdserve import Draining


class _Served(socketserver.BaseServer):
    """The server of one listener, as far as a handler sees it."""

    def __init__(
        self,
        handler: Callable[..., Any],
        address: Any,
        family: int,
        timeout: float | None,
        children: threading.Semaphore | None,
        draining: Draining,
    ) -> None:
        # Not that of TCPServer, which would bind: the listener is there.
        socketserver.BaseServer.__init__(self, address, handler)
        self.address_family = family
        self.request_timeout = timeout
        self._children = children
        #: Whether this worker accepts no more, and is to end when no handler runs.
        self.draining = draining

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handles one request: here, or in a process of its own. What a handler raises is for the log."""
        if self._children is not None:
            with self._children:
                self._fork(request, client_address)
            return
        try:
            self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)

    def _fork(self, request: Any, client_address: Any) -> None:
        try:
            child = os.fork()
        except OSError:
            self.shutdown_request(request)
            raise
        if child == 0:
            self._be_child(request, client_address)
        self.close_request(request)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            how = signal.Signals(-code).name
            raise ChildProcessError(f"the handler's process {child} was ended by {how}")

    def _be_child(self, request: Any, client_address: Any) -> NoReturn:
        status = 1
        try:
            end_with_parent()
            # What the worker does on signals is none of this process's business.
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            self.finish_request(request, client_address)
            status = 0
        except Exception:
            self.handle_error(request, client_address)
        finally:
            try:
                self.shutdown_request(request)
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
            finally:
                os._exit(status)

    def serve_forever(self, poll_interval: float = 0.5) -> NoReturn:
        """The engine does this."""
        raise RuntimeError("this server runs already: stdserve has started it")

    def handle_request(self) -> NoReturn:
        """The engine does this."""
        raise RuntimeError("this server runs already: stdserve has started it")

    def shutdown(self) -> None:
        """Ends this worker when it has finished what it does; the supervisor starts another."""
        os.kill(os.getpid(), signal.SIGTERM)

    def server_close(self) -> None:
        """Nothing: the listeners are the supervisor's."""


class StreamServer(_Served, socketserver.TCPServer):
    """Handles the connections of a listener. It has no `socket`: the engine accepts."""

    def serve(self, fd: int, client_address: Any) -> None:
        """Handles the connection whose socket is `fd`, and closes it."""
        try:
            request = socket.socket(self.address_family, socket.SOCK_STREAM, 0, fd)
        except BaseException:
            os.close(fd)
            raise
        if self.request_timeout is not None:
            request.settimeout(self.request_timeout)
        self.process_request(request, client_address)


class DatagramServer(_Served, socketserver.UDPServer):
    """Handles the datagrams of a socket."""

    def attach(self, fd: int) -> None:
        """Takes `fd`, a descriptor of the socket, to answer by."""
        self.socket = socket.socket(self.address_family, socket.SOCK_DGRAM, 0, fd)
        # The engine reads without waiting; an answer waits for room.
        self.socket.settimeout(5.0)

    def serve(self, data: bytes, client_address: Any) -> None:
        """Handles one datagram."""
        self.process_request((data, self.socket), client_address)


def children(most: int) -> threading.Semaphore:
    """The right to fork, for at most so many processes at once."""
    # The child runs nothing but the handler; whoever asked for forks knows what handlers do.
    warnings.filterwarnings(
        "ignore", message=r".*use of fork\(\) may lead to deadlocks", category=DeprecationWarning
    )
    return threading.Semaphore(most)
