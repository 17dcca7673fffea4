"""The real command as a subprocess: start, watch, end."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from . import proc
from .waiting import PATIENCE, until
from .wire import Client, Response

APPS = Path(__file__).resolve().parent.parent / "apps"

#: A line of the log that names where it listens, as a link.
LISTENS = re.compile(r"(?:https?|tcp|udp)://(\[[0-9a-f:]+\]|[0-9.]+|localhost):([0-9]+)[^0-9]")
#: What must never stand in a log.
PANIC = re.compile(r"panicked at|RUST_BACKTRACE|stack overflow|double free|malloc\(\)|Segmentation fault")


def command() -> list[str]:
    """The command: $STDSERVE_TEST_COMMAND, else `stdserve` beside this Python, else `-m stdserve`."""
    chosen = os.environ.get("STDSERVE_TEST_COMMAND")
    if chosen:
        return shlex.split(chosen)
    beside = Path(sys.executable).with_name("stdserve")
    if beside.exists():
        return [str(beside)]
    found = shutil.which("stdserve")
    return [found] if found else [sys.executable, "-m", "stdserve"]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what would configure a server."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STDSERVE_", "PYTEST_")) and name not in ("WEB_CONCURRENCY", "PORT", "GATE")
    }
    kept["PYTHONPATH"] = str(APPS)
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    kept["RUST_BACKTRACE"] = "1"
    kept.update(extra or {})
    return kept


def run_command(
    *arguments: str, cwd: Path = APPS, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command, up to its own end; `env`: what is said beside the clean environment."""
    ended = subprocess.run(
        [*command(), *arguments],
        env=clean_environment(env),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not PANIC.search(ended.stderr), ended.stderr
    return ended


def options(values: Mapping[str, object]) -> list[str]:
    """`keep_alive=5` as `--keep-alive=5`; True as `--x`, False as `--no-x`, a list as a repeated option."""
    found = []
    for name, value in values.items():
        # gunicorn's own spelling has one underscore.
        option = "--" + (
            "limit-request-field_size" if name == "limit_request_field_size" else name.replace("_", "-")
        )
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                found.append(option)
            elif one is False:
                found.append("--no-" + option[2:])
            elif one is not None:
                found.append(f"{option}={one}")
    return found


def address_in(match: re.Match[str]) -> tuple[str, int]:
    """Host and port of a line that names where it listens."""
    return match[1].strip("[]"), int(match[2])


class Log:
    """What a process writes, gathered as it comes."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._ears, self._mouth = os.pipe()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._stream, self._ears], [], [])
            with self._changed:
                self._take()
                if self._ears in ready:
                    self._ended = True
                    self._changed.notify_all()
                if self._ended:
                    for descriptor in (self._stream, self._ears, self._mouth):
                        os.close(descriptor)
                    return

    def _take(self) -> None:
        """Reads what is there, without waiting. With the lock."""
        while not self._ended and select.select([self._stream], [], [], 0)[0]:
            try:
                data = os.read(self._stream, 65536)
            except OSError:  # a terminal whose other side is gone
                data = b""
            self._text += self._decode(data)
            self._ended = not data
            self._changed.notify_all()

    def leave(self) -> None:
        """Close our end: from now on nobody reads what the process writes."""
        os.write(self._mouth, b".")
        self._reader.join()

    @property
    def text(self) -> str:
        """Everything that has been written up to now, whether or not its reader has had its turn."""
        with self._changed:
            self._take()
            return self._text

    def wait(
        self, pattern: str | re.Pattern[str], patience: float = PATIENCE, start: int = 0
    ) -> re.Match[str]:
        """Wait until the text (from `start` on) holds the pattern."""
        wanted = re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else pattern
        end = time.monotonic() + patience
        with self._changed:
            while (match := wanted.search(self._text, start)) is None:
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    why = "the log ended" if self._ended else f"not within {patience:.0f} s"
                    raise AssertionError(f"{why}: {wanted.pattern!r} in the log:\n{self._text}")
                self._changed.wait(left)
            return match

    def wait_end(self, patience: float = PATIENCE) -> str:
        """Wait until nobody can write any more; all of the text."""
        self._reader.join(patience)
        return self.text


class Served:
    """A running server."""

    def __init__(
        self,
        app: str | None,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        wrapper: Sequence[str] = (),
        bind: str | None = "127.0.0.1:0",
        terminal: bool = False,
        limits: Mapping[int, tuple[int, int]] | None = None,
        program: Sequence[str] | None = None,
    ) -> None:
        self.argv = [*wrapper, *(program or command())]
        if bind is not None:
            self.argv += ["--bind", bind]
        self.argv += [*arguments, *([app] if app else [])]
        self._address: tuple[str, int] | None = None

        reading, writing = os.openpty() if terminal else os.pipe()

        def prepare() -> None:
            for what, value in (limits or {}).items():
                resource.setrlimit(what, value)
            if terminal:  # Ctrl-C is for whom the terminal is the controlling one (tty_ioctl(4))
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            self.argv,
            env=clean_environment(env),
            cwd=cwd or APPS,
            stdin=writing if terminal else subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare if limits or terminal else None,
        )
        os.close(writing)
        self.pid = self.process.pid
        self.log = Log(reading)
        self._reading = reading

    def type(self, keys: bytes) -> None:
        """Type on the terminal that it was started on."""
        os.write(self._reading, keys)

    # where it is

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, from the start-up lines; waits for them."""
        if self._address is None:
            self._address = address_in(self.log.wait(LISTENS))
        return self._address

    def wait_address(self, log: Path) -> None:
        """Wait for the start-up lines where they go to a file."""
        found = until(lambda: log.exists() and LISTENS.search(log.read_text()), f"an address in {log}")
        assert found
        self._address = address_in(found)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.address[1]

    @property
    def url(self) -> str:
        """The address as the start of a link."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    # talking to it

    def client(self, **how: int | None) -> Client:
        """A new connection."""
        return Client(self.address, receive_buffer=how.get("receive_buffer"))

    def get(self, target: str = "/", fields: Sequence[tuple[str, str]] = ()) -> Response:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.ask(target, fields=fields)

    def turn(self) -> None:
        """Have a request refused: the loop has then seen what was sent before. Needs no thread."""
        with self.client() as client:
            client.send(b"BROKEN\r\n\r\n")
            assert client.read().status == 400

    def holds(self, client: Client) -> bool:
        """Whether the server still holds its end of that connection."""
        return proc.holds(self.port, client.socket.getsockname()[1])

    # its processes

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """The processes that serve. What one forks has the name too, and a worker as its parent."""
        named = {one.pid: one for one in proc.descendants(self.pid) if one.name == "stdserve:worker"}
        return sorted(one.pid for one in named.values() if one.parent not in named)

    def templates(self) -> list[int]:
        """The processes that fork workers."""
        return sorted(one.pid for one in proc.descendants(self.pid) if one.name == "stdserve:templ")

    def wait_workers(self, count: int) -> list[int]:
        """Wait until exactly so many workers live."""

        def enough() -> list[int]:
            found = self.workers()
            return found if len(found) == count else []

        return until(enough, f"{count} workers")

    def wait_exit(self, patience: float = PATIENCE) -> int:
        """Wait until the supervisor has ended; its exit code."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {patience:.0f} s; log:\n{self.log.text}") from None

    def left_behind(self) -> list[proc.Stat]:
        """Processes of this server's session that live."""
        return [one for one in proc.of_session(self.pid) if one.state not in "ZX"]

    def stop(self) -> int:
        """End it in the orderly way; its exit code."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGTERM)
        return self.wait_exit()

    def clean_up(self) -> None:
        """End it for good, and complain about whatever should not be: a hang, a process left, a panic."""
        complaints = []
        try:
            self.stop()
        except AssertionError:
            complaints.append("did not end within the patience after SIGTERM")
        end = time.monotonic() + PATIENCE
        while (left := self.left_behind()) and time.monotonic() < end and not complaints:
            threading.Event().wait(0.02)
        if left:
            complaints.append(f"left behind: {left}")
            for one in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        text = self.log.wait_end(5.0)
        if PANIC.search(text):
            complaints.append("a panic in the log")
        if complaints:
            raise AssertionError(f"{' '.join(self.argv)}: {'; '.join(complaints)}; log:\n{text}")


def ask(
    server: Served, target: str, method: str = "GET", body: bytes | None = None, **fields: str
) -> Response:
    """One request on a connection of its own; `X_One` is the field X-One."""
    lines = [(name.replace("_", "-"), value) for name, value in fields.items()]
    with server.client() as client:
        return client.ask(target, method, lines, body)


class Serve(Protocol):
    """What the `serve` fixture is."""

    def __call__(
        self,
        app: str | None = "shapes:app",
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        wrapper: Sequence[str] = (),
        bind: str | None = "127.0.0.1:0",
        terminal: bool = False,
        limits: Mapping[int, tuple[int, int]] | None = None,
        program: Sequence[str] | None = None,
        **chosen: object,
    ) -> Served: ...


def starter(started: list[Served], environment: Mapping[str, str]) -> Serve:
    """What starts servers, and puts them into the list. One worker, unless it is said otherwise."""

    def start(
        app: str | None = "shapes:app",
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        wrapper: Sequence[str] = (),
        bind: str | None = "127.0.0.1:0",
        terminal: bool = False,
        limits: Mapping[int, tuple[int, int]] | None = None,
        program: Sequence[str] | None = None,
        **chosen: object,
    ) -> Served:
        chosen.setdefault("workers", 1)
        server = Served(
            app,
            [*options(chosen), *arguments],
            env={**environment, **(env or {})},
            cwd=cwd,
            wrapper=wrapper,
            bind=bind,
            terminal=terminal,
            limits=limits,
            program=program,
        )
        started.append(server)
        return server

    return start
