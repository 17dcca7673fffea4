"""The pid file, `--daemon`, and the verbs that find a server again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import proc
from support.background import Background
from support.serving import Serve, clean_environment, command
from support.waiting import until


@pytest.fixture
def background(short_path: Path) -> Iterator[Background]:
    """A server in the background, ended with the test."""
    server = Background(short_path)
    yield server
    server.clean_up()


def test_start_returns_when_the_server_is_ready_and_stop_when_it_has_ended(background: Background) -> None:
    """Nothing is waited for in between: each command says how it went."""
    started = background.start()
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    pid = background.pid
    assert background.get().text == "hello "
    # Nobody's child, in a session that it does not lead, with no stream of whoever started it.
    one = proc.stat(pid)
    assert one is not None
    assert one.session not in (os.getsid(0), pid)
    for number in (0, 1, 2):
        assert os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null"
    status = background.speak("status")
    assert status.returncode == 0
    assert [line.split()[1] for line in status.stdout.splitlines()[1:]] == [
        "supervisor",
        "template",
        "worker",
    ]
    assert str(pid) in status.stdout
    stopped = background.speak("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert not proc.alive(pid)
    assert not background.pid_file.exists()
    assert background.speak("status").returncode == 3
    assert background.speak("stop").stdout == "nothing runs\n"
    assert background.speak("reload").returncode == 7


@pytest.mark.parametrize(
    ("app", "options", "code", "message"),
    [
        ("no_such_module:app", [], 4, "no_such_module"),
        ("json:no_such_name", ["--preload"], 4, "no_such_name"),
        ("shapes:app", ["--no-such-option"], 2, "--no-such-option"),
        ("shapes:app", ["--bind=256.0.0.1:1"], 5, "256.0.0.1"),
        ("shapes:app", ["--access-logfile=/no/such/folder/log"], 2, "/no/such/folder"),
    ],
)
def test_start_says_why_a_server_cannot_be_started(
    background: Background, app: str, options: list[str], code: int, message: str
) -> None:
    """The exit code and the message are those of a server in the foreground."""
    started = background.start(app, *options)
    assert (started.returncode, message in started.stderr) == (code, True), started.stderr
    # It says why before it ends.
    until(lambda: not background.pid_file.exists(), "the file is gone")


def test_a_pid_file_in_use_names_its_holder(background: Background) -> None:
    """A second server with the same file is not started, and the first one does not notice."""
    background.start()
    pid = background.pid
    second = background.start()
    assert second.returncode == 5
    assert f"is held by process {pid}" in second.stderr
    assert "stdserve stop --pid" in second.stderr
    assert background.pid == pid
    assert background.get().status == 200


def test_a_pid_file_that_was_left_behind_is_taken_over(background: Background) -> None:
    """SIGKILL leaves the file; a number in it that is somebody else's now does no harm."""
    background.start()
    first = background.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: not proc.alive(first), "it has ended")
    status = background.speak("status")
    assert (status.returncode, status.stdout) == (1, "nothing runs: the pid file was left behind\n")
    background.pid_file.write_text(f"{os.getpid()}\n")
    assert background.speak("stop").stdout == "nothing runs\n"
    assert background.start().returncode == 0
    assert background.pid not in (first, os.getpid())


def test_a_file_that_is_no_pid_file_is_left_alone(background: Background) -> None:
    """A slip of the keyboard costs nobody a file."""
    background.pid_file.write_text("precious\n")
    for done in (background.start(), background.speak("status"), background.speak("stop")):
        assert done.returncode == 2
        assert "left alone" in done.stderr
    assert background.pid_file.read_text() == "precious\n"
    background.pid_file.unlink()


def test_a_pid_file_in_a_folder_that_is_not_there_is_said_in_a_sentence(short_path: Path) -> None:
    """The path and what is wrong with it were not parted."""
    background = Background(short_path / "absent")
    done = background.start("shapes:app", f"--error-logfile={short_path / 'server.log'}")
    assert done.returncode == 2
    assert f"--pid: {background.pid_file}: No such file or directory" in done.stderr


def test_restart_ends_the_old_server_first(background: Background) -> None:
    """Also where none runs; what is wrong with the new options is said while the old one serves."""
    assert background.start(verb="restart").returncode == 0
    first = background.pid
    wrong = background.start("shapes:app", "--access-logfile=/no/such/folder/log", verb="restart")
    assert wrong.returncode == 2
    assert background.pid == first
    assert proc.alive(first)
    assert background.start(verb="restart").returncode == 0
    assert background.pid != first
    assert not proc.alive(first)
    assert background.get().status == 200


def test_reload_by_the_pid_file(background: Background) -> None:
    """SIGHUP, by another word."""
    background.start()
    worker = int(background.get("/process").text)
    assert background.speak("reload").returncode == 0
    background.wait_log("is loaded anew")
    until(lambda: int(background.get("/process").text) != worker, "another worker serves")


def test_winch_pauses_a_server_in_the_background(background: Background) -> None:
    """All workers leave, the supervisor stays; HUP brings them back."""
    background.start()
    pid = background.pid

    def workers() -> list[int]:
        return [one.pid for one in proc.descendants(pid) if one.name == "stdserve:worker"]

    os.kill(pid, signal.SIGWINCH)
    until(lambda: not workers(), "all workers have left")
    assert proc.alive(pid)
    os.kill(pid, signal.SIGHUP)
    assert background.get().status == 200


def test_the_pid_file_of_a_server_in_the_foreground(serve: Serve, tmp_path: Path) -> None:
    """Beneath --chdir where it is relative; written when the server listens, removed at its end."""
    server = serve(
        "shapes:app", pid="a.pid", chdir=str(tmp_path), pythonpath=str(Path(__file__).parent / "apps")
    )
    assert server.get("/hello").status == 200
    assert (tmp_path / "a.pid").read_text() == f"{server.pid}\n"
    server.stop()
    assert not (tmp_path / "a.pid").exists()


def test_a_new_server_takes_the_pid_file_beside_a_worker_that_is_stuck(serve: Serve, tmp_path: Path) -> None:
    """The lock is the supervisor's alone: no worker that outlives it keeps the file."""
    server = serve("shapes:app", pid=str(tmp_path / "pid"), graceful_timeout="1s")
    server.wait_workers(1)
    with server.client() as client:
        client.send(b"GET /hold-gil?name=x&seconds=3 HTTP/1.1\r\nHost: x\r\n\r\n")
        server.signal(signal.SIGKILL)
        server.wait_exit()
        again = serve("shapes:app", pid=str(tmp_path / "pid"), bind=f"127.0.0.1:{server.port}")
        assert again.get("/hello").status == 200


def test_the_daemon_of_a_program_is_no_second_copy_of_it(
    short_path: Path, free_port: Callable[[], int]
) -> None:
    """`stdserve.run(daemon=True)` returns once, in the program that called it."""
    pid, said = short_path / "pid", short_path / "said"
    program = f"""
import stdserve
code = stdserve.run("shapes:app", bind="127.0.0.1:{free_port()}", workers=1, daemon=True, pid={str(pid)!r})
open({str(said)!r}, "a").write(f"returned {{code}}\\n")
"""
    python = Path(command()[0]).with_name("python")
    run = [str(python), "-c", program]
    subprocess.run(run, env=clean_environment(), check=True, timeout=60)
    assert said.read_text() == "returned 0\n"
    done = subprocess.run(
        [*command(), "stop", "--pid", str(pid)],
        env=clean_environment(),
        check=True,
        timeout=60,
        capture_output=True,
    )
    assert done.stdout == b"stopped\n"
    assert said.read_text() == "returned 0\n"
