"""The wire fixtures over a real socket: each file whole, and in pieces of one byte.

The Rust tests of `proto` run the same files in memory; here the whole server is in between. The format is
described in tests/wire/README.md.
"""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from support.serving import Served, options
from support.wire import Client, Closed, Response

FOLDER = Path(__file__).with_name("wire")
NAMES = sorted(file.stem for file in FOLDER.glob("*.http"))
OPTIONS = {
    "request_line": "limit_request_line",
    "fields": "limit_request_fields",
    "field_size": "limit_request_field_size",
}


@pytest.fixture(scope="module")
def server_with() -> Iterator[Callable[[dict[str, int]], Served]]:
    """One server for all fixtures of the same limits."""
    running: dict[str, Served] = {}

    def start(limits: dict[str, int]) -> Served:
        chosen = {OPTIONS[name]: value for name, value in limits.items()}
        key = str(chosen)
        if key not in running:
            chosen.update(workers=1, keep_alive=30)
            running[key] = Served("seen:app", options(chosen))
        return running[key]

    yield start
    for server in running.values():
        server.clean_up()


#: What `proto` accepts and the server refuses: the fixtures know nothing of its options, nor of WSGI.
SERVER = {"length-largest": 413, "target-authority": 501}


def latin(text: str) -> bytes:
    """A string of a fixture: a character stands for the byte of that number."""
    return text.encode("latin-1")


def check(wanted: dict[str, Any], answer: Response) -> None:
    """The application saw the request as the fixture says."""
    assert answer.status == 200
    due = [[], [100]] if wanted.get("expects_continue") else [[]]
    assert answer.interim in due
    assert answer.closes is not wanted["keep_alive"]
    if wanted["version"] == "1.0" and wanted["keep_alive"]:
        assert (answer.get("Connection") or "").lower() == "keep-alive"
    if wanted["method"] == "HEAD":
        return
    said = json.loads(answer.body)
    environ = said["environ"]
    assert environ["REQUEST_METHOD"] == wanted["method"]
    if wanted["method"] != "CONNECT":
        assert environ["PATH_INFO"] == unquote_to_bytes(latin(wanted["path"])).decode("latin-1")
    assert environ.get("QUERY_STRING", "") == wanted["query"]
    assert environ["SERVER_PROTOCOL"] == f"HTTP/{wanted['version']}"
    assert environ.get("HTTP_HOST") == wanted.get("host")
    assert bytes.fromhex(said["body"]) == latin(wanted["body"])
    codings = environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    assert all(coding.lower() in codings for coding in wanted.get("codings", []))
    if "fields" in wanted:
        check_fields(wanted["fields"], environ)


def check_fields(fields: list[list[str]], environ: dict[str, str]) -> None:
    """Each field under its CGI name, repeated ones joined, and no other."""
    together: dict[str, list[str]] = {}
    for name, value in fields:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        together.setdefault(key, []).append(value)
    framing = ("HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH", "HTTP_HOST", "HTTP_CONNECTION")
    for key, values in together.items():
        if key not in framing:
            assert environ[key] in (",".join(values), ", ".join(values), "; ".join(values))
    assert {key for key in environ if key.startswith("HTTP_")} <= {*together, *framing}


@pytest.mark.parametrize("piece", [0, 1], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", NAMES)
def test_fixture(server_with: Callable[[dict[str, int]], Served], name: str, piece: int) -> None:
    """Raw bytes in; the responses, what the application saw, and the state of the connection after that."""
    raw = (FOLDER / f"{name}.http").read_bytes()
    case = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    if name in SERVER:
        case = {"refusal": {"status": SERVER[name]}}
    server = server_with(case.get("limits", {}))
    with server.client() as client:
        # A server that refuses, or closes, need not take the rest.
        with contextlib.suppress(OSError):
            client.send(raw, piece)
        for wanted in case.get("request", []):
            check(wanted, client.read(wanted["method"]))
        after(server, client, case)


def after(server: Served, client: Client, case: dict[str, Any]) -> None:
    """Nothing more than what is due comes, and the connection is in the state that is due."""
    if "refusal" in case:
        answer = client.read()
        assert (answer.status, answer.closes) == (case["refusal"]["status"], True)
        client.expect_end()
    elif case["then"] == "open":
        assert client.ask("/after").status == 200
    elif case["then"] == "close":
        client.expect_end()
    else:
        assert case["then"] == "incomplete"
        server.turn()
        assert not client.readable()
        client.half_close()
        try:
            said = client.rest()
        except Closed as end:
            said = end.after
        assert not said.startswith(b"HTTP/1.1 2")


def test_the_fixtures_are_there() -> None:
    """An empty folder would pass everything."""
    assert len(NAMES) > 200
