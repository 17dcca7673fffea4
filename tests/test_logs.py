"""The access log and the error log of the command."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from support.serving import Serve
from support.waiting import until
from support.wire import Client

#: Each wants to write a line of its own.
FORGERIES = [
    b'GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: x"\t- forged\r\n\r\n',
    b"GET /hello?a=%0a127.0.0.1%20forged HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /hello\x1b[2J\n127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: a\r\nReferer: \xe2\x80\xa8forged\x85\r\n\r\n",
]


def ask_all(serve: Serve, *options: str) -> list[str]:
    """Sends the forgeries to a server with these options, and returns the lines that it has logged."""
    path = Path(options[1])
    server = serve("shapes:app", *options)
    for forgery in FORGERIES:
        with Client(server.address) as client:
            client.send(forgery)
            client.read()
    until(lambda: path.exists() and path.read_bytes().count(b"\n") >= len(FORGERIES), "the lines")
    assert server.stop() == 0
    raw = path.read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", raw)
    lines = raw.decode("latin-1").split("\n")[:-1]
    assert len(lines) == len(FORGERIES)
    return lines


def test_a_line_for_each_request_that_no_request_can_forge(serve: Serve, tmp_path: Path) -> None:
    """gunicorn's format; refused requests have their line too."""
    lines = ask_all(serve, "--access-logfile", str(tmp_path / "access"))
    assert all(re.match(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:[\d:]{8} \+0000\] "', line) for line in lines)
    # Those of other connections may overtake.
    statuses = sorted(re.search(r'" (\d{3}) ', line)[1] for line in lines)  # type: ignore[index]
    assert statuses == ["200", "200", "200", "400"]
    assert sum(r'"x\x22\x09- forged"' in line for line in lines) == 1


def test_json_is_an_object_a_line(serve: Serve, tmp_path: Path) -> None:
    """And a request that was quick has taken some time."""
    lines = ask_all(serve, "--access-logfile", str(tmp_path / "access"), "--access-logformat", "json")
    records = [json.loads(line) for line in lines]
    assert sorted(record["http.response.status_code"] for record in records) == [200, 200, 200, 400]
    assert [found for record in records if (found := record.get("user_agent.original"))] == ['x"\t- forged']
    answered = [record for record in records if record["http.response.status_code"] == 200]
    assert all(0 < record["http.server.request.duration"] < 60 for record in answered)


@pytest.mark.parametrize("option", ["--access-logfile", "--error-logfile"])
def test_a_log_that_cannot_be_opened_is_said_at_once(serve: Serve, option: str) -> None:
    """With the option's name, and code 2."""
    server = serve("shapes:app", option, "/nonexistent/log")
    assert server.wait_exit() == 2
    assert f"{option}: /nonexistent/log: " in server.log.wait_end()


def test_the_error_log_may_be_a_file(serve: Serve, tmp_path: Path) -> None:
    """What the server has to say goes there."""
    path = tmp_path / "errors"
    server = serve("shapes:app", "--error-logfile", str(path))
    until(lambda: path.exists() and "ready" in path.read_text(), "the start-up lines")
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "ending" in path.read_text()
    assert server.log.wait_end() == ""
