"""Under systemd: sockets that are handed over, what the manager is told, and the example units.

The manager is played by the test: its notify socket is a socket of the test's, and what it hands over comes
from `systemd-socket-activate`, where that is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import proc
from support.serving import Serve, command
from support.waiting import until

DEPLOY = Path(__file__).resolve().parent.parent / "examples" / "deploy"


def tool(name: str) -> str:
    """A program of systemd's, or no test."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (Debian: apt install systemd)")
    return found


class Manager:
    """The socket that `NOTIFY_SOCKET` names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1))
        self.socket.settimeout(30)

    def hear(self, wanted: str, *, never: str = "nothing is") -> str:
        """The next message with a line that matches; none before it may match `never`."""
        while True:
            message = self.socket.recv(4096).decode()
            if re.search(rf"^{wanted}", message, re.MULTILINE):
                return message
            assert not re.search(rf"^{never}", message, re.MULTILINE), message

    def forget(self) -> None:
        """Throw away what has come."""
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(4096)
        except BlockingIOError:
            self.socket.settimeout(30)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Manager]:
    """A manager that listens, by both kinds of names."""
    path = str(short_path / "notify")
    listening = Manager(path if request.param == "path" else f"@{path}")
    yield listening
    listening.socket.close()


def test_ready_reloading_stopping(serve: Serve, manager: Manager) -> None:
    """In the order that notify-reload wants; a reload that fails ends, too."""
    server = serve(env={"NOTIFY_SOCKET": manager.name})
    manager.hear("READY=1", never="STOPPING")
    assert manager.hear("STATUS=") == "STATUS=1 of 1 workers ready"
    server.signal(signal.SIGHUP)
    usec = re.search(r"^MONOTONIC_USEC=(\d+)$", manager.hear("RELOADING=1"), re.MULTILINE)
    assert usec
    assert int(usec[1]) > 0
    manager.hear("READY=1")
    server.log.wait("is loaded anew")
    server.signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    assert server.wait_exit() == 0


def test_the_application_is_not_told_of_the_manager(serve: Serve, manager: Manager) -> None:
    """Nor what it starts: it could say READY in the server's name."""
    meant = {
        "NOTIFY_SOCKET": manager.name,
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": "1",
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "x",
    }
    server = serve("inside:app", env=meant)
    found = server.get("/").text
    assert not [name for name in meant if name in found]


def test_the_watchdog_is_fed(serve: Serve, short_path: Path) -> None:
    """At least twice in the time that the manager waits."""
    manager = Manager(str(short_path / "notify"))
    serve(env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000"})
    manager.hear("READY=1")
    for _ in range(3):
        manager.hear("WATCHDOG=1")
    manager.socket.close()


def test_the_watchdog_starves_when_no_worker_is_left(serve: Serve, short_path: Path) -> None:
    """A template that cannot have another worker: the manager hears of it, and not that all is well."""
    manager = Manager(str(short_path / "notify"))
    server = serve(env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"})
    manager.hear("READY=1")
    (template,), (worker,) = server.templates(), server.wait_workers(1)
    os.kill(template, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    manager.hear("STATUS=0 of 1 workers ready")
    manager.forget()
    manager.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        manager.hear("WATCHDOG=1")
    manager.socket.settimeout(30)
    os.kill(template, signal.SIGCONT)
    manager.hear("WATCHDOG=1")
    manager.socket.close()


def test_an_upgrade_names_the_new_main_process(serve: Serve, manager: Manager) -> None:
    """By the old one when it leaves, and by the new one when it is alone; none says STOPPING meanwhile."""
    server = serve(env={"NOTIFY_SOCKET": manager.name})
    manager.hear("READY=1")
    server.signal(signal.SIGUSR2)
    new = int(server.log.wait(r"process (\d+), is ready")[1])
    server.signal(signal.SIGTERM)
    manager.hear(f"MAINPID={new}$", never="STOPPING|READY")
    assert manager.hear(f"MAINPID={new}$", never="STOPPING") == f"MAINPID={new}\nREADY=1"
    assert server.wait_exit() == 0
    os.kill(new, signal.SIGTERM)
    manager.hear("STOPPING=1")


def test_a_manager_that_has_gone_keeps_nobody_from_serving(serve: Serve, short_path: Path) -> None:
    """Nor one that was never there."""
    server = serve(env={"NOTIFY_SOCKET": str(short_path / "nobody"), "WATCHDOG_USEC": "100000"})
    assert server.get("/hello").status == 200


def ask(path: Path) -> bytes:
    """An answer of the server on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b""))


def activated(serve: Serve, path: Path, *options: str, name: str | None = None) -> None:
    """A server that `systemd-socket-activate` starts with a Unix socket, at the first connection."""
    names = [f"--fdname={name}"] if name else []
    wrapper = [tool("systemd-socket-activate"), f"--listen={path}", *names, "-E", "PYTHONPATH"]
    server = serve("shapes:app", *options, bind=None, wrapper=wrapper)
    until(lambda: proc.listens(path), "the socket is there")
    assert ask(path).endswith(b"hello ")
    server.stop()
    # The socket is the manager's.
    assert path.exists()


def test_socket_activation(serve: Serve, short_path: Path) -> None:
    """What is handed over takes the place of the default address; the first connection is served."""
    activated(serve, short_path / "s")


def test_socket_activation_by_name(serve: Serve, short_path: Path) -> None:
    """`--bind fd://NAME`, with a name of the listener's own or without."""
    activated(serve, short_path / "s", "--bind=fd://web", name="web")


def test_a_name_that_was_not_handed_over(serve: Serve) -> None:
    """An error of the address, which says what was handed over."""
    server = serve(bind="fd://web")
    assert server.wait_exit() == 5
    assert "fd://web is no listening socket: no socket was handed over" in server.log.wait_end()


def test_an_upgrade_hands_on_what_the_manager_handed_over(serve: Serve, short_path: Path) -> None:
    """The new server is given the same socket, by its number and its name."""
    path = short_path / "s"
    wrapper = [tool("systemd-socket-activate"), f"--listen={path}", "--fdname=web", "-E", "PYTHONPATH"]
    server = serve("shapes:app", "--bind=fd://web", bind=None, wrapper=wrapper)
    until(lambda: proc.listens(path), "the socket is there")
    assert ask(path).endswith(b"hello ")
    server.log.wait("is ready")
    server.signal(signal.SIGUSR2)
    new = int(server.log.wait(r"process (\d+), is ready")[1])
    server.signal(signal.SIGTERM)
    server.wait_exit()
    assert ask(path).endswith(b"hello ")
    os.kill(new, signal.SIGTERM)


def test_the_example_units_are_valid(tmp_path: Path) -> None:
    """As `systemd-analyze verify` sees them, with this command in the place of the installed one."""
    analyze = tool("systemd-analyze")
    for unit in sorted(DEPLOY.glob("*.service")) + sorted(DEPLOY.glob("*.socket")):
        text = unit.read_text().replace("/opt/app/venv/bin/stdserve", command()[0])
        (tmp_path / unit.name).write_text(text)
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    assert len(units) == 2
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout
    young = int(version.split()[1]) < 253
    # Type=notify-reload came with systemd 253.
    about_ours = [
        line
        for line in done.stderr.splitlines()
        if "app." in line and not (young and line.endswith("service type, ignoring: notify-reload"))
    ]
    assert (done.returncode, about_ours) == (0, []), done.stderr
