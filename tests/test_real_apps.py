"""Flask and Django as people use them, through a requests session that keeps its connection."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.load import together
from support.serving import APPS, Serve, Served, clean_environment
from support.wire import request

WAIT = 60


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A browser, as far as we need one."""
    with requests.Session() as browser:
        yield browser


@pytest.fixture
def flask(serve: Serve) -> Served:
    """The Flask application."""
    return serve("flask_app:app", keep_alive="30s")


def test_flask_sessions_and_forms(flask: Served, session: requests.Session) -> None:
    """Log in by a form, follow the redirect, be known by the cookie, log out."""
    assert "<form" in session.get(f"{flask.url}/login", timeout=WAIT).text
    landed = session.post(f"{flask.url}/login", data={"user": "Zoë & co"}, timeout=WAIT)
    assert landed.text == "user=Zoë & co flashed=hello Zoë & co"
    assert [answer.status_code for answer in landed.history] == [302]
    assert session.get(flask.url, timeout=WAIT).text == "user=Zoë & co flashed="
    assert session.post(f"{flask.url}/logout", timeout=WAIT).text == "user= flashed="


def test_flask_json_forms_and_streams(flask: Served, session: requests.Session) -> None:
    """JSON and forms in, JSON and streams out."""
    assert session.post(f"{flask.url}/notes", json={"note": "one"}, timeout=WAIT).status_code == 201
    assert session.post(f"{flask.url}/notes", data={"note": "two"}, timeout=WAIT).json() == {"count": 2}
    assert session.get(f"{flask.url}/notes", timeout=WAIT).json() == {"notes": ["one", "two"]}
    wanted = [f"line {number}" for number in range(10)]
    assert list(session.get(f"{flask.url}/stream", stream=True, timeout=WAIT).iter_lines()) == [
        line.encode() for line in wanted
    ]


def test_flask_upload_of_50_mb(flask: Served, session: requests.Session, tmp_path: Path) -> None:
    """A file upload with a form beside it, on a connection that was used before and is used again."""
    data = os.urandom(1_000_000) * 50
    (tmp_path / "large.bin").write_bytes(data)
    for _ in range(2):
        with (tmp_path / "large.bin").open("rb") as file:
            answer = session.post(
                f"{flask.url}/upload", files={"file": file}, data={"title": "large"}, timeout=WAIT
            )
        assert answer.json() == {
            "name": "large.bin",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "title": "large",
        }
        assert session.get(flask.url, timeout=WAIT).status_code == 200


def test_flask_chunked_upload(flask: Served, session: requests.Session) -> None:
    """requests sends generators in chunks."""
    blocks = (b"x" * 10_000 for _ in range(300))
    assert session.post(f"{flask.url}/raw", data=blocks, timeout=WAIT).json() == {"size": 3_000_000}


def test_flask_files_ranges_and_head(flask: Served, session: requests.Session) -> None:
    """send_file: whole, in part, by HEAD, and 304 for who has it already."""
    url = f"{flask.url}/source"
    data = (APPS / "flask_app.py").read_bytes()
    whole = session.get(url, timeout=WAIT)
    assert whole.content == data
    part = session.get(url, headers={"Range": "bytes=10-19"}, timeout=WAIT)
    assert (part.status_code, part.content) == (206, data[10:20])
    head = session.head(url, timeout=WAIT)
    assert (head.headers["Content-Length"], head.content) == (str(len(data)), b"")
    fresh = session.get(url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=WAIT)
    assert (fresh.status_code, fresh.content) == (304, b"")


def test_flask_errors_are_flasks(flask: Served, session: requests.Session) -> None:
    """404, 405 and 500 come from Flask; the traceback is in the log; the connection goes on."""
    assert session.get(f"{flask.url}/nowhere", timeout=WAIT).status_code == 404
    assert session.get(f"{flask.url}/logout", timeout=WAIT).status_code == 405
    assert session.get(f"{flask.url}/boom", timeout=WAIT).status_code == 500
    flask.log.wait("RuntimeError: boom as asked")
    assert session.get(flask.url, timeout=WAIT).status_code == 200


def test_a_session_keeps_its_connection(flask: Served) -> None:
    """Twenty requests, one connection: that is what keep-alive is for."""
    with flask.client() as client:
        for _ in range(20):
            client.send(request(target="/"))
            answer = client.read()
            assert (answer.status, answer.closes) == (200, False)


def test_flask_users_do_not_mix(serve: Serve) -> None:
    """Sixteen users at once, each with a session of its own."""
    server = serve("flask_app:app", threads=4, workers=2)

    def visit(number: int) -> set[str]:
        with requests.Session() as browser:
            browser.post(f"{server.url}/login", data={"user": f"u{number}"}, timeout=WAIT)
            return {browser.get(server.url, timeout=WAIT).text for _ in range(20)}

    assert together(visit, list(range(16))) == [{f"user=u{number} flashed="} for number in range(16)]


@pytest.fixture
def django(serve: Serve, tmp_path: Path) -> Served:
    """The Django project with a fresh database."""
    where = {"SHOP_DATABASE": str(tmp_path / "shop.sqlite")}
    subprocess.run(
        [sys.executable, "-m", "shop.setup"], env=clean_environment(where), cwd=APPS, check=True, timeout=120
    )
    return serve("shop.wsgi:application", env=where, threads=4, keep_alive="30s")


def hidden(page: requests.Response) -> str:
    """The CSRF token of a form."""
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def submit(session: requests.Session, url: str, **form: str) -> requests.Response:
    """Open a form, fill it in, send it."""
    page = session.get(url, timeout=WAIT)
    assert page.status_code == 200
    filled = {"csrfmiddlewaretoken": hidden(page), **form}
    sent = session.post(page.url, data=filled, headers={"Referer": page.url}, timeout=WAIT)
    assert sent.status_code == 200
    return sent


def test_django_admin(django: Served, session: requests.Session) -> None:
    """Log in, add, list, change, delete, log out; on sqlite, with a connection a thread."""
    admin = f"{django.url}/admin/"
    assert "Site administration" in submit(session, admin, username="admin", password="secret").text
    for number in range(5):
        added = submit(session, f"{admin}shop/article/add/", name=f"Thing {number}", price=f"{number}.50")
        assert "was added successfully" in added.text
    listed = session.get(f"{admin}shop/article/", timeout=WAIT).text
    numbers = re.findall(r"/admin/shop/article/([0-9]+)/change/", listed)
    assert len(numbers) == 5
    changed = submit(session, f"{admin}shop/article/{numbers[0]}/change/", name="Changed", price="1")
    assert "was changed successfully" in changed.text
    for number in numbers[1:]:
        gone = submit(session, f"{admin}shop/article/{number}/delete/", post="yes")
        assert "was deleted successfully" in gone.text
    listed = session.get(f"{admin}shop/article/", timeout=WAIT).text
    assert re.findall(r"/admin/shop/article/([0-9]+)/change/", listed) == numbers[:1]
    assert "Changed" in listed


def test_django_refuses_a_wrong_password_and_a_missing_token(
    django: Served, session: requests.Session
) -> None:
    """What Django refuses comes through as it is."""
    login = f"{django.url}/admin/login/"
    assert "Please enter the correct" in submit(session, login, username="admin", password="wrong").text
    assert session.post(login, data={"username": "admin"}, timeout=WAIT).status_code == 403


def test_django_admin_by_many_at_once(django: Served) -> None:
    """Each crew thread keeps a database connection of its own."""

    def work(number: int) -> int:
        with requests.Session() as browser:
            admin = f"{django.url}/admin/"
            submit(browser, admin, username="admin", password="secret")
            for turn in range(3):
                submit(browser, f"{admin}shop/article/add/", name=f"{number}.{turn}", price="1")
            return browser.get(f"{admin}shop/article/", timeout=WAIT).status_code

    assert together(work, list(range(8))) == [200] * 8
