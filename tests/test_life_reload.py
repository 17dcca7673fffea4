"""HUP: the configuration is read again, workers are replaced; what cannot be loaded changes nothing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from support.gate import Gate
from support.lossless import SteadyLoad
from support.serving import Serve, Served
from support.waiting import until
from support.wire import request

#: Answers with what it was imported as; `VERSION` is replaced by a test.
SOURCE = """
import os
VERSION = "one"
def app(environ, start_response):
    body = f"{VERSION} {os.getpid()}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an application and its settings."""
    (tmp_path / "versioned.py").write_text(SOURCE)
    configure(tmp_path, workers=1)
    return tmp_path


def configure(folder: Path, **options: object) -> None:
    """Write the file of settings."""
    values = {"app": '"versioned:app"', **options}
    lines = [f"{name.replace('_', '-')} = {value}\n" for name, value in values.items()]
    (folder / "stdserve.toml").write_text("".join(lines))


def import_as(folder: Path, version: str) -> None:
    """Change the application."""
    (folder / "versioned.py").write_text(SOURCE.replace('"one"', f'"{version}"'))


def started(serve: Serve, folder: Path, *arguments: str) -> Served:
    """Serve what the folder's file says."""
    server = serve(None, *arguments, cwd=folder, workers=None)
    until(lambda: server.get("/").status == 200, "the first answer")
    return server


def reload(server: Served, message: str) -> None:
    """HUP, until the log says this."""
    start = len(server.log.text)
    server.signal(signal.SIGHUP)
    server.log.wait(message, start=start)


def renewed(server: Served, before: list[int], count: int) -> list[int]:
    """Waits until none of the workers before is left, and so many serve."""

    def others() -> list[int]:
        found = server.workers()
        return found if len(found) == count and not set(found) & set(before) else []

    return until(others, f"{count} new workers")


def test_a_changed_file_and_a_changed_application_take_effect(serve: Serve, folder: Path) -> None:
    """Settings of the workers, their number and the code are new."""
    server = started(serve, folder)
    before = server.wait_workers(1)
    answer = server.get("/")
    assert (answer.text, answer.get("server")) == (f"one {before[0]}", "stdserve")
    configure(folder, workers=3, server_header="false")
    import_as(folder, "two")
    reload(server, "is loaded anew")
    workers = renewed(server, before, 3)
    answer = server.get("/")
    assert answer.get("server") is None
    assert answer.text in [f"two {pid}" for pid in workers]


def test_fewer_workers_in_the_file_are_fewer_workers(serve: Serve, folder: Path) -> None:
    """The old ones leave, all of them."""
    configure(folder, workers=3)
    server = started(serve, folder)
    before = server.wait_workers(3)
    configure(folder, workers=1)
    reload(server, "is loaded anew")
    renewed(server, before, 1)


def test_what_a_reload_cannot_change_is_named(serve: Serve, folder: Path) -> None:
    """It keeps its value, and the rest counts."""
    server = started(serve, folder)
    before = server.wait_workers(1)
    configure(folder, workers=1, backlog=17, server_header="false")
    reload(server, r"warning: a reload does not change --backlog: a restart does")
    renewed(server, before, 1)
    assert server.get("/").get("server") is None


def test_a_broken_configuration_changes_nothing(serve: Serve, folder: Path) -> None:
    """The log says what is wrong and where; a mended one counts."""
    server = started(serve, folder)
    before = server.wait_workers(1)
    configure(folder, workers='"many"')
    start = len(server.log.text)
    reload(server, "nothing is reloaded")
    server.log.wait(r"stdserve\.toml:2", start=start)
    assert server.workers() == before
    assert server.get("/").text == f"one {before[0]}"
    configure(folder, workers=2)
    reload(server, "is loaded anew")
    renewed(server, before, 2)


def test_a_program_that_calls_run_reads_its_file_again(serve: Serve, folder: Path) -> None:
    """The keywords of the call stay, and count more."""
    script = folder / "program.py"
    script.write_text('import stdserve\nstdserve.run("versioned:app", bind="127.0.0.1:0", threads=2)\n')
    server = serve(None, program=[sys.executable, str(script)], cwd=folder, bind=None, workers=None)
    until(lambda: server.get("/").status == 200, "the first answer")
    before = server.wait_workers(1)
    configure(folder, workers=2, threads=0)
    reload(server, "nothing is reloaded")
    configure(folder, workers=2, threads=5)
    import_as(folder, "two")
    reload(server, "is loaded anew")
    workers = renewed(server, before, 2)
    assert server.get("/").text in [f"two {pid}" for pid in workers]


@pytest.mark.parametrize("preload", [False, True])
def test_a_broken_application_leaves_old_workers_and_old_settings(
    serve: Serve, folder: Path, preload: bool
) -> None:
    """What replaces a dead worker has the settings from before, and the old code if that is preloaded."""
    configure(folder, workers=2)
    server = started(serve, folder, *["--preload"][:preload])
    before = server.wait_workers(2)
    configure(folder, workers=3, server_header="false")
    (folder / "versioned.py").write_text("raise RuntimeError('broken on purpose')\n")
    reload(server, "is not reloaded: what was loaded before serves on")
    server.log.wait("RuntimeError: broken on purpose")
    until(lambda: server.workers() == before, "nobody else is left")
    assert server.get("/").get("server") == "stdserve"
    if not preload:
        import_as(folder, "mended")
    until(lambda: len(server.templates()) == 1, "the template of the new load is gone")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    workers = renewed(server, before, 2)
    answer = server.get("/")
    assert answer.get("server") == "stdserve"
    version = "one" if preload else "mended"
    assert answer.text in [f"{version} {pid}" for pid in workers]


def test_preload_is_loaded_anew(serve: Serve, folder: Path) -> None:
    """A new template imports the new code."""
    server = started(serve, folder, "--preload")
    before = server.wait_workers(1)
    import_as(folder, "two")
    reload(server, "is loaded anew")
    (worker,) = renewed(server, before, 1)
    assert server.get("/").text == f"two {worker}"


def test_a_reload_under_load_with_another_number_of_workers_loses_nothing(serve: Serve) -> None:
    """Up and down again."""
    server = serve("steady_app:app", workers=2)
    with SteadyLoad(server, rate=500) as load:
        for number in (signal.SIGTTIN, signal.SIGHUP, signal.SIGTTOU, signal.SIGHUP):
            before = server.workers()
            server.signal(number)
            if number == signal.SIGHUP:
                renewed(server, before, 2)
            else:
                server.wait_workers(3 if number == signal.SIGTTIN else 1)
            load.wait(100)
        counts = load.end()
    assert counts.failed == {}
    assert counts.good == counts.sent


def test_an_old_worker_finishes_what_runs(serve: Serve, gate: Gate) -> None:
    """The answer says that the connection closes; a new worker serves meanwhile."""
    server = serve(workers=1)
    old = server.wait_workers(1)
    with server.client() as client:
        client.send(request(target="/wait?name=old"))
        guest = gate.wait("old")
        server.signal(signal.SIGHUP)
        until(lambda: len(server.workers()) == 2, "the new worker")
        until(lambda: int(server.get("/process").text) not in old, "the new worker serves alone")
        assert old[0] in server.workers()
        guest.release("done")
        answer = client.read()
        assert (answer.text, answer.closes) == ("done", True)
        client.expect_end()
    until(lambda: old[0] not in server.workers(), "the old one has left")


def test_groups_that_come_and_go_are_named(serve: Serve, tmp_path: Path) -> None:
    """They need a restart; the others are loaded anew."""

    def write(*names: str) -> None:
        tables = [
            f'[services.{name}]\nfiles = "."\nbind = "unix:{tmp_path}/{name}"\nworkers = 1\n'
            for name in names
        ]
        (tmp_path / "stdserve.toml").write_text("\n".join(tables))

    write("a", "b")
    server = serve("up", cwd=tmp_path, bind=None, workers=None)
    server.log.wait("ready|listening|workers")
    before = server.wait_workers(2)
    write("b", "c")
    server.signal(signal.SIGHUP)
    server.log.wait("warning: a is not in the configuration any more")
    server.log.wait("warning: c is new in the configuration: a restart serves it")
    renewed(server, before, 2)
