"""Configuration files in Python: settings taken over, functions called where and when they should be."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.gate import Gate
from support.serving import Serve, Served, run_command
from support.waiting import until

#: Each function notes its name, its process and what it was given.
HOOKS = """
import os

def note(name, *what):
    with open(os.environ["NOTES"], "a") as file:
        file.write(" ".join([name, str(os.getpid()), *map(str, what)]) + "\\n")

def on_starting(server): note("on_starting", server.pid)
def on_reload(server): note("on_reload", server.pid)
def when_ready(server): note("when_ready", server.pid)
def nworkers_changed(server, new, old): note("nworkers_changed", new, old)
def pre_fork(server, worker): note("pre_fork", worker.age)
def post_fork(server, worker): note("post_fork", worker.pid, worker.age)
def post_worker_init(worker): note("post_worker_init", worker.wsgi.__name__)
def worker_int(worker): note("worker_int", worker.pid)
def worker_exit(server, worker): note("worker_exit", worker.pid)
def child_exit(server, worker): note("child_exit", worker.pid)
def on_exit(server): note("on_exit", server.pid)
"""

REQUESTS = """
def pre_request(worker, req):
    if req.path == "/refused":
        raise ValueError("not that")
    note("pre_request", req.method, req.path, req.query, dict(req.headers)["X-A"], req.version)

def post_request(worker, req, environ, resp):
    note("post_request", req.path, environ["PATH_INFO"], resp.status, resp.status_code, resp.sent)
    if req.path == "/fails":
        raise ValueError("too late")
"""


class Notes:
    """What the functions have noted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, name: str = "") -> list[list[str]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [line.split() for line in text.splitlines() if line.startswith(name)]

    def names(self) -> list[str]:
        return [line[0] for line in self.lines()]

    def wait(self, name: str, count: int = 1) -> list[list[str]]:
        def enough() -> list[list[str]]:
            found = self.lines(name)
            return found if len(found) >= count else []

        return until(enough, f"{count} of {name}")


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


def start(serve: Serve, notes: Notes, text: str, name: str = "gunicorn.conf.py", **options: object) -> Served:
    (notes.path.parent / name).write_text(text)
    env = {"NOTES": str(notes.path)}
    return serve("shapes:app", cwd=notes.path.parent, env=env, **options)  # type: ignore[arg-type]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, cwd=folder, env={"NOTES": str(folder / "notes")})


def test_functions_are_called_in_their_processes_in_gunicorn_s_order(serve: Serve, notes: Notes) -> None:
    server = start(serve, notes, HOOKS, workers=2, threads=2)
    assert server.get("/hello").status == 200
    notes.wait("post_worker_init", 2)
    (template,) = server.templates()
    workers = server.wait_workers(2)
    assert notes.names()[:3] == ["nworkers_changed", "on_starting", "when_ready"]
    assert notes.lines("nworkers_changed") == [["nworkers_changed", str(template), "2", "None"]]
    for name in ("on_starting", "when_ready"):
        assert notes.lines(name) == [[name, str(template), str(server.pid)]]
    assert [line[1:] for line in notes.lines("pre_fork")] == [[str(template), "1"], [str(template), "2"]]
    forked = notes.lines("post_fork")
    assert sorted(int(line[1]) for line in forked) == workers
    assert all(line[1] == line[2] for line in forked)
    assert sorted(line[3] for line in forked) == ["1", "2"]
    assert [line[2] for line in notes.lines("post_worker_init")] == ["app", "app"]
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    ended = sorted(int(line[2]) for line in notes.lines("child_exit"))
    assert ended == workers
    assert sorted(int(line[1]) for line in notes.lines("worker_exit")) == workers
    assert notes.lines()[-1] == ["on_exit", str(template), str(server.pid)]
    assert not notes.lines("worker_int")
    assert str(server.pid) not in {line[1] for line in notes.lines()}


def test_workers_that_stop_at_once_are_told(serve: Serve, notes: Notes) -> None:
    server = start(serve, notes, HOOKS, workers=1, threads=2)
    (worker,) = server.wait_workers(1)
    notes.wait("post_worker_init")
    server.get("/hello")
    server.signal(signal.SIGINT)
    server.wait_exit()
    assert notes.lines("worker_int") == [["worker_int", str(worker), str(worker)]]
    assert notes.names()[-1] == "on_exit"


def test_a_request_that_takes_too_long_is_told_of(serve: Serve, notes: Notes, gate: Gate) -> None:
    text = HOOKS + "def worker_abort(worker): note('worker_abort', worker.pid, worker.aborted)\n"
    (notes.path.parent / "gunicorn.conf.py").write_text(text)
    env = {"NOTES": str(notes.path)}
    server = serve("shapes:app", cwd=notes.path.parent, env=env, threads=2, timeout="200ms")
    (worker,) = server.wait_workers(1)
    assert server.get("/wait?name=late").status == 504
    assert notes.wait("worker_abort") == [["worker_abort", str(worker), str(worker), "True"]]
    gate.open("late")


def test_a_worker_that_dies_is_told_of_in_the_template(serve: Serve, notes: Notes) -> None:
    server = start(serve, notes, HOOKS, workers=1, threads=2)
    server.get("/hello")
    (worker,) = server.wait_workers(1)
    os.kill(worker, signal.SIGKILL)
    assert notes.wait("child_exit") == [["child_exit", str(server.templates()[0]), str(worker)]]
    assert notes.wait("post_fork", 2)[1][3] == "2"


def test_a_reload_reads_the_file_again(serve: Serve, notes: Notes) -> None:
    server = start(serve, notes, HOOKS + "workers = 1\nthreads = 2\n", workers=None)
    server.get("/hello")
    first = server.templates()
    changed = HOOKS.replace("on_reload(server): note(", "on_reload(server): note('again', ")
    (notes.path.parent / "gunicorn.conf.py").write_text(changed + "workers = 2\nthreads = 2\n")
    server.signal(signal.SIGHUP)
    (line,) = notes.wait("again")
    assert line[0] == "again"
    assert int(line[1]) not in first
    server.wait_workers(2)
    assert len(notes.lines("on_starting")) == 1


def test_a_reload_with_a_broken_file_changes_nothing(serve: Serve, notes: Notes) -> None:
    server = start(serve, notes, HOOKS + "threads = 2\n", workers=1)
    server.get("/hello")
    (worker,) = server.wait_workers(1)
    (notes.path.parent / "gunicorn.conf.py").write_text("workers = nothing\n")
    server.signal(signal.SIGHUP)
    server.log.wait("NameError: name 'nothing' is not defined")
    assert server.get("/hello").status == 200
    assert server.workers() == [worker]


def test_the_number_of_workers_is_told(serve: Serve, notes: Notes) -> None:
    server = start(serve, notes, HOOKS, workers=1, threads=2)
    server.get("/hello")
    server.signal(signal.SIGTTIN)
    lines = notes.wait("nworkers_changed", 2)
    assert lines[1][2:] == ["2", "1"]
    server.wait_workers(2)


def test_functions_stand_around_requests(serve: Serve, notes: Notes) -> None:
    server = start(serve, notes, HOOKS + REQUESTS, workers=1, threads=2)
    answer = server.get("/hello?n=1", fields=[("X-A", "b")])
    assert answer.status == 200
    assert notes.wait("pre_request") == [
        ["pre_request", notes.lines("post_fork")[0][1], "GET", "/hello", "n=1", "b", "(1,", "1)"]
    ]
    (line,) = notes.wait("post_request")
    assert line[2:] == ["/hello", "/hello", "200", "OK", "200", str(len(answer.body))]
    refused = server.get("/refused", fields=[("X-A", "b")])
    assert refused.status == 500
    server.log.wait(r"GET /refused: pre_request failed\n(.*\n)*ValueError: not that")
    assert server.get("/fails", fields=[("X-A", "b")]).status == 404
    server.log.wait(r"Exception in post_request hook\n(.*\n)*ValueError: too late")
    assert server.get("/hello", fields=[("X-A", "b")]).status == 200


def test_the_log_is_the_server_s(serve: Serve, notes: Notes) -> None:
    text = """
def when_ready(server):
    server.log.info("ready with %d, %s", server.cfg.workers, server.cfg.keepalive)
def post_worker_init(worker):
    try:
        1 / 0
    except ZeroDivisionError:
        worker.log.exception("in %s", worker.age)
def post_request(worker, req):
    worker.log.warning("served")
workers = 1
threads = 3
keepalive = 7
"""
    server = start(serve, notes, text, workers=None)
    server.get("/hello")
    server.log.wait(r"\[\d+\] info: ready with 1, 7\n")
    server.log.wait(r"error: in 1\nTraceback(.*\n)*ZeroDivisionError")
    server.log.wait("warning: served")


@pytest.mark.parametrize("hook", ["on_starting", "when_ready", "post_fork", "post_worker_init"])
def test_a_function_that_fails_at_the_start_ends_it(notes: Notes, hook: str) -> None:
    arguments = "server, worker" if hook == "post_fork" else "it"
    folder = notes.path.parent
    (folder / "stdserve_conf.py").write_text(f"def {hook}({arguments}):\n    raise LookupError('no luck')\n")
    ended = run(folder, "--bind", "127.0.0.1:0", "-w1", "shapes:app")
    assert ended.returncode == 4
    assert f"{hook} failed" in ended.stderr
    assert "LookupError: no luck" in ended.stderr


def test_a_function_that_fails_later_is_logged(serve: Serve, notes: Notes) -> None:
    text = (
        "def pre_fork(server, worker):\n    raise LookupError('before')\n"
        "def child_exit(server, worker):\n    1 / 0\n"
    )
    server = start(serve, notes, text, workers=1, threads=2)
    assert server.get("/hello").status == 200
    server.log.wait(r"pre_fork failed\n(.*\n)*LookupError: before")
    os.kill(server.wait_workers(1)[0], signal.SIGKILL)
    server.log.wait(r"child_exit failed\n(.*\n)*ZeroDivisionError")
    assert server.get("/hello").status == 200


def test_the_application_is_preloaded_before_the_start_as_gunicorn_does(serve: Serve, notes: Notes) -> None:
    (notes.path.parent / "shop.py").write_text(
        "from __config__ import note\nnote('imported')\nfrom shapes import app\n"
    )
    (notes.path.parent / "gunicorn.conf.py").write_text(HOOKS + "preload_app = True\nthreads = 2\n")
    env = {"NOTES": str(notes.path)}
    server = serve("shop:app", cwd=notes.path.parent, env=env)
    assert server.get("/hello").status == 200
    assert notes.names()[:4] == ["nworkers_changed", "imported", "on_starting", "when_ready"]


SETTINGS = """
import multiprocessing
from pathlib import Path

_half = multiprocessing.cpu_count() // 2
name = "127.0.0.1"
bind = f"{name}:0"
workers = 1 + 1
threads = 3
worker_class = "gthread"
timeout = 45
graceful_timeout = 11
keepalive = 4
max_requests = 0
accesslog = "access.log"
loglevel = "debug"
limit_request_fields = 40
forwarded_allow_ips = "10.0.0.1"
raw_env = ["SHOP=open"]
wsgi_app = "shop:app"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
statsd_host = "localhost:8125"
worker_tmp_dir = Path("/dev/shm")
proxy_protocol = False
def ssl_context(config, factory):
    return factory()
"""


def test_a_real_gunicorn_file_is_read_as_it_is(serve: Serve, notes: Notes) -> None:
    folder = notes.path.parent
    (folder / "gunicorn.conf.py").write_text(SETTINGS)
    (folder / "shop.py").write_text(
        "import os\ndef app(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [os.environ['SHOP'].encode()]\n"
    )
    server = serve(None, cwd=folder, bind=None, workers=None)
    assert server.get("/").text == "open"
    server.log.wait("Serving +2 workers . 3 threads")
    for name in ("secure_scheme_headers", "statsd_host", "worker_tmp_dir", "ssl_context"):
        server.log.wait(rf"warning: gunicorn\.conf\.py:\d+: {name}: ")
    assert "proxy_protocol" not in server.log.text
    assert "gunicorn.conf.py:6" not in server.log.text
    until(lambda: (folder / "access.log").exists(), "the access log is written")


def test_print_config_names_the_file_and_its_lines(notes: Notes) -> None:
    folder = notes.path.parent
    (folder / "gunicorn.conf.py").write_text(SETTINGS)
    ended = run(folder, "--print-config", "--workers", "5")
    lines = [line.split("#") for line in ended.stdout.splitlines()]
    found = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
    assert found["workers = 5"] == "--workers"
    assert found["threads = 3"] == "gunicorn.conf.py:9"
    assert found['graceful-timeout = "11s"'] == "gunicorn.conf.py:12"
    assert "# gunicorn.conf.py:22: statsd_host: " in ended.stdout
    assert ended.returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers = 'many'\n", "gunicorn.conf.py:1: workers: `many` is not a whole number"),
        ("import nothing_of_the_kind\n", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("workers = = 2\n", "SyntaxError"),
        ("def post_fork(server): pass\n", "TypeError: post_fork is called with 2 arguments"),
        ("import os\nos._exit(7)\n", "the process that ran it ended with code 7"),
        ("raise SystemExit(1)\n", "SystemExit: 1"),
    ],
)
def test_a_wrong_file_is_an_error_of_use(notes: Notes, text: str, said: str) -> None:
    folder = notes.path.parent
    (folder / "gunicorn.conf.py").write_text(text)
    ended = run(folder, "--bind", "127.0.0.1:0", "shapes:app")
    assert ended.returncode == 2
    assert said in ended.stderr, ended.stderr


def test_the_supervisor_never_runs_the_file(serve: Serve, notes: Notes) -> None:
    text = (
        "import os\nwith open(os.environ['NOTES'], 'a') as file:\n"
        "    file.write(f'ran {os.getpid()}\\n')\nthreads = 2\n"
    )
    server = start(serve, notes, text, workers=1)
    server.get("/hello")
    server.signal(signal.SIGHUP)
    lines = notes.wait("ran", 4)
    assert str(server.pid) not in {line[1] for line in lines}
