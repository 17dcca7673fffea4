"""Request ids: where they come from, and where they are told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.serving import Serve, Served
from support.waiting import until
from support.wire import request

MADE = re.compile(r"[0-9a-f]{32}")


def environ(server: Served, *fields: tuple[str, str]) -> dict[str, Any]:
    """What the application was handed."""
    found: dict[str, Any] = json.loads(server.get("/echo", fields).body)["environ"]
    return found


def test_ids_are_made_and_never_repeat(serve: Serve) -> None:
    """In all workers."""
    server = serve("shapes:app", workers=2)
    server.wait_workers(2)
    ids = [environ(server)["stdserve.request_id"] for _ in range(50)]
    assert all(MADE.fullmatch(one) for one in ids)
    assert len(set(ids)) == 50


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("abc-1/2+x=", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ('a"b', False),
        ("a b", False),
        ("é", False),
    ],
)
def test_a_trusted_peer_s_id_is_taken_over(serve: Serve, given: str, taken: bool) -> None:
    """If it can stand anywhere without being escaped."""
    said = environ(serve("shapes:app"), ("X-Request-Id", given))
    assert said["HTTP_X_REQUEST_ID"] == given
    assert (said["stdserve.request_id"] == given) == taken
    assert taken or MADE.fullmatch(said["stdserve.request_id"])


def test_others_are_not_believed(serve: Serve) -> None:
    """As with forwarded headers; the application sees what was sent all the same."""
    said = environ(serve("shapes:app", forwarded_allow_ips="192.0.2.1"), ("X-Request-Id", "forged"))
    assert said["HTTP_X_REQUEST_ID"] == "forged"
    assert MADE.fullmatch(said["stdserve.request_id"])


def test_one_id_everywhere(serve: Serve, tmp_path: Path) -> None:
    """In the environ, the answer, the access log and the error log."""
    access, errors = tmp_path / "access", tmp_path / "errors"
    server = serve(
        "shapes:app",
        *("--access-logfile", str(access), "--access-logformat", "%(U)s %({stdserve.request_id}e)s"),
        *("--error-logfile", str(errors), "--request-id-header", "X-Request-Id", "--bind", "127.0.0.1:0"),
        bind=None,
    )
    until(lambda: errors.exists() and "Address" in errors.read_text(), "the start-up lines")
    found = re.search(r"http://127\.0\.0\.1:(\d+)", errors.read_text())
    assert found
    server._address = ("127.0.0.1", int(found[1]))
    answer = server.get("/echo", [("X-Request-Id", "given")])
    assert answer.get("X-Request-Id") == "given"
    failed = server.get("/boom")
    made = failed.get("X-Request-Id")
    assert failed.status == 500
    assert made
    assert MADE.fullmatch(made)
    with server.client() as client:
        client.send(b"BROKEN\r\n\r\n")
        refused = client.read()
    assert refused.status == 400
    wanted = ["/echo given", f"/boom {made}", f"- {refused.get('X-Request-Id')}"]
    until(lambda: sorted(access.read_text().splitlines()) == sorted(wanted), "the lines of the access log")
    until(lambda: f"error in GET /boom (request {made})\nTraceback" in errors.read_text(), "the error's line")


def test_a_time_out_tells_its_id(serve: Serve) -> None:
    """To the client, and in the autopsy."""
    server = serve("late:app", "--request-id-header", "X-Id", timeout="150ms")
    answer = server.get("/turns", [("X-Request-Id", "given-7")])
    assert (answer.status, answer.get("X-Id")) == (504, "given-7")
    server.log.wait(r"request timed out: GET /turns from .* \(request given-7\)")
    server.log.wait("in request given-7, most recent call last")


def test_an_application_s_own_field_stays(serve: Serve) -> None:
    """The option does not add a second one."""
    server = serve("shapes:app", "--request-id-header", "content-TYPE")
    assert server.get("/hello").all("Content-Type") == ["text/plain"]


@pytest.mark.parametrize("name", ["a b", "Content-Length", "x:y"])
def test_a_name_that_is_no_header(serve: Serve, name: str) -> None:
    """Is said at once."""
    server = serve("shapes:app", "--request-id-header", name)
    assert server.wait_exit() == 2
    assert "--request-id-header" in server.log.wait_end()


def test_without_the_option_no_header_tells_it(serve: Serve) -> None:
    """The default."""
    with serve("shapes:app").client() as client:
        client.send(request(target="/hello", fields=[("X-Request-Id", "given")]))
        assert not any(name.lower() == "x-request-id" for name, _ in client.read().fields)
