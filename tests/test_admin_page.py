"""The page of the operations plane in a browser: it renders, lives, and shows what a stuck request does."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator

import pytest

from support import browser
from support.browser import Browser, Tab
from support.gate import Gate
from support.plane import Plane, pids
from support.serving import Serve
from support.wire import request

pytestmark = pytest.mark.skipif(browser.find() is None, reason="needs chromium (apt install chromium)")


@pytest.fixture
def page() -> Iterator[Tab]:
    """A page of a browser."""
    opened = Browser()
    yield opened.tab()
    opened.close()


@pytest.fixture
def plane(free_port: Callable[[], int]) -> Plane:
    """A plane that a browser can reach."""
    return Plane(("127.0.0.1", free_port()))


def test_it_renders_lives_and_shows_the_stack_of_a_stuck_request(
    serve: Serve, gate: Gate, plane: Plane, page: Tab
) -> None:
    """From the first picture to the stack, without a complaint of the browser."""
    server = serve(workers=2, admin=plane.option)
    status = plane.wait(lambda found: found["ready"], "ready")
    page.open(f"http://{plane.option}/")
    page.wait("document.querySelector('#state').textContent === 'ready'")
    assert page.run("document.title") == "ready · stdserve"
    rows = "[...document.querySelectorAll('#worker-table tbody tr')]"
    assert set(page.run(rows + ".map((row) => Number(row.cells[0].textContent))")) == pids(status)
    # It goes on by itself: two samples make a line.
    page.wait("document.querySelector('#rate path[data-line=rate]')?.getAttribute('d').includes('L')")
    uptime = page.run("document.querySelector('#about').textContent")
    page.wait("document.querySelector('#about').textContent", lambda text: text != uptime)
    with server.client() as client:
        # What a client writes is shown as it is, and is no markup.
        client.send(request(target="/wait?name=stuck&x='<img/src=x/onerror=alert(1)>'"))
        guest = gate.wait("stuck")
        page.wait("document.querySelector('#request-table').textContent.includes('<img/src=x/onerror=')")
        assert page.run("document.querySelectorAll('#request-table img').length") == 0
        page.press("s")
        page.wait("document.querySelectorAll('#autopsies details').length === 2")
        page.press("e")
        shown = page.run(
            "[...document.querySelectorAll('#autopsies details[open] pre')].map((one) => one.innerText)"
        )
        assert len(shown) == 2
        assert any("gate.py" in text and "in arrive" in text for text in shown)
        assert all(
            page.run("[...document.querySelectorAll('#autopsies pre')].map((one) => one.offsetHeight > 0)")
        )
        guest.release()
    page.wait("document.querySelector('#request-count').textContent === 'none'")
    plane.order("/scale?workers=3")
    page.wait("document.querySelector('#worker-count').textContent === '3 of 3 ready'")
    page.wait("document.querySelector('#log').textContent.includes('2 workers become 3')")
    assert page.complaints == []


def test_a_fresh_page_is_full_at_once_and_follows_a_restart(serve: Serve, plane: Plane, page: Tab) -> None:
    """The samples of the time before it was opened are there; a server that comes back is followed again."""
    server = serve(workers=1, admin=plane.option)
    plane.wait(lambda found: found["uptime"] > 3, "some samples are taken")
    page.open(f"http://{plane.option}/")
    line = "document.querySelector('#workers path[data-line=wanted]')?.getAttribute('d')"
    assert page.wait(line).count("L") >= 2
    server.stop()
    page.wait("document.querySelector('#state').textContent === 'no connection'")
    serve(workers=1, admin=plane.option)
    page.wait("document.querySelector('#state').textContent === 'ready'")


def test_light_and_dark(serve: Serve, plane: Plane, page: Tab) -> None:
    """By a key, and kept for the next visit."""
    serve(workers=1, admin=plane.option)
    plane.wait(lambda found: found["ready"], "ready")
    page.open(f"http://{plane.option}/")
    page.wait("document.querySelector('#state').textContent === 'ready'")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.run(ground)
    page.press("t")
    after = page.wait(ground, lambda color: color != before)
    page.open(f"http://{plane.option}/?again")
    assert page.run(ground) == after


def test_a_page_of_another_origin_gets_nothing(
    serve: Serve, plane: Plane, page: Tab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither by fetch, nor by events, nor in a frame; and no order of its is taken."""
    folder = tmp_path_factory.mktemp("evil")
    (folder / "index.html").write_text("<!doctype html><title>evil</title>")
    evil = serve(None, "files", str(folder), env={"STDSERVE_ADMIN": "none"})
    serve(workers=1, admin=plane.option)
    plane.wait(lambda found: found["ready"], "ready")
    page.open(evil.url + "/")
    page.wait("document.title === 'evil'")
    there = f"http://{plane.option}"
    failed = "then(() => 'read', () => 'failed')"
    assert page.run(f"fetch('{there}/status').{failed}") == "failed"
    assert (
        page.run(f"fetch('{there}/reload', {{method: 'POST', headers: {{'X-Stdserve': '1'}}}}).{failed}")
        == "failed"
    )
    page.run(f"fetch('{there}/reload', {{method: 'POST', mode: 'no-cors'}}).{failed}")
    page.run(f"globalThis.there = '{there}'")
    opened = """new Promise((done) => {
        const source = new EventSource(there + '/events');
        source.onopen = () => done('open');
        source.onerror = () => { source.close(); done('failed'); };
    })"""
    assert page.run(opened) == "failed"
    framed = """new Promise((done) => {
        const frame = document.createElement('iframe');
        frame.onload = done;
        frame.src = there + '/';
        document.body.append(frame);
    })"""
    page.run(framed + ".then(() => 0)")
    assert any("frame" in complaint.lower() for complaint in page.complaints), page.complaints
    assert plane.get("/status")["groups"][0]["generation"] == 1


def test_the_page_needs_nothing_from_elsewhere(serve: Serve, plane: Plane) -> None:
    """One document, with a policy that lets only its own style and script count."""
    serve(workers=1, admin=plane.option)
    plane.wait(lambda found: found["ready"], "ready")
    with urllib.request.urlopen(f"http://{plane.option}/") as answer:
        policy, html = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "src=" not in html
    assert "@import" not in html
