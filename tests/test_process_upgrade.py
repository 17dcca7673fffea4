"""SIGUSR2: a newly executed supervisor beside the old one, and either of them ended."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path

from support import proc
from support.gate import Gate
from support.load import Steady
from support.serving import Serve, Served, clean_environment, command
from support.waiting import until
from support.wire import Client, request

READY = r"the new server, process (\d+), is ready"


def upgraded(server: Served) -> int:
    """Send SIGUSR2 and wait until the new supervisor is ready; its pid."""
    server.log.wait("is ready")
    start = len(server.log.text)
    server.signal(signal.SIGUSR2)
    return int(server.log.wait(READY, start=start)[1])


def end(pid: int) -> None:
    """End a supervisor that is not the one that was started."""
    os.kill(pid, signal.SIGTERM)
    until(lambda: not proc.alive(pid), f"{pid} has ended")


def supervisors(client: Client) -> set[int]:
    """Whose workers answer, asked often."""
    found = set()
    for _ in range(30):
        worker = proc.stat(int(client.ask("/process").text))
        assert worker is not None
        found.add(worker.parent)
    return found


def test_the_new_server_goes_on_where_the_old_one_is_ended(serve: Serve, tmp_path: Path) -> None:
    """Same address, the pid file's second name until the old one has left, then the first."""
    file = tmp_path / "pid"
    server = serve(pid=str(file))
    assert server.get("/hello").status == 200
    new = upgraded(server)
    assert file.read_text() == f"{server.pid}\n"
    assert Path(f"{file}.2").read_text() == f"{new}\n"
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    server.log.wait("has ended")
    until(lambda: file.read_text() == f"{new}\n", "the file has its name")
    assert not Path(f"{file}.2").exists()
    with server.client() as client:
        assert supervisors(client) == {new}
    # And that one can be replaced, too.
    start = len(server.log.text)
    os.kill(new, signal.SIGUSR2)
    third = int(server.log.wait(READY, start=start)[1])
    end(new)
    until(lambda: file.read_text() == f"{third}\n", "the third one has the file")
    assert server.get("/hello").status == 200
    end(third)
    assert not file.exists()


def test_the_old_server_goes_on_where_the_new_one_is_ended(serve: Serve, tmp_path: Path) -> None:
    """Rolled back: nothing has changed, and it can be tried again."""
    file = tmp_path / "pid"
    server = serve(pid=str(file))
    for _ in range(2):
        new = upgraded(server)
        end(new)
        server.log.wait(f"process {new}, ended with code 0: this one serves on")
        assert [path.name for path in tmp_path.glob("pid*")] == ["pid"]
        assert server.get("/hello").status == 200
    assert file.read_text() == f"{server.pid}\n"


def test_there_is_one_new_server_at_a_time(serve: Serve) -> None:
    """A second signal, to the old one or to the new one, is refused with a word."""
    server = serve()
    server.wait_workers(1)
    new = upgraded(server)
    server.signal(signal.SIGUSR2)
    server.log.wait(f"process {new}, is there already")
    os.kill(new, signal.SIGUSR2)
    server.log.wait("the one that this one replaces is still there")
    end(new)


def test_a_new_server_that_cannot_start_leaves_the_old_one_serving(serve: Serve, tmp_path: Path) -> None:
    """A broken configuration and a broken application: the old one says why, and serves on."""
    (tmp_path / "app.py").write_text("from shapes import app\n")
    settings = tmp_path / "stdserve.toml"
    settings.write_text("app = 'app:app'\nworkers = 1\n")
    server = serve(None, cwd=tmp_path, workers=None)
    assert server.get("/hello").status == 200
    settings.write_text("app = 'app:app'\nworkes = 1\n")
    server.signal(signal.SIGUSR2)
    server.log.wait(r"error: the new server: .*workes")
    server.log.wait("ended with code 2 before it was ready: this one serves on")
    settings.write_text("app = 'app:app'\nworkers = 1\n")
    (tmp_path / "app.py").write_text("raise RuntimeError('broken on purpose')\n")
    start = len(server.log.text)
    server.signal(signal.SIGUSR2)
    server.log.wait("error: the new server: (.|\n)*broken on purpose", start=start)
    server.log.wait("ended with code 4 before it was ready: this one serves on", start=start)
    assert server.get("/hello").status == 200


def test_a_new_server_reads_its_options_again(serve: Serve, tmp_path: Path) -> None:
    """Also an address that is new, beside one that is handed over."""
    (tmp_path / "app.py").write_text("from shapes import app\n")
    settings = tmp_path / "stdserve.toml"
    settings.write_text("app = 'app:app'\nworkers = 1\nbind = '127.0.0.1:0'\n")
    server = serve(None, cwd=tmp_path, workers=None, bind=None)
    port = server.port
    socket = tmp_path / "new.sock"
    settings.write_text(f"app = 'app:app'\nworkers = 2\nbind = ['127.0.0.1:0', 'unix:{socket}']\n")
    new = upgraded(server)
    workers = [one for one in proc.descendants(new) if one.name == "stdserve:worker"]
    assert len(workers) == 2
    server.signal(signal.SIGTERM)
    server.wait_exit()
    # Port 0 asks for any: it is the one that there was.
    assert server.port == port
    assert server.get("/hello").status == 200
    assert stat.S_ISSOCK(socket.stat().st_mode)
    end(new)
    assert not socket.exists()


def test_the_file_of_a_unix_socket_is_removed_by_the_last_one(serve: Serve, short_path: Path) -> None:
    """Neither the end of the old one nor that of a new one that is rolled back takes it away."""
    path = short_path / "sock"
    server = serve(bind=f"unix:{path}")
    server.log.wait("is ready")
    inode = path.stat().st_ino
    end(upgraded(server))
    assert path.stat().st_ino == inode
    new = upgraded(server)
    server.signal(signal.SIGTERM)
    server.wait_exit()
    assert path.stat().st_ino == inode
    server.log.wait("has ended")
    end(new)
    assert not path.exists()


def test_the_operations_plane_is_handed_over(serve: Serve, short_path: Path) -> None:
    """Its address, too; `ctl upgrade` has the old server leave by itself."""
    path = short_path / "admin"
    server = serve(admin=f"unix:{path}")
    server.log.wait("is ready")
    inode = path.stat().st_ino

    def ctl(*order: str) -> dict[str, object]:
        run = [*command(), "ctl", f"--admin=unix:{path}", "--json", *order]
        done = subprocess.run(run, env=clean_environment(), capture_output=True, timeout=60, check=True)
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    start = len(server.log.text)
    subprocess.run(
        [*command(), "ctl", f"--admin=unix:{path}", "upgrade"],
        env=clean_environment(),
        timeout=60,
        check=False,
    )
    new = int(server.log.wait(READY, start=start)[1])
    assert server.wait_exit() == 0
    assert path.stat().st_ino == inode
    assert ctl("status")
    end(new)
    assert not path.exists()


def test_a_new_server_survives_the_old_one_being_killed(serve: Serve, tmp_path: Path) -> None:
    """It learns of that by the end of the channel between them, and takes the pid file."""
    file = tmp_path / "pid"
    server = serve(pid=str(file))
    server.wait_workers(1)
    new = upgraded(server)
    server.signal(signal.SIGKILL)
    server.wait_exit()
    until(lambda: file.read_text() == f"{new}\n", "the file is the new one's")
    assert server.get("/hello").status == 200
    end(new)


def test_requests_of_the_old_server_are_finished(serve: Serve, gate: Gate) -> None:
    """What runs there when it is told to leave gets its answer there."""
    server = serve(threads=2)
    with server.client() as client:
        client.send(request(target="/wait?name=running"))
        guest = gate.wait("running")
        new = upgraded(server)
        server.signal(signal.SIGTERM)
        server.log.wait("what runs is finished")
        assert server.get("/hello").status == 200
        guest.release("done")
        assert client.read().text == "done"
    assert server.wait_exit() == 0
    end(new)


def test_upgrades_under_load_lose_nothing(serve: Serve) -> None:
    """Forth, and rolled back, and forth again: every request is answered."""
    server = serve(workers=2)
    server.wait_workers(2)
    pids = [server.pid]
    with Steady(server, "/hello", 8) as load:
        load.wait(100)
        for step in range(3):
            start = len(server.log.text)
            os.kill(pids[-1], signal.SIGUSR2)
            new = int(server.log.wait(READY, start=start)[1])
            load.wait(100)
            if step == 1:
                end(new)
            else:
                old = pids[-1]
                os.kill(old, signal.SIGTERM)
                if old == server.pid:
                    server.wait_exit()
                until(lambda gone=old: not proc.alive(gone), "the old one has left")  # type: ignore[misc]
                pids.append(new)
                server.log.wait(rf"\[{new}\] info: the server that this one replaces has ended")
            load.wait(100)
    assert (set(load.answers), load.lost) == ({200}, 0)
    end(pids[-1])
