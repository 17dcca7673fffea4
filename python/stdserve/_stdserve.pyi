"""The native half."""

from collections.abc import Mapping, Sequence
from threading import Lock
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, final, overload
from wsgiref.types import WSGIApplication

from stdserve._options import ServerOptions
from stdserve.selectors import SelectorKey

__version__: str

_T = TypeVar("_T")

def main(argv: Sequence[str], /) -> int:
    """Runs the command with these arguments and returns its exit code."""

def run(app: WSGIApplication | str, options: Mapping[str, object], /) -> int:
    """Runs the command for an application, with options as keywords."""

def end_with_parent() -> None:
    """Has the kernel end this process (SIGKILL) when the thread that forked it has ended."""

def epoll_select(
    epoll: int, keys: dict[int, SelectorKey], timeout: float | None, /
) -> list[tuple[SelectorKey, int]]:
    """Waits on an epoll instance: the keys of what is ready, each with its events."""

class Server:
    """Serves a WSGI application in this process, without a supervisor."""

    def __init__(self, app: WSGIApplication | str, /, **options: Unpack[ServerOptions]) -> None: ...
    @property
    def address(self) -> tuple[str, int] | str:
        """Where it listens: host and port, or the path of a Unix socket. The first of several."""

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """All addresses that it listens on."""

    @property
    def url(self) -> str:
        """The first address as a link."""

    def start(self) -> None:
        """Serves from now on, in threads of its own."""

    def stop(self, timeout: float | None = None) -> None:
        """Lets what runs finish, and ends. What is not done after `timeout` seconds is cut."""

    def turn(self, timeout: float | None = None) -> bool:
        """One turn on the calling thread: waits at most `timeout` seconds. False: the server has ended."""

    def fileno(self) -> int:
        """The descriptor of its loop, for a server that was not started: readable when `turn(0)` has
        something to do.
        """

    def due(self) -> float:
        """In how many seconds it wants its next turn even though its descriptor stays quiet; 1 at most."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

def detach() -> bool:
    """Goes on in a child's child, in a session of its own: true there, false in the process that called.

    Raises RuntimeError where there are other threads, and names them.
    """

@final
class PidFile:
    """The file that says which process this is, locked for as long as it lives."""

    def __init__(self, path: str, /) -> None:
        """Takes it. Raises RuntimeError where a process that lives has it, or where it is no pid file."""

    def remove(self) -> None:
        """Removes it, where it still is this process's."""

def pid_file_holder(path: str, /) -> int | None:
    """The id of the process that has a pid file. Not for a file that this process has."""

def never_free(object: object, /) -> None:
    """Keeps an object for ever."""

@final
class FileWrapper:
    """What `environ["wsgi.file_wrapper"]` is."""

@final
class Draining:
    """Whether the server accepts no more and is to end: `environ["stdserve.draining"]`, and
    `self.server.draining` of handlers.
    """

    def is_set(self) -> bool:
        """Whether it does."""

    def fileno(self) -> int:
        """A descriptor that is readable from then on. Not to be read, nor closed."""

def xmlrpc_loads(
    data: bytes | bytearray | str,
    use_datetime: bool = False,
    use_builtin_types: bool = False,
    *,
    max_bytes: int | None = None,
    max_depth: int | None = None,
    max_elements: int | None = None,
) -> tuple[tuple[Any, ...], str | None]:
    """Parameters and method of an XML-RPC document. A `Fault` is raised."""

@overload
def xmlrpc_dumps(
    params: object,
    methodname: str | None = None,
    methodresponse: bool = False,
    encoding: str | None = None,
    allow_none: bool = False,
    *,
    as_bytes: Literal[False] = False,
) -> str | None: ...
@overload
def xmlrpc_dumps(
    params: object,
    methodname: str | None = None,
    methodresponse: bool = False,
    encoding: str | None = None,
    allow_none: bool = False,
    *,
    as_bytes: Literal[True],
) -> bytes | None:
    """An XML-RPC document, or None where there is a value that is not written natively."""

@final
class Unchanged:
    """Tells whether attributes and dicts are what they were when it was made."""

    def __init__(
        self,
        places: tuple[tuple[object, tuple[str, ...]], ...],
        tables: tuple[dict[Any, Any], ...],
    ) -> None:
        """`places`: classes, or dicts of modules, and names. `tables`: dicts that are looked at whole."""

    def __call__(self) -> bool: ...

def gunzip(data: bytes, max_bytes: int, max_ratio: int) -> bytes:
    """Inflates `data`; ValueError where more comes out than allowed."""

def gzip(data: bytes) -> bytes:
    """Compresses `data`, quickly rather than well."""

@final
class DropIn:
    """The engine under `serve_forever` of the drop-in modules."""

    def __init__(self, descriptor: int, kind: str, driver: Any, threads: int, **limits: Any) -> None: ...
    def start(self) -> None:
        """Serves from now on, in threads of its own."""

    def turn(self, timeout: float) -> bool:
        """One turn on the calling thread. False: it has ended. Raises what a handler let through."""

    def drain(self) -> bool:
        """Accepts no more, and lets what runs finish. Whether the server's socket has been let go of."""

    def stop(self) -> None:
        """Ends at once: connections are cut."""

    def wake(self) -> None:
        """Makes the present `turn` return, or the next one."""

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it has ended, at most `timeout` seconds. False: it has not."""

@final
class ResponseWriter:
    """What a handler of `http.server` writes its response to."""

@final
class LineSearch:
    """A search through files for lines, by native threads that begin when it is made. Nothing here waits."""

    def __init__(
        self, names: list[bytes], needle: bytes, threads: int, max_line: int, ordered: bool, /
    ) -> None: ...
    @property
    def ended(self) -> bool:
        """Whether `take()` has given everything."""

    def take(self) -> tuple[int, list[bytes], tuple[str, int, str] | None] | None:
        """Number of a file, lines of it, and what went wrong behind them. None: nothing is there."""

    def fileno(self) -> int:
        """Readable when something is there for a `take()` that has returned None, and when it has ended."""

    def close(self) -> bool:
        """Has the threads end soon. True: they have. False: `fileno()` becomes readable when they have."""

class Queue(Generic[_T]):
    """What a `PollableQueue` does without waiting."""

    maxsize: int
    """How many items it has room for; without bound where it is not positive."""
    @property
    def unfinished_tasks(self) -> int:
        """For how many items that were put `task_done()` was not called yet."""

    @property
    def is_shutdown(self) -> bool:
        """Whether `shutdown()` was called."""

    def qsize(self) -> int:
        """How many items there are."""

    def empty(self) -> bool:
        """Whether there are no items."""

    def full(self) -> bool:
        """Whether there is no room."""

    def put_nowait(self, item: _T) -> None:
        """Puts an item. Raises `queue.Full` where there is no room, and `ShutDown`."""

    def get_nowait(self) -> _T:
        """Takes the oldest item. Raises `queue.Empty`, or `ShutDown` where there will be none any more."""

    def task_done(self) -> None:
        """Tells that an item was dealt with. ValueError: more often than items were put."""

    def fileno(self) -> int:
        """A descriptor, readable exactly while there are items or it is shut down. OSError: there is none."""

    def _offer(self, item: _T, waiter: Lock | None = None, /) -> bool: ...
    def _take(self, default: _T, waiter: Lock | None = None, /) -> _T: ...
    def _done(self, waiter: Lock | None = None, /) -> bool: ...
    def _leave(self, waiter: Lock, /) -> None: ...
    def _shutdown(self, immediate: bool) -> list[_T]: ...

def queues_after_fork() -> None:
    """Makes the queues of a forked child its own."""

def share_exchange_memory() -> None:
    """Makes the memory of exchanges, shared with the processes forked from now on, if there is none yet."""

@final
class Channel:
    """A name's messages: to all processes that share the memory, or within this one."""

    def __new__(cls, name: str, *, private: bool = False) -> Self:
        """`private`: memory of this process alone, anew in a forked child. TimeoutError: as of `send`."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def max_message(self) -> int:
        """The longest message, in bytes."""

    def send(self, payload: bytes, /) -> None:
        """Sends to all readers, and never waits for them. ValueError: it is longer than `max_message`.

        TimeoutError: another process is in the middle of a send, and has been there for 2 ms.
        """

    def note_missed(self, count: int, exact: bool, /) -> None:
        """Tells the readers of a gap in the source, in its place. Private channels only."""

    def reader(self, past: bool = False, /) -> Reader:
        """Reads what is sent from now on; with `past` also what the memory has of the name."""

@final
class Reader:
    """One reader's place among the messages of a name."""

    def take(self, most: int = 64, /) -> list[bytes | tuple[int, bool]]:
        """Takes what is there, in order; never waits. A tuple `(count, exact)`: messages were missed."""

    def fileno(self) -> int:
        """A descriptor that is readable while `take()` has something."""

    def close(self) -> None:
        """Wakes who waits on the descriptor. `take()` raises ValueError from now on."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

@final
class Interests:
    """What tasks wait for: descriptors, each told once until it is asked for again, a bell and a timer."""

    def __init__(self) -> None: ...
    def fileno(self) -> int:
        """The epoll instance's descriptor. ValueError: it is closed."""

    def add(self, fd: int, events: int, token: int, /) -> int:
        """Tells once of any of `events` on `fd`, under `token`, not 0. The number of the error, or 0."""

    def change(self, fd: int, events: int, token: int, /) -> int:
        """The same for a descriptor that is known already. The number of the error, or 0."""

    def ring(self) -> None:
        """Ends the wait that is under way, or the next one."""

    def ring_after(self, seconds: float | None, /) -> None:
        """Rings when so many seconds have passed, in place of what was set before; never: None."""

    def close(self) -> None:
        """Gives the descriptors back."""
