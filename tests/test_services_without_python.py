"""The command that needs no Python: what it serves, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.plane import Plane, ctl, pids
from support.serving import Serve, clean_environment
from support.waiting import until

pytestmark = pytest.mark.timeout(1000)


@pytest.fixture
def place(short_path: Path) -> Path:
    """A folder with files, and one with a script."""
    (short_path / "public").mkdir()
    (short_path / "public" / "name.txt").write_text("from a file")
    (short_path / "scripts").mkdir()
    script = short_path / "scripts" / "hi.cgi"
    script.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfrom a script'\n")
    script.chmod(0o755)
    return short_path


def run(binary: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The program, up to its own end."""
    return subprocess.run(
        [binary, *arguments], env=clean_environment(), cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_it_loads_no_python(binary: str) -> None:
    """Not even the library of it."""
    needed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True)
    assert "python" not in needed.stdout


def test_a_folder(binary: str, serve: Serve, place: Path) -> None:
    """With its listing, and two workers as asked."""
    server = serve("public", program=[binary, "files"], cwd=place, workers=2)
    assert server.get("/name.txt").text == "from a file"
    assert "name.txt" in server.get("/").text
    assert len(server.wait_workers(2)) == 2
    assert "Python" not in server.log.text
    assert server.stop() == 0


def test_scripts(binary: str, serve: Serve, place: Path) -> None:
    """Each in a process of its own."""
    server = serve("scripts", program=[binary, "cgi"], cwd=place)
    assert server.get("/hi.cgi").text == "from a script"


def test_several_services_of_a_file(binary: str, serve: Serve, place: Path) -> None:
    """On one listener, and on one of its own."""
    (place / "stdserve.toml").write_text(
        'bind = "127.0.0.1:0"\nworkers = 1\n'
        '[services.files]\nfiles = "public"\n'
        '[services.scripts]\ncgi = "scripts"\nmount = "/run"\n'
        '[services.apart]\nfiles = "scripts"\nbind = "unix:apart.sock"\n'
    )
    server = serve(None, program=[binary, "up"], bind=None, cwd=place, workers=None)
    assert server.get("/name.txt").text == "from a file"
    assert len(server.wait_workers(2)) == 2
    assert (place / "apart.sock").is_socket()
    assert server.stop() == 0
    assert not (place / "apart.sock").exists()


def test_workers_are_replaced_and_reloaded(binary: str, serve: Serve, place: Path) -> None:
    """As those of an application."""
    server = serve("public", program=[binary, "files"], cwd=place, workers=1)
    assert server.get("/name.txt").status == 200
    (first,) = server.wait_workers(1)
    os.kill(first, signal.SIGKILL)
    until(lambda: server.workers() not in ([first], []), "another worker")
    (second,) = server.workers()
    server.signal(signal.SIGHUP)
    until(lambda: second not in server.workers() and len(server.workers()) == 1, "a reloaded worker")
    assert server.get("/name.txt").status == 200
    (third,) = server.workers()
    os.kill(third, signal.SIGTERM)
    until(
        lambda: third not in server.workers() and len(server.workers()) == 1, "a drained worker's successor"
    )


def test_a_terminals_signal_is_the_supervisors(binary: str, serve: Serve, place: Path) -> None:
    """Ctrl-C reaches all processes; the workers leave it to the supervisor."""
    server = serve("public", program=[binary, "files"], cwd=place, terminal=True)
    assert server.get("/name.txt").status == 200
    server.type(b"\x03")
    assert server.wait_exit() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["app:app"],
        ["rpc", "a:b"],
        ["tcp", "a:Handler"],
        ["udp", "a:Handler"],
        ["app:app", "--check-config"],
        ["run", "script.py"],
    ],
)
def test_what_needs_python_is_refused(binary: str, arguments: list[str], place: Path) -> None:
    """With what to do instead; nothing is started."""
    ended = run(binary, *arguments, cwd=place)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "this program runs no Python" in ended.stderr
    assert "pip install stdserve" in ended.stderr


def test_a_file_with_an_application_is_refused_as_a_whole(binary: str, place: Path) -> None:
    """Not served in part."""
    (place / "stdserve.toml").write_text(
        '[services.files]\nfiles = "public"\nbind = "127.0.0.1:0"\n'
        '[services.shop]\napp = "shop:app"\nbind = "unix:x.sock"\n'
    )
    ended = run(binary, "up", cwd=place)
    assert ended.returncode == 2
    assert "shop:app" in ended.stderr
    assert "pip install" in ended.stderr


def test_it_has_an_operations_plane_and_its_client(serve: Serve, binary: str, place: Path) -> None:
    """The same figures, and orders that are carried out."""
    plane = Plane(place / "admin")
    server = serve(None, "files", str(place / "public"), program=[binary], admin=plane.option)
    (first,) = pids(plane.wait(lambda status: status["ready"], "ready"))
    assert server.get("/name.txt").text == "from a file"
    told = ctl("status", "--admin", plane.option, program=[binary])
    assert f"process {server.pid} " in told.stdout
    drained = ctl("drain", str(first), "--admin", plane.option, program=[binary])
    assert (drained.returncode, drained.stderr) == (0, "")
    assert first not in pids(plane.get("/status"))
