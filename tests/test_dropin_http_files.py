"""`SimpleHTTPRequestHandler` beyond CPython's own tests: parts of files, links, the command."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from stdserve.http import server
from stdserve.http.server import (
    HTTPServer,
    SimpleHTTPRequestHandler,
)

from support.dropin import connect, read_response, running, tls
from support.waiting import PATIENCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files to serve."""
    (tmp_path / "digits.txt").write_bytes(b"0123456789")
    (tmp_path / "unknown.zzz").write_bytes(b"?")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    return tmp_path


class Files(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def get(address: tuple[str, int], path: str, **fields: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One GET: status, fields, body."""
    connection = http.client.HTTPConnection(*address[:2], timeout=PATIENCE)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in fields.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, body


@pytest.mark.parametrize(
    ("value", "status", "body", "said"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("Bytes = 0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=\u0660-\u0663".encode().decode("latin-1"), 200, b"0123456789", None),
    ],
)
def test_parts_of_files(folder: Path, value: str, status: int, body: bytes, said: str | None) -> None:
    """One range is answered; what is not understood does not count (RFC 9110 14.2)."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        got = get(address, "/digits.txt", Range=value)
    assert (got[0], got[2], got[1]["Content-Range"]) == (status, body, said)
    assert got[1]["Content-Length"] == str(len(body))


def test_a_slash_may_be_encoded(folder: Path) -> None:
    """`%2f` at the end of a path is a slash: a folder, and no file (Python 3.14)."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert [get(address, path)[0] for path in ("/sub%2f", "/sub%2F", "/sub", "/digits.txt%2f")] == [
            200,
            200,
            301,
            404,
        ]


def test_if_range_decides_whether_a_part_is_sent(folder: Path) -> None:
    """The part only of the file that the client has the rest of (RFC 9110 13.1.5)."""
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        date = get(address, "/digits.txt")[1]["Last-Modified"]
        assert get(address, "/digits.txt", Range="bytes=0-0", If_Range=date)[0] == 206
        other = "Sun, 06 Nov 1994 08:49:37 GMT"
        assert get(address, "/digits.txt", Range="bytes=0-0", If_Range=other)[0] == 200
        assert get(address, "/digits.txt", Range="bytes=0-0", If_Range='"etag"')[0] == 200


def test_parts_of_files_can_be_switched_off(folder: Path) -> None:
    """`range_requests`."""

    class Whole(Files):
        range_requests = False

    with running(HTTPServer(("127.0.0.1", 0), partial(Whole, directory=folder))) as address:
        status, fields, body = get(address, "/digits.txt", Range="bytes=0-3")
    assert (status, body, fields["Accept-Ranges"]) == (200, b"0123456789", None)


def test_range_bombs_are_answered_with_one_file(folder: Path) -> None:
    """Thousands of ranges, overlapping or not, cost what the file costs."""
    many = "bytes=" + ",".join(f"{n % 10}-" for n in range(5000))
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert get(address, "/digits.txt", Range=many)[2] == b"0123456789"
        assert get(address, "/empty", Range="bytes=0-")[0] == 416


def test_extra_response_headers_of_3_15(folder: Path) -> None:
    """They stand in answers of 200, and never in the place of the server's own."""
    extra = [("X-One", "1"), ("X-One", "2"), ("Content-Type", "no/no"), ("Server", "no")]
    handler = partial(Files, directory=folder, extra_response_headers=extra)
    with running(HTTPServer(("127.0.0.1", 0), handler)) as address:
        for path in ("/digits.txt", "/"):
            fields = get(address, path)[1]
            assert fields.get_all("X-One") == ["1", "2"]
            assert "no/no" not in fields.get_all("Content-Type", [])
            assert fields.get_all("Server") != ["no"]
            assert len(fields.get_all("Server", [])) == 1
        assert get(address, "/nothing")[1]["X-One"] is None
        assert get(address, "/sub")[1]["X-One"] is None


def test_default_content_type_of_3_15(folder: Path) -> None:
    """The type of what no extension tells."""

    class Text(Files):
        default_content_type = "text/plain"

    with running(HTTPServer(("127.0.0.1", 0), partial(Text, directory=folder))) as address:
        assert get(address, "/unknown.zzz")[1]["Content-Type"] == "text/plain"


def test_index_pages_of_3_12(folder: Path) -> None:
    """`index_pages`, on every Python."""

    class Home(Files):
        index_pages = ("home.txt", "digits.txt")

    with running(HTTPServer(("127.0.0.1", 0), partial(Home, directory=folder))) as address:
        assert get(address, "/")[2] == b"0123456789"


def test_a_file_that_changes_its_length_keeps_the_framing(folder: Path) -> None:
    """What has grown is cut where it was said to end; what has shrunk ends the connection."""
    path = folder / "digits.txt"

    class Changing(Files):
        protocol_version = "HTTP/1.1"

        def copyfile(self, source: Any, outputfile: Any) -> None:
            os.truncate(path, 0)
            path.write_bytes(b"x" * (15 if self.path.endswith("grow") else 4))
            super().copyfile(source, outputfile)

    with running(HTTPServer(("127.0.0.1", 0), partial(Changing, directory=folder))) as address:
        with connect(address) as sock:
            sock.sendall(b"GET /digits.txt?grow HTTP/1.1\r\nHost: a\r\n\r\n")
            stream = sock.makefile("rb")
            assert read_response(stream)[2] == b"x" * 10
            sock.sendall(b"GET /digits.txt?shrink HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_response(stream)[1]["content-length"] == "15"
            assert stream.read() == b""


def test_pipes_and_folders_are_no_files(folder: Path) -> None:
    """A named pipe without a writer would hold up the open for ever."""
    os.mkfifo(folder / "pipe")
    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert get(address, "/pipe")[0] == 404
        assert get(address, "/digits.txt")[0] == 200


def test_links_lead_out_unless_told_otherwise(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`follow_symlinks`."""
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("secret")
    (folder / "link").symlink_to(outside)
    (folder / "inner").symlink_to("digits.txt")
    (folder / "up").symlink_to(outside.parent)

    class Inside(Files):
        follow_symlinks = False

    with running(HTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))) as address:
        assert get(address, "/link")[2] == b"secret"
    with running(HTTPServer(("127.0.0.1", 0), partial(Inside, directory=folder))) as address:
        assert [get(address, path)[0] for path in ("/link", "/up/secret", "/up/", "/inner")] == [
            404,
            404,
            404,
            200,
        ]


# The command


def command(*arguments: str, cwd: Path) -> tuple[subprocess.Popen[str], str]:
    """Starts `python -m stdserve.http.server`, and returns it with what it printed first."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "stdserve.http.server", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


def test_the_command_serves_a_folder_with_the_options_of_3_15(folder: Path) -> None:
    """Files, extra fields, a default type, an address."""
    process, greeting = command(
        *("--bind", "127.0.0.1", "--directory", str(folder), "--protocol", "HTTP/1.1"),
        *("-H", "X-A", "1", "--header", "X-B", "2", "--content-type", "text/plain", "0"),
        cwd=folder,
    )
    try:
        found = re.fullmatch(
            r"Serving HTTP on 127\.0\.0\.1 port (\d+) \(http://127\.0\.0\.1:\1/\) \.\.\.\n", greeting
        )
        assert found is not None, greeting
        status, fields, body = get(("127.0.0.1", int(found[1])), "/unknown.zzz")
        assert (status, body) == (200, b"?")
        assert (fields["X-A"], fields["X-B"], fields["Content-Type"]) == ("1", "2", "text/plain")
    finally:
        process.terminate()
        process.communicate()


def test_the_command_serves_over_tls(folder: Path, certificate: Path) -> None:
    """--tls-cert, of 3.14."""
    process, greeting = command("--bind", "127.0.0.1", "--tls-cert", str(certificate), "0", cwd=folder)
    try:
        found = re.match(r"Serving HTTPS on 127\.0\.0\.1 port (\d+) \(https://", greeting)
        assert found is not None, greeting
        with tls(("127.0.0.1", int(found[1]))) as sock:
            sock.sendall(b"GET /digits.txt HTTP/1.0\r\n\r\n")
            assert sock.makefile("rb").read().endswith(b"0123456789")
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tls-key", "x"], "--tls-key requires --tls-cert to be set"),
        (["--tls-password-file", "x"], "--tls-password-file requires --tls-cert to be set"),
        (["--tls-cert", "x", "--tls-password-file", "/nowhere"], "Failed to read TLS password file"),
        (["--unknown"], "unrecognized arguments: --unknown"),
        (["port"], "invalid int value"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage errors end with code 2 and say what was wrong."""
    with pytest.raises(SystemExit) as end:
        server._main(arguments)
    assert end.value.code == 2
    assert said in capsys.readouterr().err
