"""Start: what is printed, what is refused with which exit code, what the surroundings decide."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import proc
from support.gate import Gate
from support.serving import APPS, PANIC, Serve, clean_environment, command
from support.waiting import until
from support.wire import Client, Closed, request

COLOUR = "\x1b["


def run(
    *arguments: str, env: dict[str, str] | None = None, cwd: Path = APPS
) -> subprocess.CompletedProcess[str]:
    """The command, up to its own end."""
    ended = subprocess.run(
        [*command(), *arguments],
        env=clean_environment(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert not PANIC.search(ended.stdout), ended.stdout
    return ended


def test_the_start_up_lines_say_what_a_user_wants_to_know(serve: Serve) -> None:
    """Address as a link, application, workers and threads, Python version, process id."""
    server = serve("shapes:app", workers=2, threads=3)
    assert server.get("/hello").status == 200
    server.log.wait(rf"\b{server.pid}\b")
    text = server.log.text
    assert server.url in text
    assert "shapes:app" in text
    assert re.search(r"\b2 workers?\b", text)
    assert re.search(r"\b3 threads?\b", text)
    assert ".".join(map(str, sys.version_info[:3])) in text
    assert COLOUR not in text


def test_colours_are_for_terminals(serve: Serve) -> None:
    """On a terminal there are colours, and NO_COLOR turns them off."""
    server = serve(terminal=True)
    assert server.get("/hello").status == 200
    server.log.wait(re.escape(COLOUR))
    plain = serve(terminal=True, env={"NO_COLOR": "1"})
    assert plain.get("/hello").status == 200
    plain.log.wait(rf"\b{plain.pid}\b")
    assert COLOUR not in plain.log.text


def test_ctrl_c_on_a_terminal_stops_without_a_traceback(serve: Serve, gate: Gate) -> None:
    """The terminal sends INT to every process of the group; only the supervisor listens to it."""
    server = serve(terminal=True, workers=2)
    with server.client() as client:
        client.send(request(target="/wait?name=running"))
        gate.wait("running")
        server.type(b"\x03")
        with pytest.raises(Closed):
            client.read()
    assert server.wait_exit() == 0
    said = server.log.wait_end()
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said


def test_ended_as_asked_is_0(serve: Serve) -> None:
    """Exit code 0."""
    server = serve()
    assert server.get("/hello").status == 200
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["shapes:app", "--treads", "3"], "--threads"),
        (["shapes:app", "--threads", "none at all"], "--threads"),
        (["shapes:app", "--keep-alive", "5 parsecs"], "--keep-alive"),
        (["shapes:app", "--bind", "127.0.0.1:99999"], "--bind"),
        ([], "application"),
        (["shapes:app", "extra"], "extra"),
        (["shapes:app", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (["shapes:app", "--chdir", "/nowhere"], "--chdir: /nowhere"),
        (["shapes:app", "--temp-dir", "/nowhere"], "--temp-dir: /nowhere"),
    ],
)
def test_usage_errors_are_2_and_say_what_and_where(arguments: list[str], named: str) -> None:
    """Exit code 2; a misspelt option names the nearest one."""
    ended = run(*arguments)
    assert ended.returncode == 2
    assert named in ended.stdout
    assert "Traceback" not in ended.stdout


def test_workers_that_keep_dying_at_boot_are_3() -> None:
    """Exit code 3: five deaths within their first seconds end the server."""
    ended = run("--bind", "127.0.0.1:0", "--workers", "1", "dies_at_import:app")
    assert ended.returncode == 3
    assert "Traceback" not in ended.stdout


@pytest.mark.parametrize("preload", [[], ["--preload"]])
def test_an_application_that_fails_at_import_is_4_with_its_own_traceback(preload: list[str]) -> None:
    """Exit code 4; the traceback starts in the application, not in ours nor in importlib."""
    ended = run("--bind", "127.0.0.1:0", "--workers", "2", *preload, "broken_import:app")
    assert ended.returncode == 4
    assert "ZeroDivisionError" in ended.stdout
    assert "broken_import.py" in ended.stdout
    assert ended.stdout.count("Traceback") == 1
    assert "importlib" not in ended.stdout
    assert "site-packages/stdserve" not in ended.stdout


@pytest.mark.parametrize(
    "app", ["no_such_module:app", "shapes:no_such_name", "no_such_file.py", "shapes:TEXT"]
)
def test_an_application_that_cannot_be_found_is_4(app: str) -> None:
    """Exit code 4, and the message names what was not found."""
    ended = run("--bind", "127.0.0.1:0", "--workers", "1", app)
    assert ended.returncode == 4
    assert re.split("[:.]", app)[1 if app.startswith("shapes") else 0] in ended.stdout
    assert "site-packages/stdserve" not in ended.stdout


def test_an_address_in_use_is_5_and_names_the_holder() -> None:
    """Exit code 5: which address, and who holds it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ended = run("--bind", f"127.0.0.1:{port}", "shapes:app")
    assert ended.returncode == 5
    assert f"127.0.0.1:{port}" in ended.stdout
    assert re.search(rf"\b{os.getpid()}\b", ended.stdout)


def test_a_second_server_on_the_same_address_is_told_of_the_first(serve: Serve) -> None:
    """The usual mistake, and the first one goes on."""
    first = serve()
    ended = run("--bind", f"127.0.0.1:{first.port}", "shapes:app")
    assert ended.returncode == 5
    assert re.search(rf"\b{first.pid}\b", ended.stdout)
    assert "stdserve" in ended.stdout
    assert first.get("/hello").status == 200


def test_an_address_that_is_not_ours_is_5() -> None:
    """Exit code 5 for an address of another machine (192.0.2.0/24 is for documentation, RFC 5737)."""
    ended = run("--bind", "192.0.2.1:8000", "shapes:app")
    assert ended.returncode == 5
    assert "192.0.2.1:8000" in ended.stdout


def test_sockets_that_a_service_manager_hands_over_take_the_place_of_the_default(serve: Serve) -> None:
    """$LISTEN_FDS, as sd_listen_fds(3) says: from descriptor 3 on, meant for $LISTEN_PID."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        script = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            "os.execvp(sys.argv[2], sys.argv[2:])"
        )
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                script,
                str(listener.fileno()),
                *command(),
                "shapes:app",
                "--workers",
                "1",
            ],
            env=clean_environment(None),
            cwd=APPS,
            pass_fds=[listener.fileno()],
        )
        try:
            with Client(listener.getsockname()) as client:
                assert client.ask("/hello").status == 200
        finally:
            process.terminate()
        assert process.wait(20) == 0


def test_a_socket_of_the_wrong_kind_is_refused() -> None:
    """One for datagrams cannot take connections; exit code 5, as for an address that is taken."""
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        ended = subprocess.run(
            [*command(), "shapes:app", "--bind", f"fd://{udp.fileno()}"],
            env=clean_environment(),
            cwd=APPS,
            pass_fds=[udp.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 5
    assert "it is a socket for datagrams" in ended.stderr


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_it_serves_also_where_standard_streams_are_closed(closed: str, short_path: Path) -> None:
    """As some daemon managers start it: no socket gets the number of a stream, and is printed into."""
    path = short_path / "socket"
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command(), "shapes:app", "-w", "1", "-b", f"unix:{path}"],
        env=clean_environment({"STDSERVE_ACCESS_LOGFILE": "-"}),
        cwd=APPS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: proc.listens(path), "the socket")
        with Client(str(path)) as client:
            assert client.ask("/hello").status == 200
            assert client.ask("/hello").status == 200
    finally:
        process.terminate()
    assert process.wait(20) == 0


def test_check_config_loads_the_application_and_exits() -> None:
    """--check-config: 0 when it could be served, else the code that serving would end with."""
    assert run("--check-config", "shapes:app").returncode == 0
    assert run("--check-config", "broken_import:app").returncode == 4
    assert run("--check-config", "shapes:app", "--threads", "x").returncode == 2


def test_web_concurrency_sets_the_workers(serve: Serve) -> None:
    """$WEB_CONCURRENCY, which platforms set; the command line is stronger."""
    serve(workers=None, env={"WEB_CONCURRENCY": "3"}).wait_workers(3)
    serve(workers=2, env={"WEB_CONCURRENCY": "3"}).wait_workers(2)


def test_stdserve_variables_are_stronger_than_the_platforms(serve: Serve) -> None:
    """$STDSERVE_WORKERS over $WEB_CONCURRENCY."""
    serve(workers=None, env={"WEB_CONCURRENCY": "3", "STDSERVE_WORKERS": "2"}).wait_workers(2)


def test_port_is_listened_on_at_every_address(serve: Serve, free_port: Callable[[], int]) -> None:
    """$PORT, which platforms set, means 0.0.0.0."""
    port = free_port()
    server = serve(bind=None, env={"PORT": str(port)})
    server.log.wait(rf":{port}\b")
    for address in ("127.0.0.1", "127.0.0.2"):
        with Client((address, port)) as client:
            assert client.ask("/hello").status == 200


def test_there_are_as_many_workers_as_cpus(serve: Serve) -> None:
    """Without any other word: the CPUs that the process may use."""
    serve(workers=None).wait_workers(len(os.sched_getaffinity(0)))
    serve(workers=None, wrapper=["taskset", "-c", str(min(os.sched_getaffinity(0)))]).wait_workers(1)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_cpu_quota_bounds_the_workers(serve: Serve, tmp_path: Path, version: str) -> None:
    """cgroup v1 and v2: half a CPU is one worker, however many CPUs there are."""
    if version == "v2":
        groups, files = "0::/box\n", {"cpu.max": "50000 100000"}
        folder = tmp_path / "box"
    else:
        groups, files = "4:cpu,cpuacct:/box\n", {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}
        folder = tmp_path / "cpu,cpuacct" / "box"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    (tmp_path / "groups").write_text(groups)
    script = 'mount --bind "$0" /sys/fs/cgroup && mount --bind "$0/groups" /proc/$$/cgroup && exec "$@"'
    within = ["unshare", "--mount", "sh", "-c", script, str(tmp_path)]
    if subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("needs root: files are mounted over /proc/PID/cgroup and /sys/fs/cgroup")
    server = serve(workers=None, wrapper=within)
    assert server.get("/hello").status == 200
    server.wait_workers(1)
    server.log.wait(r"\b1 worker\b")


def test_several_addresses_at_once(serve: Serve, short_path: Path) -> None:
    """TCP of both families, and a Unix socket with its mode."""
    path = short_path / "socket"
    server = serve("shapes:app", "--bind", "[::1]:0", "--bind", f"unix:{path}", unix_mode="600")
    six = server.log.wait(r"http://\[::1\]:([0-9]+)\b[^0-9]")
    server.log.wait(re.escape(str(path)))
    assert path.stat().st_mode & 0o777 == 0o600
    for address in (server.address, ("::1", int(six[1])), str(path)):
        with Client(address) as client:
            assert client.ask("/hello").status == 200
    assert server.stop() == 0
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_a_living_one_is_not(serve: Serve, short_path: Path) -> None:
    """What a killed server left behind is no reason not to start."""
    path = short_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = serve(bind=f"unix:{path}")
    server.log.wait(re.escape(str(path)))
    with Client(str(path)) as client:
        assert client.ask("/hello").status == 200
    assert run("--bind", f"unix:{path}", "shapes:app").returncode == 5
    with Client(str(path)) as client:
        assert client.ask("/hello").status == 200


def test_as_a_module() -> None:
    """`python -m stdserve` is the command."""
    ended = subprocess.run(
        [sys.executable, "-m", "stdserve", "--version"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0
    assert ended.stdout.startswith("stdserve ")


def test_a_module_named_like_a_verb_is_served_by_serve(serve: Serve, tmp_path: Path) -> None:
    """A known verb wins over a module of that name; `stdserve serve NAME` is the escape."""
    (tmp_path / "completions.py").write_text((APPS / "selfcall.py").read_text())
    server = serve(None, "serve", "completions:app", cwd=tmp_path)
    assert server.get("/").text == "plain"
