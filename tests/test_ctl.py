"""`stdserve ctl`: finds the server, shows what it tells, and waits until orders are carried out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import termios
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support import proc
from support.gate import Gate
from support.plane import Plane, ctl, pids
from support.serving import APPS, Log, Serve, Served, clean_environment, command
from support.waiting import until
from support.wire import request


@pytest.fixture
def env(short_path: Path) -> dict[str, str]:
    """A folder of the test's own in which servers are found."""
    return {"XDG_RUNTIME_DIR": str(short_path)}


@pytest.fixture
def alone() -> list[str]:
    """The command where root sees no servers but those of the test: with a /run of its own."""
    if os.geteuid() != 0:
        return command()
    cover = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$0" "$@"']
    if subprocess.run([*cover, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs unshare(1), with the right to mount")
    return [*cover, *command()]


def ready(server: Served, env: dict[str, str]) -> Plane:
    """The server's own plane, once its workers serve."""
    plane = Plane(Path(env["XDG_RUNTIME_DIR"]) / "stdserve" / f"{server.pid}.sock")
    plane.wait(lambda status: status["ready"], "ready")
    return plane


def test_the_only_server_is_found_and_several_are_told_apart(
    serve: Serve, env: dict[str, str], alone: list[str], tmp_path: Path
) -> None:
    """None: 7; two: 2, with a list; by its process or its pid file it can be named."""
    none = ctl("status", env=env, program=alone)
    assert none.returncode == 7
    assert "error: no server of yours runs here" in none.stderr
    first = serve(env=env)
    ready(first, env)
    found = ctl("status", env=env, program=alone)
    assert (found.returncode, found.stderr) == (0, "")
    assert f"process {first.pid} " in found.stdout
    second = serve(env=env)
    ready(second, env)
    both = ctl("status", env=env, program=alone)
    assert both.returncode == 2
    assert f"  {first.pid}  " in both.stderr
    assert f"  {second.pid}  " in both.stderr
    assert "--pid PID" in both.stderr
    assert f"process {first.pid} " in ctl("status", f"--pid={first.pid}", env=env, program=alone).stdout
    (tmp_path / "second.pid").write_text(f"{second.pid}\n")
    by_file = ctl("--pid", str(tmp_path / "second.pid"), "status", env=env, program=alone)
    assert f"process {second.pid} " in by_file.stdout
    gone = ctl("status", "--pid", "1", env=env, program=alone)
    assert gone.returncode == 7
    first.signal(signal.SIGKILL)
    first.wait_exit()
    assert f"process {second.pid} " in ctl("status", env=env, program=alone).stdout


def test_an_address_names_the_server_also_in_the_environment(
    serve: Serve, env: dict[str, str], free_port: Callable[[], int]
) -> None:
    """As in a container, which sets it for both."""
    plane = Plane(("127.0.0.1", free_port()))
    server = serve(admin=plane.option)
    plane.wait(lambda status: status["ready"], "ready")
    assert f"process {server.pid} " in ctl("--admin", plane.option, "status", env=env).stdout
    assert f"process {server.pid} " in ctl("status", env={**env, "STDSERVE_ADMIN": plane.option}).stdout
    server.get("/hello")
    stranger = ctl("status", "--admin", f"127.0.0.1:{server.port}", env=env)
    assert stranger.returncode == 1
    assert "error: " in stranger.stderr
    nobody = ctl("status", "--admin", f"127.0.0.1:{free_port()}", env=env)
    assert nobody.returncode == 7


def test_what_is_looked_at(serve: Serve, gate: Gate, env: dict[str, str]) -> None:
    """Each as a table for people, and as JSON."""
    server = serve(workers=1, env=env)
    plane = ready(server, env)
    asked = partial(ctl, f"--pid={server.pid}", env=env)
    (worker,) = pids(plane.get("/status"))
    assert asked("requests").stdout == "no request is in flight\n"
    with server.client() as client:
        client.send(request(target="/wait?name=seen"))
        guest = gate.wait("seen")
        told = asked("requests").stdout
        assert re.search(rf"running +{worker} +127\.0\.0\.1 +GET /wait\?name=seen", told), told
        (one,) = json.loads(asked("requests", "--json").stdout)["requests"]
        assert (one["pid"], one["phase"]) == (worker, "running")
        stacks = asked("stacks", str(worker))
        assert stacks.returncode == 0
        assert "in arrive" in stacks.stdout
        top = asked("top", "--once")
        assert top.returncode == 0
        assert "1 of 1 workers ready" in top.stdout
        assert "GET /wait?name=seen" in top.stdout
        assert json.loads(asked("top", "--once", "--json").stdout)["in_flight"]["total"] == 1
        guest.release()
        client.read()
    status = asked("status").stdout
    assert re.search(rf"^{worker} +ready ", status, re.MULTILINE), status
    assert pids(json.loads(asked("status", "--json").stdout)) == {worker}
    config = asked("config").stdout
    assert re.search(r"^workers = 1 +# --workers$", config, re.MULTILINE), config


def test_what_is_ordered_is_waited_for(serve: Serve, env: dict[str, str]) -> None:
    """When the command returns it is so."""
    server = serve(workers=1, env=env)
    plane = ready(server, env)
    asked = partial(ctl, f"--pid={server.pid}", env=env)
    (first,) = pids(plane.get("/status"))
    scaled = asked("scale", "+1")
    assert (scaled.returncode, scaled.stdout) == (0, "2 workers are ready\n")
    assert len(pids(plane.get("/status"))) == 2
    assert asked("scale", "1").stdout == "1 worker is ready\n"
    (left,) = pids(plane.get("/status"))
    assert asked("drain", str(left)).returncode == 0
    assert left not in pids(plane.get("/status"))
    assert asked("reload").stdout == "loaded anew\n"
    status = plane.get("/status")
    assert status["groups"][0]["generation"] == 2
    assert {one["generation"] for one in status["workers"]} == {2}
    assert json.loads(asked("log-level", "debug", "--json").stdout)["taken"]
    refused = asked("drain", str(first))
    assert refused.returncode == 1
    assert f"error: There is no worker {first}." in refused.stderr


def test_a_reload_that_fails_says_why(serve: Serve, env: dict[str, str], tmp_path: Path) -> None:
    """The traceback, and code 1; the old load serves on."""
    module = tmp_path / "breaks.py"
    module.write_text("from shapes import app\n")
    told = {**env, "PYTHONPATH": f"{APPS}:{tmp_path}"}
    server = serve("breaks:app", env=told, cwd=tmp_path)
    ready(server, env)
    asked = partial(ctl, f"--pid={server.pid}", env=env)
    module.write_text("import no_such_module\n")
    failed = asked("reload")
    assert failed.returncode == 1
    assert "no_such_module" in failed.stderr
    assert server.get("/hello").status == 200


def test_an_upgrade_is_waited_for_and_hands_the_address_over(
    serve: Serve, env: dict[str, str], short_path: Path
) -> None:
    """The new server answers where the old one did, and is found under its own number."""
    plane = Plane(short_path / "admin")
    server = serve(workers=1, env=env, admin=plane.option)
    ready(server, env)
    new = None
    try:
        upgraded = ctl("upgrade", f"--pid={server.pid}", env=env)
        assert upgraded.returncode == 0, upgraded.stderr
        assert server.wait_exit() == 0
        new = plane.wait(lambda status: status["ready"], "ready")["pid"]
        assert new != server.pid
        assert server.get("/hello").status == 200
        assert f"process {new} " in ctl("status", f"--pid={new}", env=env).stdout
        assert [path.name for path in (short_path / "stdserve").iterdir()] == [f"{new}.sock"]
    finally:
        if new:
            os.kill(new, signal.SIGTERM)
            until(lambda: not proc.alive(new), "the new server has ended")


def test_top_lives_in_the_terminal_and_leaves_it_as_it_was(
    serve: Serve, gate: Gate, env: dict[str, str]
) -> None:
    """It draws anew each second; `q` ends it, and so does Ctrl-C."""
    server = serve(workers=1, env=env)
    ready(server, env)
    for key in (b"q", b"\x03"):
        ours, theirs = os.openpty()
        before = termios.tcgetattr(theirs)
        running = subprocess.Popen(
            [*command(), "ctl", f"--pid={server.pid}", "top"],
            env=clean_environment(env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        log = Log(os.dup(ours))
        log.wait(r"1 of 1 workers ready")
        with server.client() as client:
            client.send(request(target="/wait?name=seen"))
            guest = gate.wait("seen")
            log.wait(r"GET /wait\?name=seen")
            guest.release()
        os.write(ours, key)
        assert running.wait(30) == 0
        assert termios.tcgetattr(theirs) == before
        os.close(theirs)
        text = log.wait_end()
        assert text.startswith("\x1b[?1049h")
        assert text.rstrip().endswith("\x1b[?1049l")
        os.close(ours)


def test_top_says_when_the_server_has_ended(serve: Serve, env: dict[str, str]) -> None:
    """With code 7, as for one that was never there."""
    server = serve(workers=1, env=env)
    ready(server, env)
    words = [*command(), "ctl", f"--pid={server.pid}", "top", "--json"]
    running = subprocess.Popen(
        words, env=clean_environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout
    assert json.loads(running.stdout.readline())["ready"]
    server.stop()
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 7
    assert "the server has ended" in errors


def test_wrong_use(env: dict[str, str]) -> None:
    """Said before any server is looked for."""
    for words, why in [
        (["statsu"], "Did you mean stdserve ctl status?"),
        (["drain"], "Write stdserve ctl drain PID."),
        (["status", "--once"], "--once is an option of `stdserve ctl top`"),
    ]:
        wrong = ctl(*words, env=env)
        assert wrong.returncode == 2
        assert why in wrong.stderr
    assert "Orders:" in ctl("--help", env=env).stdout
