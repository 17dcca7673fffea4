"""The process itself: a daemon (Python Cookbook, 12.14), and what it may use (13.14)."""

from __future__ import annotations

import atexit
import contextlib
import io
import math
import os
import resource
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn, Self, TypeVar, overload

from stdserve._stdserve import PidFile, detach, pid_file_holder

__all__ = ["Limit", "daemon_pid", "daemonize", "limit_memory", "set_max_runtime"]

T = TypeVar("T")
StrPath = str | os.PathLike[str]

#: How long the text is that says why a daemon has failed.
_LENGTH = struct.Struct("=I")

#: Device and inode of the pid file of this process, by the id of the process.
_own_file: dict[int, tuple[int, int]] = {}


@overload
def daemonize(
    pidfile: StrPath | None = None,
    *,
    stdin: StrPath = os.devnull,
    stdout: StrPath = os.devnull,
    stderr: StrPath = os.devnull,
    workdir: StrPath = "/",
    umask: int = 0o022,
    setup: None = None,
) -> None: ...
@overload
def daemonize(
    pidfile: StrPath | None = None,
    *,
    stdin: StrPath = os.devnull,
    stdout: StrPath = os.devnull,
    stderr: StrPath = os.devnull,
    workdir: StrPath = "/",
    umask: int = 0o022,
    setup: Callable[[], T],
) -> T: ...
def daemonize(
    pidfile: StrPath | None = None,
    *,
    stdin: StrPath = os.devnull,
    stdout: StrPath = os.devnull,
    stderr: StrPath = os.devnull,
    workdir: StrPath = "/",
    umask: int = 0o022,
    setup: Callable[[], T] | None = None,
) -> T | None:
    """Goes on as a daemon (daemon(7)), in another process; returns there, with what `setup` returns.

    The daemon is a child's child in a session of its own, so that it can never get a terminal, with no signal
    blocked. `workdir` and `umask` are its folder and its umask. (daemon(7) has 0 for the latter; but files
    that Python opens would be writable by all then.) `stdin`, `stdout` and `stderr` are opened in the place
    of its streams, the latter two to append; text is written line by line. Other descriptors stay open.

    `pidfile` holds its number and a lock for as long as it lives, so that one that was left behind does no
    harm, and is removed at its exit. The daemon must not open it: the lock would be lost. SIGTERM raises
    SystemExit, unless the program has said otherwise.

    `setup` is called in the daemon when all this is done. The process that called exits with code 0 when the
    daemon has got so far, without running exit handlers or `finally`: these are the daemon's now. Before and
    otherwise it gets a RuntimeError, which says what is wrong: with the pid of the daemon that has the pid
    file already, with the names of other threads that run, or with what was raised in the daemon.
    """
    _refuse_threads()
    paths = [os.path.abspath(path) for path in (stdin, stdout, stderr)]
    place = os.path.abspath(pidfile) if pidfile is not None else None
    holder = daemon_pid(place) if place is not None else None
    if holder is not None:
        raise RuntimeError(f"{pidfile} is held by process {holder}, which runs")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # Whoever was started without streams must not have other files in their places.
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(opened, True)
    os.close(opened)
    reader, writer = os.pipe()
    try:
        is_daemon = detach()
    except BaseException:
        os.close(reader)
        os.close(writer)
        raise
    if not is_daemon:
        os.close(writer)
        _leave_when_up(reader)
    os.close(reader)
    file, streams = None, False
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(umask)
        if place is not None:
            file = _take_pid_file(place)
        _replace_streams(paths)
        streams = True
        os.chdir(workdir)
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)
        result = setup() if setup is not None else None
    except BaseException as error:
        _give_up(writer, error, file, streams)
    _tell(writer, b"+")
    return result


def daemon_pid(pidfile: StrPath) -> int | None:
    """The id of the process that holds this pid file; None: none does, or there is no such file.

    Goes by the lock on the file, so that a number that was left behind there counts for nothing. Raises
    RuntimeError where it holds something other than a number, and OSError where it cannot be read.
    """
    try:
        found = os.stat(pidfile)
    except FileNotFoundError:
        return None
    if _own_file.get(os.getpid()) == (found.st_dev, found.st_ino):
        # To open it would lose the lock.
        return os.getpid()
    return pid_file_holder(os.fspath(pidfile))


def _refuse_threads() -> None:
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    others = []
    for task in map(int, os.listdir("/proc/self/task")):
        if task != threading.get_native_id():
            # Of one that has ended meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/self/task/{task}/comm") as comm:
                    others.append(repr(names.get(task, comm.read().strip())))
    if others:
        raise RuntimeError(f"cannot go on as a daemon while other threads run: {', '.join(others)}")


def _leave_when_up(reader: int) -> NoReturn:
    """In the process that called."""
    with open(reader, "rb") as pipe:
        # Not to its end: children of the daemon may hold the other one.
        verdict = pipe.read(1)
        if verdict == b"+":
            os._exit(0)
        length = pipe.read(_LENGTH.size) if verdict else b""
        why = pipe.read(*_LENGTH.unpack(length)).decode(errors="replace") if length else ""
    raise RuntimeError(why or "the daemon was ended before it was up")


def _take_pid_file(place: str) -> PidFile:
    file = PidFile(place)
    found = os.stat(place)
    _own_file[os.getpid()] = found.st_dev, found.st_ino
    atexit.register(file.remove)
    return file


def _replace_streams(paths: list[str]) -> None:
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path in enumerate(paths):
        opened = os.open(path, appending if number else os.O_RDONLY, 0o666)
        os.dup2(opened, number)
        os.close(opened)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _give_up(writer: int, error: BaseException, file: PidFile | None, streams: bool) -> NoReturn:
    """In a daemon that has failed. What called it is nobody's here."""
    try:
        text = str(error) if type(error) in (RuntimeError, SystemExit) else f"{type(error).__name__}: {error}"
        if file is not None:
            file.remove()
        told = f"the daemon has failed: {text}".encode(errors="replace")
        _tell(writer, b"-" + _LENGTH.pack(len(told)) + told)
        if streams:
            traceback.print_exception(error)
    finally:
        os._exit(1)


def _tell(writer: int, text: bytes) -> None:
    # Who has left has nothing to wait for.
    with contextlib.suppress(BrokenPipeError):
        with open(writer, "wb") as pipe:
            pipe.write(text)


class Limit:
    """A limit of this process, which holds from the call on; as a block, until its end."""

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo = undo

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo()


def set_max_runtime(seconds: float) -> Limit:
    """Ends the program when it has used so many seconds of processor time from now on, with a message.

    The kernel looks at whole seconds of all threads together (RLIMIT_CPU, getrlimit(2)) and sends SIGXCPU,
    again each second; SystemExit is raised in the main thread when that runs Python code next. So what stays
    in C code goes on until the hard limit, which is left as it is. A forked child has the limit, and begins
    to count at 0.

    To be called in the main thread: only there Python can set the handler of a signal (RuntimeError
    otherwise). ValueError: the hard limit is lower. As a block it puts back limit and handler at its end.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("set_max_runtime() must be called in the main thread: it handles a signal")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds must be 0 or more, not {seconds!r}")

    def exceeded(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(f"the time is up: {seconds:g} s of processor time are used")

    def put_back() -> None:
        signal.signal(signal.SIGXCPU, signal.SIG_DFL if handler is None else handler)

    usage = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(usage.ru_utime + usage.ru_stime + seconds)
    # First: the signal can come at once.
    handler = signal.signal(signal.SIGXCPU, exceeded)
    try:
        before = _lower(resource.RLIMIT_CPU, most, "s of processor time")
    except BaseException:
        put_back()
        raise

    def undo() -> None:
        _restore(resource.RLIMIT_CPU, before)
        put_back()

    return Limit(undo)


def limit_memory(maxsize: int) -> Limit:
    """Bounds the address space of this process, in bytes: what asks for more gets a MemoryError.

    That is RLIMIT_AS (getrlimit(2)): all that is mapped counts, also what was never touched, the stacks of
    threads, and shared libraries. The hard limit is left as it is. Forked children have the same limit.

    ValueError: so much is in use already, or the hard limit is lower. As a block it puts back the limit at
    its end.
    """
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    if maxsize < used:
        raise ValueError(f"{maxsize} bytes are less than the {used} that this process has already")
    before = _lower(resource.RLIMIT_AS, maxsize, "bytes of memory")
    return Limit(lambda: _restore(resource.RLIMIT_AS, before))


def _lower(limit: int, soft: int, what: str) -> int:
    """Sets the soft limit and returns what it was."""
    before, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY and soft > hard:
        raise ValueError(f"the hard limit is {hard} {what}, which is less than {soft}")
    resource.setrlimit(limit, (soft, hard))
    return before


def _restore(limit: int, soft: int) -> None:
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
