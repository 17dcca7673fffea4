"""A production server for Python: the standard library's servers, rebuilt in Rust.

From code there are two ways to serve a WSGI application::

    import stdserve

    stdserve.run(app, bind="0.0.0.0:8000", workers=4)  # the command, with its processes

    with stdserve.Server(app, bind="127.0.0.1:0") as server:  # in this process, for tests and notebooks
        print(server.url)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stdserve._stdserve import Server, __version__

if TYPE_CHECKING:
    from typing import Unpack
    from wsgiref.types import WSGIApplication

    from stdserve._options import RunOptions
    from stdserve.socketserver import BaseServer

__all__ = ["RequestTimeout", "Server", "__version__", "explain", "run"]


class RequestTimeout(BaseException):
    """Raised in the thread of a request that has taken longer than ``--timeout`` allows.

    Its client has been answered 504 by then. No `Exception`, so that code which catches those does not go on;
    `finally` and context managers run as ever. Code that waits in C sees it when it returns.
    """

    def __str__(self) -> str:
        return super().__str__() or "the request took longer than --timeout allows"


def run(app: WSGIApplication | str, /, **options: Unpack[RunOptions]) -> int:
    """Serves `app` as the command ``stdserve`` does, and returns the command's exit code when it has ended.

    `app` is a WSGI application, or its name as the command takes it. The options are those of the command,
    with underscores: see docs/options.md. Only the main thread of a program may call this, before it starts
    other threads, since it forks.
    """
    import threading

    from stdserve import _stdserve

    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("stdserve.run() forks, so only the main thread may call it; see stdserve.Server")
    if threading.active_count() > 1:
        others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        raise RuntimeError(
            "stdserve.run() forks, so it must be called before other threads are started; "
            f"there are: {', '.join(others)}"
        )
    return _stdserve.run(app, dict(options))


def explain(server: BaseServer, /) -> str:
    """Says which path the requests of a server of the drop-in modules take, and why: docs/drop-in.md."""
    from stdserve import _paths

    return _paths.explain(server)
