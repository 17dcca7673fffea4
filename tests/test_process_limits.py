"""Who workers run as, and what they may use."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from support import proc
from support.serving import Serve, Served
from support.waiting import until

root = pytest.mark.skipif(os.getuid() != 0, reason="only root may change users")


def facts(server: Served, target: str = "/") -> dict[str, Any]:
    """What a worker says of itself."""
    answer = server.get(target)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


@root
@pytest.mark.timeout(1000)
def test_workers_run_as_another_user_and_the_supervisor_does_not(
    serve: Serve, short_path: Path, binary: str
) -> None:
    """With all groups of that user; logs and sockets are made for it."""
    nobody = pwd.getpwnam("nobody")
    short_path.chmod(0o755)
    logs = short_path / "logs"
    logs.mkdir()
    error, access = logs / "error.log", logs / "access.log"
    server = serve(
        str(short_path),
        "files",
        program=[binary],
        user="nobody",
        error_logfile=str(error),
        access_logfile=str(access),
        bind=f"unix:{short_path}/s",
        unix_mode="600",
    )
    until(lambda: error.exists() and "is ready" in error.read_text(), "it is ready")
    (worker,) = server.workers()
    (template,) = server.templates()
    for pid in (worker, template):
        text = Path(f"/proc/{pid}/status").read_text()
        ids = re.search(r"^Uid:\s+(.*)\nGid:\s+(.*)\n(?:.*\n)*?Groups:(.*)$", text, re.MULTILINE)
        assert ids
        assert set(ids[1].split()) == {str(nobody.pw_uid)}
        assert set(ids[2].split()) == {str(nobody.pw_gid)}
        assert set(map(int, ids[3].split())) == set(os.getgrouplist("nobody", nobody.pw_gid))
    assert "Uid:\t0\t0\t0\t0" in Path(f"/proc/{server.pid}/status").read_text()
    for path in (error, access, short_path / "s"):
        assert path.stat().st_uid == nobody.pw_uid, path
    # A log that was moved away is made anew for that user, too.
    access.rename(logs / "old.log")
    server.signal(signal.SIGUSR1)
    until(lambda: access.exists() and access.stat().st_uid == nobody.pw_uid, "the log is there again")


@root
def test_a_group_by_its_number_and_a_umask(serve: Serve) -> None:
    """Without a user the group alone changes."""
    found = facts(serve("inside:app", group="4242", umask="027"))
    assert (found["uid"], found["gid"], found["groups"]) == ([0, 0, 0], [4242] * 3, [4242])
    assert found["umask"] == 0o027


@root
@pytest.mark.timeout(1000)
def test_a_template_of_another_user_ends_with_its_supervisor(
    serve: Serve, short_path: Path, binary: str
) -> None:
    """The kernel forgets the signal on the parent's death when the user changes: it is asked for again."""
    short_path.chmod(0o755)
    server = serve(str(short_path), "files", program=[binary], user="65534")
    server.wait_workers(1)
    (template,) = server.templates()
    server.signal(signal.SIGKILL)
    server.wait_exit()
    until(lambda: not proc.alive(template), "the template has ended")


@pytest.mark.parametrize(("option", "value"), [("user", "no-such-user"), ("group", "no-such-group")])
def test_nobody_of_that_name(serve: Serve, option: str, value: str) -> None:
    """An error of usage, which names the option."""
    chosen: dict[str, Any] = {option: value}
    server = serve("inside:app", **chosen)
    assert server.wait_exit() == 2
    assert f"--{option}" in server.log.wait_end()
    assert value in server.log.text


def test_limits_are_the_worker_s_alone(serve: Serve) -> None:
    """The supervisor and the template are not bounded."""
    server = serve(
        "inside:app", rlimit_as="3GiB", rlimit_cpu="90m", rlimit_nofile=200, rlimit_core=0, threads=2
    )
    limits = facts(server)["limits"]
    assert limits["RLIMIT_AS"] == [3 << 30] * 2
    assert limits["RLIMIT_CPU"] == [5400, 5410]
    assert limits["RLIMIT_NOFILE"] == [200, 200]
    assert limits["RLIMIT_CORE"] == [0, 0]
    for pid in (server.pid, *server.templates()):
        text = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max cpu time\s+unlimited", text)
        assert "5410" not in text


def test_memory_that_cannot_be_had_is_an_answer_of_500(serve: Serve) -> None:
    """The worker goes on."""
    server = serve("inside:app", rlimit_as="2GiB", threads=2)
    worker = facts(server)["pid"]
    assert server.get("/memory").status == 500
    server.log.wait("MemoryError")
    assert facts(server)["pid"] == worker


def test_descriptors_that_run_out_delay_connections(serve: Serve) -> None:
    """The worker stops accepting until some are closed, and says so; nobody is refused."""
    server = serve("inside:app", rlimit_nofile=128, threads=2)
    with server.client() as kept:
        assert kept.ask("/").status == 200
        free = 128 - len(os.listdir(f"/proc/{server.workers()[0]}/fd"))
        assert kept.ask(f"/files?{free}").status == 200
        with server.client() as waiting:
            waiting.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.ask("/close").status == 200
            assert waiting.read().status == 200


def test_processor_time_that_is_used_up_has_the_worker_replaced(serve: Serve) -> None:
    """The request that used it is answered; the log says where each thread was."""
    server = serve("inside:app", rlimit_cpu="1s", threads=2)
    first = facts(server)["pid"]
    assert facts(server, "/spin")["pid"] == first
    server.log.wait("rlimit-cpu")
    server.log.wait("stacks of all threads")
    until(lambda: server.workers() not in ([first], []), "another worker")
    until(lambda: not proc.alive(first), "the first one has left")
    assert facts(server)["pid"] != first
