"""Logs that cannot be written, that are moved away, that are JSON, and what Python's `logging` is told."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from support import proc
from support.disks import fill
from support.lossless import SteadyLoad
from support.serving import Serve
from support.waiting import until
from support.wire import Client

NOTICE = re.compile(r"^stdserve: (\d+) log lines were not written$", re.MULTILINE)


def said(text: str) -> int:
    """How many lines the notices of a log say are missing."""
    return sum(int(count) for count in NOTICE.findall(text))


def test_a_full_disk_does_not_stop_serving(serve: Serve, small_disk: Path) -> None:
    """What is lost is counted, and said once there is room."""
    access, errors = small_disk / "access", small_disk / "errors"
    server = serve("shapes:app", "--access-logfile", str(access), "--log-format", "text")
    assert server.get("/hello").status == 200
    until(lambda: access.read_bytes().count(b"\n") == 1, "the first line")
    filler = fill(small_disk)
    for _ in range(300):
        assert server.get("/hello?" + "x" * 100).status == 200
    filler.unlink()
    until(lambda: said(access.read_text()) > 0, "that lines were lost")
    assert server.stop() == 0
    text = access.read_text()
    whole = [
        line for line in text.splitlines() if line.startswith("127.0.0.1 - - [") and '"GET /hello' in line
    ]
    # The line at which the disk became full is cut.
    assert len(whole) + said(text) in (301, 302), text[:2000]
    assert not errors.exists()


def test_closed_pipes_do_not_stop_serving(serve: Serve, tmp_path: Path, short_path: Path) -> None:
    """Of either log; who reads again is told how much was lost."""
    pipes = [tmp_path / "access", tmp_path / "errors"]
    address = short_path / "socket"
    for pipe in pipes:
        os.mkfifo(pipe)
    readers = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in pipes]
    server = serve("shapes:app", access_logfile=pipes[0], error_logfile=pipes[1], bind=f"unix:{address}")
    until(lambda: proc.listens(address), "the socket")

    def ask(target: str) -> int:
        with Client(str(address)) as client:
            return client.ask(target).status

    assert ask("/hello") == 200
    for reader in readers:
        os.close(reader)
    for _ in range(20):
        assert (ask("/hello"), ask("/boom")) == (200, 500)
    readers = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in pipes]
    texts = ["", ""]

    def told(at: int) -> bool:
        with suppress(BlockingIOError):
            texts[at] += os.read(readers[at], 1 << 16).decode()
        return said(texts[at]) > 0

    for at in (0, 1):
        until(lambda at=at: told(at), "that lines were lost")  # type: ignore[misc]
    for reader in readers:
        os.close(reader)
    assert server.stop() == 0


def test_a_pipe_that_nobody_reads_does_not_stop_the_supervisor(serve: Serve, short_path: Path) -> None:
    """Nor a worker: a full pipe is as a full disk."""
    pipe, address = short_path / "errors", short_path / "socket"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = serve("shapes:app", error_logfile=pipe, bind=f"unix:{address}", workers=1)
    until(lambda: proc.listens(address), "the socket")
    for _ in range(80):
        with Client(str(address)) as client:
            assert client.ask("/boom?" + "x" * 2000).status == 500
    first = server.wait_workers(1)
    server.signal(signal.SIGHUP)
    until(lambda: (now := server.workers()) and now != first, "a new worker")
    assert server.stop() == 0
    os.close(reader)


def test_no_line_is_lost_when_logs_are_moved_under_load(serve: Serve, tmp_path: Path) -> None:
    """Rename and SIGUSR1, as logrotate does it."""
    access = tmp_path / "access"
    server = serve("steady_app:app", "--access-logfile", str(access), workers=2)
    with SteadyLoad(server, rate=500) as load:
        for number in range(5):
            load.wait(200)
            access.rename(tmp_path / f"access.{number}")
            server.signal(signal.SIGUSR1)
            until(access.exists, "the new file")
        load.wait(200)
    counts = load.end()
    assert server.stop() == 0
    text = "".join(file.read_text() for file in tmp_path.glob("access*"))
    assert counts.lost == 0
    assert text.count("\n") == counts.good
    assert all(line.count('"') == 6 for line in text.splitlines()), "lines are whole"


def test_the_error_log_as_json(serve: Serve, tmp_path: Path, short_path: Path) -> None:
    """Every line is an object: the supervisor's, the start-up lines, tracebacks with their request's id."""
    errors, address = tmp_path / "errors", short_path / "socket"
    server = serve("shapes:app", log_format="json", error_logfile=errors, bind=f"unix:{address}")
    until(lambda: proc.listens(address), "the socket")
    with Client(str(address)) as client:
        assert client.ask("/boom", fields=[("X-Request-Id", "given-1")]).status == 500
    until(lambda: "boom as asked" in errors.read_text(), "the traceback")
    assert server.stop() == 0
    records = [json.loads(line) for line in errors.read_text().splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", record["timestamp"]) for record in records)
    failed = next(record for record in records if "Traceback" in record["body"])
    assert (failed["severity_text"], failed["severity_number"]) == ("ERROR", 17)
    assert failed["stdserve.request_id"] == "given-1"
    assert failed["body"].startswith("error in GET /boom\nTraceback")
    first = records[0]
    assert (first["severity_text"], first["process.pid"]) == ("INFO", server.pid)
    assert "is ready" in first["body"]
    assert any("ending" in record["body"] for record in records)


APPLICATION = """
import logging, warnings
loaded = logging.getLogger("shop").getEffectiveLevel()
def app(environ, start_response):
    logging.getLogger("shop").info("sold %s", environ["QUERY_STRING"])
    logging.getLogger("gunicorn.error").info("not from the server")
    start_response("200 OK", [])
    return [str(loaded).encode()]
"""

INI = """
[loggers]
keys=root,shop
[handlers]
keys=file
[formatters]
keys=plain
[logger_root]
level=WARNING
handlers=
[logger_shop]
level=INFO
handlers=file
qualname=shop
[handler_file]
class=FileHandler
formatter=plain
args=("%(here)s/shop.log",)
[formatter_plain]
format=%(name)s: %(message)s
"""


@pytest.mark.parametrize("kind", ["ini", "json", "dict", "conf"])
def test_python_s_logging_is_configured(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Before the application is imported; its lines go where they are configured to, the server's do not."""
    (tmp_path / "shop_app.py").write_text(APPLICATION)
    wanted = {
        "version": 1,
        "formatters": {"plain": {"format": "%(name)s: %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "formatter": "plain",
                "filename": str(tmp_path / "shop.log"),
            }
        },
        "loggers": {"shop": {"level": "INFO", "handlers": ["file"]}},
    }
    (tmp_path / "log.ini").write_text(INI)
    (tmp_path / "log.json").write_text(json.dumps(wanted))
    (tmp_path / "conf.py").write_text(f"logconfig_dict = {wanted!r}\n")
    arguments = {
        "ini": ["--log-config", str(tmp_path / "log.ini")],
        "json": ["--log-config-json", str(tmp_path / "log.json")],
        "dict": ["--log-config-dict", json.dumps(wanted)],
        "conf": ["--config", str(tmp_path / "conf.py")],
    }[kind]
    server = serve("shop_app:app", *arguments, cwd=tmp_path)
    assert server.get("/?apples").text == "20"
    assert server.stop() == 0
    assert (tmp_path / "shop.log").read_text() == "shop: sold apples\n"
    assert "sold" not in server.log.wait_end()


def test_a_configuration_of_logging_that_is_wrong_is_said(serve: Serve, tmp_path: Path) -> None:
    """With the code of an application that cannot be loaded."""
    (tmp_path / "wrong.json").write_text("[")
    server = serve("shapes:app", "--log-config", str(tmp_path / "wrong.json"))
    assert server.wait_exit() == 4
    said = server.log.wait_end()
    assert "Python's logging cannot be configured" in said
    assert "JSONDecodeError" in said


def test_a_configuration_of_logging_that_is_not_there_is_said_without_a_traceback(
    serve: Serve, tmp_path: Path
) -> None:
    """As any other file that an option names is."""
    missing = tmp_path / "missing.ini"
    server = serve("shapes:app", "--log-config", str(missing))
    assert server.wait_exit() == 2
    assert server.log.wait_end().startswith(f"error: --log-config: {missing}: No such file or directory")
