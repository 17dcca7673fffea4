"""`daemonize`, `set_max_runtime` and `limit_memory`, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from stdserve.concurrent import daemon_pid

from support import proc
from support.waiting import PATIENCE, until

START = """
import atexit, os, signal, sys, threading, time
from stdserve.concurrent import daemon_pid, daemonize, limit_memory, set_max_runtime
"""


def run(text: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A program, to its end."""
    return subprocess.run(
        [sys.executable, "-c", START + textwrap.dedent(text), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )


class Daemon:
    """A daemon with its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid_file, self.log = folder / "pid", folder / "log"

    def start(
        self, before: str = "", after: str = "signal.pause()", options: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs `before`, goes on as a daemon, and there runs `after`."""
        text = f"daemonize('pid', stdout='log', stderr='log'{options})"
        text = "\n".join((textwrap.dedent(before), text, textwrap.dedent(after)))
        return run(text, cwd=self.folder)

    @property
    def pid(self) -> int:
        """Its number; a failure where it does not run."""
        found = daemon_pid(self.pid_file)
        assert found is not None
        return found

    def end(self, number: int = signal.SIGTERM) -> None:
        """Sends it a signal and waits until it has ended."""
        pid = self.pid
        handle = os.pidfd_open(pid)
        signal.pidfd_send_signal(handle, number)
        until(lambda: not proc.alive(pid), "it has ended")
        os.close(handle)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Ended with the test."""
    one = Daemon(tmp_path)
    yield one
    with contextlib.suppress(AssertionError, RuntimeError):
        one.end(signal.SIGKILL)


def test_a_daemon_has_left_whoever_started_it(daemon: Daemon) -> None:
    """Session, folder, umask, streams, signals that were blocked; and it is up when the starter has ended."""
    started = daemon.start(
        before="""
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            os.umask(0o077)
            sys.stdout.write("of the starter\\n")
        """,
        after="""
            print("of the daemon")
            print("its trouble", file=sys.stderr)
            signal.pause()
        """,
    )
    assert (started.returncode, started.stdout, started.stderr) == (0, "of the starter\n", "")
    pid = daemon.pid
    assert daemon.pid_file.read_text() == f"{pid}\n"
    one = proc.stat(pid)
    assert one is not None
    assert one.session not in (os.getsid(0), pid)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
    assert links == ["/dev/null", str(daemon.log), str(daemon.log)]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Umask:\t0022" in status
    assert "SigBlk:\t0000000000000000" in status
    until(lambda: daemon.log.read_text() == "of the daemon\nits trouble\n", "both lines, as they are written")
    daemon.end()
    assert not daemon.pid_file.exists()
    assert daemon_pid(daemon.pid_file) is None


def test_a_daemon_can_be_started_without_streams(daemon: Daemon) -> None:
    """Their numbers are not taken by its own files: the lock of its pid file would go with them."""
    text = f"{START}daemonize('pid', stdout='log')\nos.write(1, b'here')\nsignal.pause()"
    program = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, text]
    assert subprocess.run(program, cwd=daemon.folder, timeout=4 * PATIENCE, check=False).returncode == 0
    until(lambda: daemon.log.read_text() == "here", "what it writes")
    assert daemon.pid
    daemon.end()


def test_exit_handlers_and_finally_run_once_and_in_the_daemon(daemon: Daemon) -> None:
    """Those of before, too: what they clean up is the daemon's by then. SIGTERM is an orderly end."""
    started = daemon.start(
        before="atexit.register(lambda: print('exit', daemon_pid('/no/such/file')))",
        after="""
            try:
                print("up")
                signal.pause()
            finally:
                print("finally")
        """,
    )
    assert (started.returncode, started.stdout) == (0, "")
    until(lambda: daemon.log.read_text() == "up\n", "it is in the block")
    daemon.end()
    assert daemon.log.read_text() == "up\nfinally\nexit None\n"


def test_a_second_daemon_is_refused_and_the_first_keeps_its_file(daemon: Daemon) -> None:
    """Also where the first asks for itself, or goes on as a daemon once more."""
    daemon.start(
        before="""
            def again(*_):
                try:
                    daemonize("%s")
                except RuntimeError as error:
                    print(error, daemon_pid("%s") == os.getpid())
            signal.signal(signal.SIGUSR1, again)
        """
        % ((daemon.pid_file,) * 2),
        after="""
            while True:
                signal.pause()
        """,
    )
    pid = daemon.pid
    second = daemon.start()
    assert second.returncode == 1
    assert second.stderr.endswith(f"RuntimeError: pid is held by process {pid}, which runs\n")
    os.kill(pid, signal.SIGUSR1)
    text = f"{daemon.pid_file} is held by process {pid}, which runs True\n"
    until(lambda: daemon.log.read_text() == text, "what it says")
    assert daemon.pid == pid


def test_a_file_that_was_left_behind_does_no_harm(daemon: Daemon) -> None:
    """Neither with the number of another process; but what is no pid file is left alone."""
    daemon.start()
    daemon.end(signal.SIGKILL)
    daemon.pid_file.write_text(f"{os.getpid()}\n")
    assert daemon_pid(daemon.pid_file) is None
    assert daemon.start().returncode == 0
    assert daemon.pid != os.getpid()
    daemon.end()
    daemon.pid_file.write_text("precious\n")
    refused = daemon.start()
    assert (refused.returncode, "left alone" in refused.stderr) == (1, True)
    assert daemon.pid_file.read_text() == "precious\n"
    daemon.pid_file.unlink()


def test_other_threads_are_named(daemon: Daemon) -> None:
    """They would not be in the daemon, and locks that they hold would stay taken there."""
    refused = daemon.start(
        before="""
            leave = threading.Event()
            threading.Thread(target=leave.wait, name="mail", daemon=True).start()
        """
    )
    assert refused.returncode == 1
    assert "cannot go on as a daemon while other threads run: 'mail'" in refused.stderr
    assert not daemon.pid_file.exists()


MISSING = "FileNotFoundError: [Errno 2] No such file or directory"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (", workdir='/no/such/folder'", f"{MISSING}: '/no/such/folder'"),
        (", stdin='/no/such/file'", f"{MISSING}: '/no/such/file'"),
        (", setup=lambda: 1 // 0", "ZeroDivisionError: integer division or modulo by zero"),
        (", setup=lambda: sys.exit('not today')", "not today"),
        (", setup=lambda: os.kill(os.getpid(), 9)", "the daemon was ended before it was up"),
    ],
)
def test_the_starter_says_why_the_daemon_failed(daemon: Daemon, options: str, message: str) -> None:
    """And goes on itself; the daemon is gone, with its file, and has run nothing more of the program."""
    text = f"""
        atexit.register(print, "exit")
        try:
            daemonize("pid"{options})
        except RuntimeError as error:
            print(error)
        except BaseException as error:
            print("in the daemon", error)
        """
    failed = run(text, cwd=daemon.folder)
    assert failed.stdout.splitlines()[0].removeprefix("the daemon has failed: ") == message
    assert (failed.stdout.splitlines()[1:], failed.stderr, failed.returncode) == (["exit"], "", 0)
    assert daemon_pid(daemon.pid_file) is None
    assert daemon.pid_file.exists() == ("os.kill" in options)


def test_setup_is_done_before_the_starter_ends(daemon: Daemon) -> None:
    """What it returns is returned; children and threads that it makes do not hold up the starter."""
    done = daemon.start(
        before="""
            def setup():
                child = os.fork()
                if child == 0:
                    signal.pause()
                threading.Thread(target=signal.pause, daemon=True).start()
                open("/dev/stdout", "w").write("up\\n")
                return child
        """,
        after="raise SystemExit",
        options=", setup=setup",
    )
    # The next line is the daemon's.
    assert done.returncode == 0, done.stderr
    assert daemon.log.read_text() == "up\n"
    for one in proc.everyone():
        with contextlib.suppress(OSError):
            if str(daemon.log) in proc.descriptors(one.pid):
                os.kill(one.pid, signal.SIGKILL)


def test_children_of_a_daemon_that_has_failed_do_not_hold_up_the_starter() -> None:
    """They have the other end of the pipe by which it is told why."""
    failed = run(
        """
        def setup():
            child = os.fork()
            if child == 0:
                signal.alarm(600)
                signal.pause()
            raise RuntimeError(child)
        try:
            daemonize(setup=setup)
        except RuntimeError as error:
            print(error)
        """
    )
    child = int(failed.stdout.removeprefix("the daemon has failed: "))
    assert proc.alive(child)
    os.kill(child, signal.SIGKILL)


def test_a_child_of_the_daemon_leaves_its_pid_file(daemon: Daemon) -> None:
    """Its exit handlers are copies."""
    daemon.start(
        after="""
            child = os.fork()
            if child == 0:
                sys.exit()
            os.waitpid(child, 0)
            print("ended")
            signal.pause()
        """
    )
    until(lambda: daemon.log.read_text() == "ended\n", "its child has ended")
    assert daemon.pid_file.read_text() == f"{daemon.pid}\n"


def test_processor_time_that_is_used_up_ends_the_program() -> None:
    """With a message and code 1; `finally` runs."""
    ended = run(
        """
        set_max_runtime(0.2)
        try:
            while True:
                pass
        finally:
            print("finally")
        """
    )
    message = "the time is up: 0.2 s of processor time are used\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "finally\n", message)


def test_limits_hold_for_a_block() -> None:
    """Then they are what they were, and so is the handler of the signal; the hard limits are left alone."""
    done = run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (5000, 9000))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 44, 1 << 45))
        both = lambda: (resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS))
        before = both(), signal.getsignal(signal.SIGXCPU)
        with set_max_runtime(100), limit_memory(1 << 43):
            print(both()[0][0] in range(100, 110), both()[0][1], both()[1] == (1 << 43, 1 << 45))
            with set_max_runtime(50.5):
                print(both()[0][0] in range(51, 60))
            print(both()[0][0] in range(100, 110))
        print((both(), signal.getsignal(signal.SIGXCPU)) == before)
        for limit, wrong in (set_max_runtime, 9001), (limit_memory, 1 << 46), (set_max_runtime, -1):
            try:
                limit(wrong)
            except ValueError as error:
                print(error)
        print((both(), signal.getsignal(signal.SIGXCPU)) == before)
        """
    )
    lines = done.stdout.splitlines()
    assert lines[:4] == ["True 9000 True", "True", "True", "True"], done
    assert lines[4].startswith("the hard limit is 9000 s of processor time")
    assert lines[5].startswith(f"the hard limit is {1 << 45} bytes of memory")
    assert lines[6:] == ["seconds must be 0 or more, not -1", "True"]


def test_a_runtime_beyond_all_numbers_leaves_the_handler_of_the_signal() -> None:
    """Whatever it is that the limit cannot be set for."""
    done = run(
        """
        before = signal.getsignal(signal.SIGXCPU)
        try:
            set_max_runtime(1e30)
        except OverflowError:
            print(signal.getsignal(signal.SIGXCPU) == before)
        """
    )
    assert done.stdout == "True\n", done


def test_a_runtime_is_set_in_the_main_thread() -> None:
    """Signals are handled nowhere else; it says so, and changes nothing."""
    done = run(
        """
        import resource
        def work():
            try:
                set_max_runtime(1)
            except RuntimeError as error:
                print(error, resource.getrlimit(resource.RLIMIT_CPU) == before)
        before = resource.getrlimit(resource.RLIMIT_CPU)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """
    )
    assert done.stdout == "set_max_runtime() must be called in the main thread: it handles a signal True\n"


def test_memory_that_is_not_there_is_a_memory_error() -> None:
    """The program goes on; what is in use already cannot be forbidden."""
    done = run(
        """
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        try:
            limit_memory(1 << 20)
        except ValueError as error:
            print(error)
        with limit_memory(used + (128 << 20)):
            for size in 64 << 20, 256 << 20:
                try:
                    print(len(bytearray(size)))
                except MemoryError:
                    print("refused")
        print(len(bytearray(256 << 20)))
        """
    )
    first, *rest = done.stdout.splitlines()
    assert "bytes are less than the" in first, done
    assert rest == [str(64 << 20), "refused", str(256 << 20)]
