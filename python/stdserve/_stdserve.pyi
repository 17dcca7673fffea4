"""The native half."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, Unpack, final
from wsgiref.types import WSGIApplication

from stdserve._options import ServerOptions
from stdserve.selectors import SelectorKey

__version__: str

def main(argv: Sequence[str], /) -> int:
    """Runs the command with these arguments and returns its exit code."""

def run(app: WSGIApplication | str, options: Mapping[str, object], /) -> int:
    """Runs the command for an application, with options as keywords."""

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

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class FileWrapper:
    """What `environ["wsgi.file_wrapper"]` is."""
