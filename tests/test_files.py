"""`stdserve files` from the outside: its options, and answers as nginx is documented to give them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from support.serving import Serve, ask

#: When the files were changed: 2020-01-01T00:00:00Z.
THEN = 1577836800
LAST_MODIFIED = "Wed, 01 Jan 2020 00:00:00 GMT"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with some files, and a secret beside it."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("0123456789")
    (folder / "big.bin").write_bytes(os.urandom(300_000))
    (folder / "style.css").write_text("body{}" * 500)
    (folder / "sub" / "index.html").write_text("<p>index")
    (folder / ".hidden").write_text("SECRET")
    (tmp_path / "secret").write_text("SECRET")
    (folder / "out").symlink_to("../secret")
    (folder / "in").symlink_to("a.txt")
    for path in (folder / "a.txt", folder / "big.bin", folder / "style.css"):
        os.utime(path, (THEN, THEN))
    return folder


def test_files_are_served_from_the_command(serve: Serve, root: Path) -> None:
    """Small and large ones, a link inside the folder, and an index file."""
    server = serve(None, "files", str(root))
    for name in ("a.txt", "big.bin", "style.css", "in"):
        assert ask(server, f"/{name}").body == (root / name).read_bytes()
    assert ask(server, "/sub/").text == "<p>index"


def test_answers_are_those_that_nginx_documents(serve: Serve, root: Path) -> None:
    """What nginx 1.22 answers to the same requests with `root`, `autoindex on` and `gzip_static on`.

    The differences that are wanted: nginx serves names with dots, decodes %2f, and follows links that leave.
    """
    server = serve(None, "files", str(root))
    etag = ask(server, "/a.txt").get("ETag") or ""
    expectations: list[tuple[str, dict[str, str], int, dict[str, str]]] = [
        (
            "/a.txt",
            {},
            200,
            {"Content-Length": "10", "Last-Modified": LAST_MODIFIED, "Accept-Ranges": "bytes"},
        ),
        ("/a.txt?query", {}, 200, {}),
        ("//a.txt", {}, 200, {}),
        ("/sub/../a.txt", {}, 200, {}),
        ("/./a.txt", {}, 200, {}),
        ("/sub", {}, 301, {}),
        ("/none", {}, 404, {}),
        ("/a.txt/", {}, 404, {}),
        ("/../secret", {}, 400, {}),
        ("/%2e%2e/secret", {}, 400, {}),
        ("/a.txt%00", {}, 400, {}),
        ("/%", {}, 400, {}),
        ("/a.txt", {"Range": "bytes=0-3"}, 206, {"Content-Range": "bytes 0-3/10", "Content-Length": "4"}),
        ("/a.txt", {"Range": "bytes=-3"}, 206, {"Content-Range": "bytes 7-9/10"}),
        ("/a.txt", {"Range": "bytes=10-"}, 416, {"Content-Range": "bytes */10"}),
        # nginx says 416; RFC 9110 section 14.1.1 has an invalid range ignored.
        ("/a.txt", {"Range": "bytes=3-1"}, 200, {}),
        ("/a.txt", {"Range": "bytes=0-3", "If_Range": LAST_MODIFIED}, 206, {}),
        ("/a.txt", {"Range": "bytes=0-3", "If_Range": '"other"'}, 200, {}),
        ("/a.txt", {"If_Modified_Since": LAST_MODIFIED}, 304, {}),
        ("/a.txt", {"If_Unmodified_Since": "Tue, 31 Dec 2019 00:00:00 GMT"}, 412, {}),
        ("/a.txt", {"If_None_Match": etag}, 304, {"ETag": etag}),
        ("/a.txt", {"If_Match": '"other"'}, 412, {}),
    ]
    for target, fields, status, expected in expectations:
        response = ask(server, target, **dict[str, Any](fields))
        assert response.status == status, (target, fields)
        for name, value in expected.items():
            assert response.get(name) == value, (target, fields, name)
    assert ask(server, "/a.txt", "POST", b"x").status == 405


def test_nothing_outside_of_the_folder_is_served(serve: Serve, root: Path) -> None:
    """Not by dots, links, or names that begin with a dot."""
    server = serve(None, "files", str(root))
    for target in [
        "/out",
        "/.hidden",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "//etc/passwd",
        "/%c0%ae%c0%ae/secret",
    ]:
        response = ask(server, target)
        assert response.status in (400, 404), target
        assert b"SECRET" not in response.body
        assert b"root:" not in response.body
    links = Page(ask(server, "/").text).links
    assert "./in" in links
    assert not {"./out", "./.hidden"} & set(links)


def test_cve_2021_28861_a_redirect_stays_on_the_host(serve: Serve, root: Path) -> None:
    """Whatever slashes the path begins with."""
    server = serve(None, "files", str(root))
    for target in ("//sub", "///sub", "/.//sub", "//sub/../sub"):
        response = ask(server, target)
        assert (response.status, response.get("Location")) == (301, "/sub/"), target


class Page(HTMLParser):
    """Checks that every element is closed, and gathers what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.inline: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        if tag not in ("meta", "input"):
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "style")
            if name == "href":
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Style and script are kept as they stand."""
        if self.open and self.open[-1] in ("style", "script"):
            self.inline[self.open[-1]] = self.inline.get(self.open[-1], "") + data


def test_the_page_of_a_folder_runs_nothing_but_its_own(serve: Serve, root: Path) -> None:
    """Its policy names style and script by their SHA-256; nothing comes from elsewhere."""
    (root / "<img src=x onerror=alert(1)>").write_text("x")
    (root / "a\"b&c'.txt").write_text("x")
    response = ask(serve(None, "files", str(root), upload=True), "/?sort=size&order=desc")
    page = Page(response.text)
    policy = response.get("Content-Security-Policy") or ""
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.inline[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert all(link.startswith(("./", "../", "?sort=")) for link in page.links), page.links
    assert "./%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E" in page.links


def test_a_folder_as_json(serve: Serve, root: Path) -> None:
    """By Accept or by query; each entry leads somewhere."""
    server = serve(None, "files", str(root))
    by_accept = json.loads(ask(server, "/", Accept="application/json").text)
    assert by_accept == json.loads(ask(server, "/?format=json").text)
    found = {entry["name"]: entry for entry in by_accept}
    assert set(found) == {"a.txt", "big.bin", "style.css", "sub", "in"}
    assert found["a.txt"] == {
        "name": "a.txt",
        "type": "file",
        "mtime": LAST_MODIFIED,
        "size": 10,
        "href": "./a.txt",
    }
    assert found["sub"]["type"] == "directory"
    for entry in by_accept:
        assert ask(server, entry["href"].removeprefix(".")).status == 200


def test_options_of_answers(serve: Serve, root: Path) -> None:
    """Each says what it does."""
    (root / "404.html").write_text("<p>gone")
    (root / "style.css.br").write_bytes(b"brotli")
    server = serve(
        None,
        "files",
        str(root),
        not_found="404.html",
        header="X-From: option",
        cache_control="*.css=max-age=60",
        cors="https://a.example",
        compress=True,
        mime_type=".bin=application/x-own",
        charset="latin1",
        listing=False,
    )
    assert (ask(server, "/").status, ask(server, "/").text) == (404, "<p>gone")
    css = ask(server, "/style.css", Accept_Encoding="br, gzip", Origin="https://a.example")
    assert (css.body, css.get("Content-Encoding"), css.get("Cache-Control")) == (
        b"brotli",
        "br",
        "max-age=60",
    )
    assert css.get("Access-Control-Allow-Origin") == "https://a.example"
    assert css.get("X-From") == "option"
    assert css.get("Content-Type") == "text/css; charset=latin1"
    made = ask(server, "/style.css", Accept_Encoding="gzip")
    assert gzip.decompress(made.body) == (root / "style.css").read_bytes()
    assert ask(server, "/big.bin").get("Content-Type") == "application/x-own"


def test_an_application_that_routes_in_the_browser(serve: Serve, root: Path) -> None:
    """`--spa` answers for paths, not for files that are missing."""
    server = serve(None, "files", str(root), spa="sub/index.html")
    assert ask(server, "/users/7").text == "<p>index"
    assert ask(server, "/missing.js").status == 404
    assert ask(server, "/a.txt").text == "0123456789"


@pytest.mark.parametrize("option", ["spa", "not_found"])
def test_a_page_that_is_not_there_is_told_at_the_start(serve: Serve, root: Path, option: str) -> None:
    """It was not: with a slip in its name all was 404. It may be made while the server runs."""
    chosen: dict[str, Any] = {option: "late.html"}
    server = serve(None, "files", str(root), **chosen)
    server.log.wait(f"warning: --{option.replace('_', '-')}: {root}/late.html is not there")
    assert ask(server, "/users/7").status == 404
    (root / "late.html").write_text("made since")
    assert ask(server, "/users/7").text == "made since"


def test_users_and_passwords(serve: Serve, root: Path) -> None:
    """From the option and from a file; the log shows none of them."""
    users = root.parent / "users"
    users.write_text("# people\nben:open sesame\n")
    server = serve(None, "files", str(root), auth="ann:hunter2", auth_file=str(users))
    for user in ("ann:hunter2", "ben:open sesame"):
        token = base64.b64encode(user.encode()).decode()
        assert ask(server, "/a.txt", Authorization=f"Basic {token}").status == 200
    for token in ("", "Basic", "Basic YW5uOmh1bnRlcg=="):
        response = ask(server, "/a.txt", Authorization=token)
        assert response.status == 401
        assert re.match(r'Basic realm="[^"]*", charset="UTF-8"$', response.get("WWW-Authenticate") or "")
    assert "hunter2" not in server.log.text


def test_files_are_brought(serve: Serve, root: Path) -> None:
    """By PUT and by a form, in one step, within a bound, and not over what is there."""
    server = serve(None, "files", str(root), upload=True, upload_limit="100KiB")
    assert ask(server, "/sub/new.txt", "PUT", b"brought").status == 201
    assert ask(server, "/sub/new.txt").text == "brought"
    assert ask(server, "/a.txt", "PUT", b"over").status == 409
    assert ask(server, "/huge", "PUT", bytes(100 * 1024 + 1)).status == 413
    assert ask(server, "/../huge", "PUT", b"x").status == 400
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="../form.txt"\r\n'
        b"\r\nby form\r\n--b--\r\n"
    )
    response = ask(server, "/sub/", "POST", form, Content_Type="multipart/form-data; boundary=b")
    assert (response.status, response.get("Location")) == (303, "/sub/")
    assert (root / "sub" / "form.txt").read_text() == "by form"
    refused = ask(
        server,
        "/",
        "POST",
        form,
        Content_Type="multipart/form-data; boundary=b",
        Origin="https://evil.example",
    )
    assert refused.status == 403
    names = {path.name for path in root.rglob("*")}
    assert not any(name.startswith(".stdserve-") for name in names)
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]


def test_cve_2011_3192_a_range_bomb_is_one_file(serve: Serve, root: Path) -> None:
    """Hundreds of ranges give the file once; `--max-ranges 0` turns ranges off."""
    server = serve(None, "files", str(root))
    bomb = "bytes=" + ",".join(f"{n}-" for n in range(500))
    response = ask(server, "/big.bin", Range=bomb)
    assert (response.status, len(response.body)) == (200, 300_000)
    server = serve(None, "files", str(root), max_ranges=0)
    assert ask(server, "/a.txt", Range="bytes=0-0").status == 200


def test_a_changed_file_is_sent_as_it_is_now(serve: Serve, root: Path) -> None:
    """By every worker, at once, though small files are kept in memory."""
    server = serve(None, "files", str(root), workers=2)
    for n in range(20):
        (root / "a.txt").write_text(f"state {n:02}")
        os.utime(root / "a.txt", (THEN, THEN))
        for _ in range(4):
            assert ask(server, "/a.txt").text == f"state {n:02}"


def modest() -> list[str]:
    """A wrapper in which root may not read everything, as no ordinary user may."""
    if os.geteuid() != 0:
        return []
    rights = "-dac_override,-dac_read_search"
    wrapper = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    if shutil.which("setpriv") is None or subprocess.run([*wrapper, "true"], capture_output=True).returncode:
        pytest.skip("needs setpriv (util-linux), and a root that may give up rights")
    return wrapper


def test_what_cannot_be_read_or_written_is_in_the_log(serve: Serve, root: Path) -> None:
    """Files, folders, compressed files beside others, pages of the options, and uploads."""
    (root / "style.css.gz").write_bytes(gzip.compress(b"body{}"))
    (root / "404.html").write_text("not here")
    (root / "closed").mkdir()
    (root / "odd\n\033[31mname").write_text("")
    for name, mode in {
        "a.txt": 0,
        "style.css.gz": 0,
        "404.html": 0,
        "closed": 0,
        "odd\n\033[31mname": 0,
        "sub": 0o555,
    }.items():
        (root / name).chmod(mode)
    server = serve(None, "files", str(root), upload=True, not_found="404.html", wrapper=modest())
    for method, target, status, name, verb in [
        ("GET", "/a.txt", 403, "a.txt", "read"),
        ("GET", "/closed/", 403, "closed", "read"),
        ("GET", "/odd%0a%1b[31mname", 403, r"odd\\n\\u\{1b\}\[31mname", "read"),
        ("GET", "/style.css", 200, "style.css.gz", "read"),
        ("GET", "/nothing", 404, "404.html", "read"),
        ("PUT", "/sub/new", 403, "sub/new", "written"),
        ("PUT", "/closed/new", 403, "closed", "read"),
    ]:
        before = len(server.log.text)
        response = ask(server, target, method, b"x" if method == "PUT" else None, Accept_Encoding="gzip")
        assert response.status == status, target
        said = rf"{re.escape(str(root))}/{name} cannot be {verb}: Permission denied"
        server.log.wait(said, start=before)
    (root / "closed").chmod(0o755)
    quiet = server.log.text
    assert ask(server, "/closed/nothing").status == 404
    server.log.wait("404.html cannot be read", start=len(quiet))
    assert "closed/nothing" not in server.log.text, "what is not there is no trouble"
