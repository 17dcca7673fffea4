"""The functions of a configuration file in Python, and what they are given.

The template loads the file; its workers inherit all of this by being forked. Nothing here runs in the
supervisor. docs/hooks.md says when each function is called, and which attributes the objects have.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tomllib
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from . import _conf

__all__ = ["Config", "Log", "Request", "Response", "Server", "Worker"]

Write = Callable[[int, str], None]


class Log:
    """The error log, as gunicorn's logger has it. Messages are formatted as those of `logging`."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def log(self, level: int | str, message: object, *args: object, **options: Any) -> None:
        """Write a message; `exc_info` as for `logging`."""
        number = level if isinstance(level, int) else logging.getLevelName(level.upper())
        exc_info = options.get("exc_info")
        if exc_info is True:
            exc_info = sys.exc_info()
        elif isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        record = logging.LogRecord("stdserve", int(number), "", 0, message, args, exc_info or None)
        self._write(int(number), logging.Formatter().format(record))

    def debug(self, message: object, *args: object, **options: Any) -> None:
        """What may help to find an error."""
        self.log(logging.DEBUG, message, *args, **options)

    def info(self, message: object, *args: object, **options: Any) -> None:
        """What an operator wants to know."""
        self.log(logging.INFO, message, *args, **options)

    def warning(self, message: object, *args: object, **options: Any) -> None:
        """What may need a look."""
        self.log(logging.WARNING, message, *args, **options)

    warn = warning

    def error(self, message: object, *args: object, **options: Any) -> None:
        """What failed."""
        self.log(logging.ERROR, message, *args, **options)

    def critical(self, message: object, *args: object, **options: Any) -> None:
        """What ends the server."""
        self.log(logging.CRITICAL, message, *args, **options)

    def exception(self, message: object, *args: object, **options: Any) -> None:
        """What failed, with the exception that is being handled."""
        self.log(logging.ERROR, message, *args, **{"exc_info": True, **options})


class Config:
    """The settings under gunicorn's names: as they count, or else as the file gives them."""

    is_ssl = False
    worker_class_str = "gthread"

    def __init__(self, values: dict[str, Any], given: dict[str, Any]) -> None:
        self._values = values
        self._given = given

    def __getattr__(self, name: str) -> Any:
        for values in (self.__dict__.get("_values", {}), self.__dict__.get("_given", {})):
            if name in values and not name.startswith("__"):
                return values[name]
        raise AttributeError(f"stdserve has no setting {name}")

    @property
    def env(self) -> dict[str, str]:
        """The variables that were set, as a dict."""
        return dict(pair.split("=", 1) for pair in self._values.get("raw_env", ()))


class Server:
    """What stands for gunicorn's arbiter."""

    def __init__(self, log: Log, cfg: Config, pid: int, workers: int, addresses: list[str]) -> None:
        self.log = log
        self.cfg = cfg
        #: The supervisor's process.
        self.pid = pid
        self.num_workers = workers
        #: Where it listens, as links.
        self.address = addresses
        self.proc_name = "stdserve"
        #: How many workers have been forked.
        self.worker_age = 0
        #: The workers that live, by their processes; in the template.
        self.WORKERS: dict[int, Worker] = {}
        self.timeout = getattr(cfg, "timeout", 0)

    def __repr__(self) -> str:
        return f"<stdserve server {self.pid}>"


class App:
    """The application, where gunicorn has it."""

    callable: Any = None

    def wsgi(self) -> Any:
        """The application itself."""
        return self.callable


class Worker:
    """A worker."""

    def __init__(self, server: Server) -> None:
        self.age = server.worker_age
        #: Its process, as soon as it has one.
        self.pid: int | str = "[booting]"
        self.ppid = server.pid
        self.log = server.log
        self.cfg = server.cfg
        self.timeout = server.timeout
        #: How many requests it has begun, where the file has functions for requests.
        self.nr = 0
        self.alive = True
        self.booted = False
        self.aborted = False
        self.app = App()

    @property
    def wsgi(self) -> Any:
        """The application, once it is loaded."""
        return self.app.callable

    def __repr__(self) -> str:
        return f"<stdserve worker {self.pid}>"


class Request:
    """A request, as gunicorn's workers have it. The body is the application's."""

    __slots__ = (
        "__dict__",
        "fragment",
        "headers",
        "method",
        "path",
        "peer_addr",
        "query",
        "remote_addr",
        "scheme",
        "trailers",
        "uri",
        "version",
    )

    def __init__(
        self,
        method: str,
        uri: str,
        version: tuple[int, int],
        headers: list[tuple[str, str]],
        scheme: str,
        peer: Any,
    ) -> None:
        self.method = method
        self.uri = uri
        self.version = version
        #: Names in capitals, as gunicorn has them.
        self.headers = headers
        self.trailers: list[tuple[str, str]] = []
        self.scheme = scheme
        self.peer_addr = self.remote_addr = peer
        try:
            parts = urlsplit(uri if not uri.startswith("//") else "//x" + uri)
        except ValueError:
            parts = urlsplit("")
        self.path, self.query, self.fragment = parts.path or uri, parts.query, parts.fragment


class Response:
    """An answer that has been given."""

    def __init__(self, status: int, sent: int) -> None:
        self.status_code = status
        try:
            self.status = f"{status} {HTTPStatus(status).phrase}"
        except ValueError:
            self.status = str(status)
        #: Bytes of the body that were sent.
        self.sent = sent
        self.headers_sent = True


class State:
    """What this process has of the file."""

    def __init__(self, functions: dict[str, Callable[..., Any]], server: Server) -> None:
        self.functions = functions
        self.server = server
        #: The worker that is about to be forked; in a worker it is this one.
        self.worker = Worker(server)


_state: State | None = None


def load(path: str, settings: str, pid: int, workers: int, addresses: list[str], write: Write) -> None:
    """Run the file. `settings` is a TOML document of what counts."""
    global _state
    namespace = _conf.run(path)
    functions = {name: namespace[name] for name in _conf.ARITIES if callable(namespace.get(name))}
    values = {**tomllib.loads(settings), "workers": workers, "address": addresses, "config": path}
    given = {name: value for name, value in namespace.items() if not name.startswith("_")}
    server = Server(Log(write), Config(values, given), pid, workers, addresses)
    _state = State(functions, server)


def log_to(write: Write) -> None:
    """Messages go there from now on."""
    if _state is not None:
        _state.server.log._write = write


def has(name: str) -> bool:
    """Whether the file has this function."""
    return _state is not None and name in _state.functions


def _call(name: str, *args: object) -> None:
    if _state is not None and name in _state.functions:
        _state.functions[name](*args)


def server_hook(name: str) -> None:
    """Call a function that is about the server."""
    if _state is not None:
        _call(name, _state.server)


def workers_changed(now: int, before: int | None) -> None:
    """The server is to have another number of workers."""
    if _state is not None:
        _state.server.num_workers = now
        _call("nworkers_changed", _state.server, now, before)


def forking() -> None:
    """In the template: a worker is about to be forked."""
    if _state is not None:
        _state.server.worker_age += 1
        _state.worker = Worker(_state.server)
        _call("pre_fork", _state.server, _state.worker)


def forked(pid: int) -> None:
    """In the template: it was."""
    if _state is not None:
        _state.worker.pid = pid
        _state.server.WORKERS[pid] = _state.worker


def ended(pid: int) -> None:
    """In the template: a worker has ended."""
    if _state is not None:
        worker = _state.server.WORKERS.pop(pid, None)
        if worker is None:  # one of the template before this one
            worker = Worker(_state.server)
            worker.pid = pid
        worker.alive = False
        _call("child_exit", _state.server, worker)


def born() -> None:
    """In the worker, at its begin."""
    if _state is not None:
        _state.worker.pid = os.getpid()
        _state.server.WORKERS = {}
        _call("post_fork", _state.server, _state.worker)


def loaded(application: object) -> None:
    """In the worker: the application is loaded."""
    if _state is not None:
        _state.worker.booted = True
        _state.worker.app.callable = application
        if has("worker_abort"):
            signal.signal(signal.SIGABRT, _abort)
        _call("post_worker_init", _state.worker)


def _abort(number: int, frame: FrameType | None) -> None:
    aborted()
    raise SystemExit(1)


def worker_hook(name: str) -> None:
    """In the worker: call a function that is about it."""
    if _state is not None:
        _call(name, _state.worker)


def aborted() -> None:
    """In the worker: a request took too long, or SIGABRT came."""
    if _state is not None:
        _state.worker.aborted = True
        _call("worker_abort", _state.worker)


def leaving() -> None:
    """In the worker: it is about to end."""
    if _state is not None:
        _state.worker.alive = False
        _call("worker_exit", _state.server, _state.worker)


def for_requests() -> RequestHooks | None:
    """What is to be called around requests, if anything."""
    return (
        RequestHooks(_state) if _state is not None and (has("pre_request") or has("post_request")) else None
    )


class RequestHooks:
    """Calls the functions that stand around requests."""

    def __init__(self, state: State) -> None:
        self._worker = state.worker
        self._log = state.server.log
        self._before = state.functions.get("pre_request")
        after = state.functions.get("post_request")
        self._after = after
        self._arity = _conf.arity(after, _conf.ARITIES["post_request"]) if after else 0
        #: Whether `after` does anything.
        self.ends = after is not None

    def before(
        self,
        method: str,
        uri: str,
        version: tuple[int, int],
        headers: list[tuple[str, str]],
        scheme: str,
        peer: Any,
    ) -> Request:
        """A request is about to run."""
        self._worker.nr += 1
        request = Request(method, uri, version, headers, scheme, peer)
        if self._before is not None:
            self._before(self._worker, request)
        return request

    def after(self, request: Request, environ: dict[str, Any], status: int, sent: int) -> None:
        """It is over. What this raises is logged, as gunicorn does."""
        if self._after is None:
            return
        try:
            self._after(*(self._worker, request, environ, Response(status, sent))[: self._arity])
        except Exception:
            self._log.exception("Exception in post_request hook")
