"""X-Sendfile and X-Accel-Redirect: files that an application has the server send."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import stdserve

from support.serving import Serve, Served
from support.waiting import until
from support.wire import Client, Response

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with files in it, and a secret beside it."""
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    (folder / "film.bin").write_bytes(CONTENT)
    (folder / "sub" / "a b.txt").write_text("small")
    (folder / "leads-out").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "media-of-others").mkdir()
    (tmp_path / "media-of-others" / "film.bin").write_text("secret")
    return folder


def start(serve: Serve, media: Path, *more: str) -> Served:
    """An application that may name what lies in the folder, in both ways."""
    note = media.parent / "closed"
    return serve(
        "hands_over:app",
        *more,
        env={"CLOSED_NOTE": str(note)},
        sendfile_root=media,
        accel_root=f"/protected={media}",
    )


def ask(server: Served, path: object, fields: tuple[tuple[str, str], ...] = (), **query: str) -> Response:
    """Have the application name this file."""
    return server.get("/?" + urlencode({"path": str(path), **query}), fields)


@pytest.mark.parametrize("shape", ["list", "generator", "iterable", "write", "empty"])
def test_the_file_takes_the_place_of_the_body(serve: Serve, media: Path, shape: str) -> None:
    """Whatever the application returns; its own fields stay, but for those that the file decides."""
    server = start(serve, media)
    answer = ask(server, media / "film.bin", shape=shape)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.get("Content-Length") == str(len(CONTENT))
    assert answer.get("Content-Type") == "text/x-own"
    assert (answer.get("X-Own"), answer.get("Set-Cookie")) == ("kept", "a=b")
    assert answer.get("ETag") not in (None, '"of the application"')
    assert answer.get("X-Sendfile") is None
    if shape == "iterable":
        # After the answer.
        until((media.parent / "closed").exists, "close()")


def test_ranges_and_conditions_are_the_servers(serve: Serve, media: Path) -> None:
    """As for a file that is served from a folder."""
    server = start(serve, media)
    part = ask(server, media / "film.bin", (("Range", "bytes=10-19"),))
    assert (part.status, part.body) == (206, CONTENT[10:20])
    whole = ask(server, media / "film.bin")
    same = ask(server, media / "film.bin", (("If-None-Match", whole.get("ETag") or ""),))
    assert (same.status, same.body) == (304, b"")
    with server.client() as client:
        head = client.ask("/?" + urlencode({"path": str(media / "film.bin")}), method="HEAD")
        assert (head.status, head.get("Content-Length")) == (200, str(len(CONTENT)))


def test_connections_go_on_after_a_file(serve: Serve, media: Path) -> None:
    """Small and large ones, one after the other."""
    server = start(serve, media)
    with server.client() as client:
        for path, size in [("film.bin", len(CONTENT)), ("sub/a b.txt", 5)] * 3:
            answer = client.ask("/?" + urlencode({"path": str(media / path)}))
            assert (answer.status, len(answer.body)) == (200, size)


def test_a_redirect_names_a_file_by_its_uri(serve: Serve, media: Path) -> None:
    """Decoded, and without its query, as nginx takes it."""
    server = start(serve, media)
    answer = ask(server, "/protected/sub/a%20b.txt?x=y", field="X-Accel-Redirect")
    assert (answer.status, answer.body) == (200, b"small")
    assert answer.get("X-Accel-Redirect") is None


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{folder}/../media-of-others/film.bin",
        "{folder}/../secret.txt",
        "{folder}/leads-out",
        "{folder}-of-others/film.bin",
        "{folder}/sub/../../secret.txt",
        "film.bin",
        "",
        "{folder}",
        "{folder}/",
    ],
)
def test_nothing_beside_the_folder_is_sent(serve: Serve, media: Path, path: str) -> None:
    """Nor is the field itself, which names a path of the server's."""
    server = start(serve, media)
    answer = ask(server, path.format(folder=media))
    assert b"secret" not in answer.body
    assert b"root:" not in answer.body
    assert answer.get("X-Sendfile") is None
    if not path.startswith("{folder}/"):
        # No folder that was named: the application's own body stands.
        assert (answer.status, answer.body) == (200, b"the application's own body")
        server.log.wait("--sendfile-root")
    else:
        assert answer.status in (403, 404)


@pytest.mark.parametrize(
    "path", ["/protected/../secret.txt", "/protected/%2e%2e/secret.txt", "/other/film.bin"]
)
def test_nothing_beside_the_folder_is_redirected_to(serve: Serve, media: Path, path: str) -> None:
    """However the way out is written."""
    answer = ask(start(serve, media), path, field="X-Accel-Redirect")
    assert b"secret" not in answer.body
    assert answer.get("X-Accel-Redirect") is None


def test_a_file_that_is_not_there(serve: Serve, media: Path) -> None:
    """Is answered 404, and a connection goes on."""
    answer = ask(start(serve, media), media / "missing")
    assert answer.status == 404
    assert b"own body" not in answer.body


def test_an_application_may_think_again(serve: Serve, media: Path) -> None:
    """start_response with exc_info throws the file away."""
    answer = ask(start(serve, media), media / "film.bin", shape="again")
    assert (answer.status, answer.body) == (500, b"own")


def test_without_the_options_the_fields_are_the_applications_own(serve: Serve, media: Path) -> None:
    """A proxy in front may be meant."""
    server = serve("hands_over:app")
    answer = ask(server, media / "film.bin")
    assert (answer.status, answer.body) == (200, b"the application's own body")
    assert answer.get("X-Sendfile") == str(media / "film.bin")


def test_one_option_is_not_the_other(serve: Serve, media: Path) -> None:
    """Only the field whose option is given has a meaning."""
    server = serve("hands_over:app", sendfile_root=media)
    answer = ask(server, "/protected/film.bin", field="X-Accel-Redirect")
    assert answer.get("X-Accel-Redirect") == "/protected/film.bin"
    assert answer.body == b"the application's own body"


def test_other_processes_see_the_same(serve: Serve, media: Path) -> None:
    """A file that is replaced is sent as it is now."""
    server = start(serve, media)
    assert ask(server, media / "sub" / "a b.txt").body == b"small"
    new = media / "sub" / "new"
    new.write_text("changed")
    os.replace(new, media / "sub" / "a b.txt")
    assert ask(server, media / "sub" / "a b.txt").body == b"changed"


def test_the_server_of_a_program_takes_the_options_too(media: Path) -> None:
    """As keywords of stdserve.Server."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        field, path = environ["QUERY_STRING"].split("=")
        start_response("200 OK", [(field, path)])
        return [b"own"]

    options: Any = {"sendfile_root": [media], "accel_root": {"/protected": media}}
    with stdserve.Server(app, bind="127.0.0.1:0", **options) as server:
        with Client(server.address) as client:
            assert client.ask(f"/?X-Sendfile={media}/film.bin").body == CONTENT
            assert client.ask("/?X-Accel-Redirect=/protected/film.bin").body == CONTENT
            assert client.ask("/?X-Sendfile=/etc/passwd").body == b"own"
