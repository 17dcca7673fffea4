"""What applications do to the interpreter: fork, leave, close what is not theirs, start threads and loops."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import greenlet

import gate

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
TEXT = [("Content-Type", "text/plain")]
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")
LOCAL = threading.local()
KEPT: dict[str, Any] = {}


def on_signal(number: int, frame: object) -> None:
    """Tells the test in which thread the handler runs."""
    main = threading.current_thread() is threading.main_thread()
    gate.tell(f"handler {signal.Signals(number).name} {'main' if main else 'not main'}")


signal.signal(signal.SIGUSR1, on_signal)
signal.signal(signal.SIGTERM, on_signal)


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Finds the function named by the path."""
    shape: Callable[[Environ, Start], Iterable[bytes]] = globals()[environ["PATH_INFO"].strip("/")]
    return shape(environ, start_response)


def whole(start_response: Start, body: bytes) -> list[bytes]:
    """A complete response."""
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The quick one."""
    return whole(start_response, b"hello")


def pid(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Which worker."""
    return whole(start_response, str(os.getpid()).encode())


def fork_and_return(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Both the parent and the child return a response; only the parent's may be seen."""
    child = os.fork()
    if child == 0:
        return whole(start_response, b"from the child")
    _, status = os.waitpid(child, 0)
    return whole(start_response, f"child ended with {os.waitstatus_to_exitcode(status)}".encode())


def fork_and_raise(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The child fails out of the application."""
    child = os.fork()
    if child == 0:
        raise RuntimeError("in the child, as asked")
    os.waitpid(child, 0)
    return whole(start_response, b"parent")


def fork_and_stay(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The child lives on for a while; it must hold none of the server's sockets."""
    child = os.fork()
    if child == 0:
        gate.arrive("child")
        os._exit(0)
    KEPT["child"] = child
    return whole(start_response, str(child).encode())


def reap(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Waits for the child of fork_and_stay."""
    return whole(start_response, str(os.waitpid(KEPT["child"], 0)[1]).encode())


def exit_in_call(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Leaves before the response has started."""
    sys.exit(3)


def interrupt_in_call(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Raises what Ctrl-C raises."""
    raise KeyboardInterrupt


def generator_exit_in_call(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Raises what closes generators."""
    raise GeneratorExit


def exit_in_generator(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Leaves when the response is under way."""
    start_response("200 OK", TEXT)
    yield b"first"
    sys.exit(3)


def exit_in_close(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Leaves in close()."""

    class Body(list[bytes]):
        def close(self) -> None:
            sys.exit(3)

    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    return Body([b"body"])


def close_input(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Closes wsgi.input, where it can be closed, and reads on."""
    stream = environ["wsgi.input"]
    if hasattr(stream, "close"):
        stream.close()
    with contextlib.suppress(ValueError):
        stream.read()
    return whole(start_response, b"closed")


def keep_input(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Keeps the input of this request and reads that of the one before."""
    old = KEPT.get("input")
    KEPT["input"] = environ["wsgi.input"]
    try:
        seen = old.read() if old is not None else b""
    except (ValueError, OSError):
        seen = b""
    return whole(start_response, b"seen " + seen)


def greenlet_write(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """start_response in one greenlet, write() in others: each has its own C stack."""
    write = greenlet.greenlet(lambda: start_response("200 OK", TEXT)).switch()
    for number in range(100):
        greenlet.greenlet(write).switch(f"{number} ".encode())
    return greenlet.greenlet(lambda: [b"end"]).switch()  # type: ignore[no-any-return]


def late_start(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Hands start_response to a thread that calls it when the exchange has long ended."""

    def late(before: object = None) -> None:
        gate.arrive("late")
        try:
            write = start_response("500 Late", [("X-Late", "1")])
            write(b"late words")
        except Exception as error:
            gate.tell("refused " + type(error).__name__)
        else:
            gate.tell("swallowed")

    threading.Thread(target=late, daemon=True).start()
    return whole(start_response, b"in time")


def late_write(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Hands write() to a thread that calls it when the exchange has long ended."""
    write = start_response("200 OK", TEXT)

    def late() -> None:
        gate.arrive("late")
        try:
            write(b"late words")
        except Exception as error:
            gate.tell("refused " + type(error).__name__)
        else:
            gate.tell("swallowed")

    threading.Thread(target=late, daemon=True).start()
    return [b"in time"]


def start_in_thread(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """start_response from a thread that ends before the application returns."""
    thread = threading.Thread(target=start_response, args=("200 OK", [*TEXT, ("Content-Length", "2")]))
    thread.start()
    thread.join()
    return [b"ok"]


def run_asyncio(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """An event loop of the application's own, with a subprocess and a thread."""

    async def work() -> str:
        program = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
        said, _ = await program.communicate()
        number = await asyncio.to_thread(lambda: 42)
        return f"{said.decode().strip()} {number}"

    return whole(start_response, asyncio.run(work()).encode())


def context(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """A context variable set in the call, read at each step and in close()."""
    before = WHO.get()
    WHO.set(environ["QUERY_STRING"])
    start_response("200 OK", TEXT)
    yield f"{before} ".encode()
    try:
        for _ in range(3):
            yield f"{WHO.get()}@{threading.get_ident()} ".encode()
    finally:
        gate.tell(f"closed {WHO.get()}")


def crew(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Which thread this is, and whether it was here before (a thread local keeps)."""
    count = LOCAL.count = getattr(LOCAL, "count", 0) + 1
    thread = threading.current_thread()
    facts = f"{type(thread).__name__} {thread.daemon} {thread is threading.main_thread()} {count}"
    return whole(start_response, facts.encode())


def deep(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Recursion up to Python's own limit: the stack must be large enough for it."""

    def down(level: int) -> int:
        return down(level + 1)

    try:
        down(0)
    except RecursionError:
        return whole(start_response, b"RecursionError")
    return whole(start_response, b"bottomless")


def subprocess_open(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The descriptors that a program started by the application inherits."""
    import subprocess

    script = "import os; print(*sorted(map(int, os.listdir('/proc/self/fd'))))"
    found = subprocess.run([sys.executable, "-c", script], close_fds=False, capture_output=True, check=True)
    return whole(start_response, found.stdout.strip())
