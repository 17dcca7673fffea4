"""examples/chat: what is said in one page appears in all, over four workers, whichever of them leaves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import browser, proc
from support.browser import Browser, Tab
from support.exchanges import RedisServer, need_redis
from support.serving import Serve, Served, ask
from support.waiting import until
from support.wire import Client, Response, request

CHAT = Path(__file__).resolve().parent.parent / "examples" / "chat"
#: Longer than any test: who waited for the pages at the end would wait for so long.
GRACE = "10m"
LISTENERS = 100
needs_browser = pytest.mark.skipif(browser.find() is None, reason="needs chromium (apt install chromium)")


@pytest.fixture
def chat(serve: Serve) -> Served:
    """The chat as its stdserve.toml has it: four workers."""
    server = serve(None, cwd=CHAT, workers=4, graceful_timeout=GRACE)
    server.wait_workers(4)
    return server


@pytest.fixture
def window() -> Iterator[Browser]:
    """A browser."""
    opened = Browser()
    yield opened
    opened.close()


def enter(window: Browser, server: Served, room: str = "lobby") -> Tab:
    """A page of a room, that listens."""
    tab = window.tab()
    tab.open(f"{server.url}/rooms/{room}")
    connected(tab)
    return tab


def connected(tab: Tab) -> None:
    """Wait until the page listens."""
    tab.wait("document.querySelector('#state').dataset.is === 'open'")


def write(tab: Tab, name: str, text: str) -> None:
    """Say something as one does: by the keyboard."""
    for field, value in (("name", name), ("text", text)):
        tab.run(f"document.querySelector('#{field}').value = ''")
        tab.run(f"document.querySelector('#{field}').focus()")
        tab.type(value)
    tab.press("Enter")
    tab.wait("document.querySelector('#text').value === ''")


def texts(tab: Tab) -> list[str]:
    """What stands in the page."""
    found = tab.run("[...document.querySelectorAll('#messages .what')].map((one) => one.textContent)")
    assert isinstance(found, list)
    return found


def wait_texts(tab: Tab, count: int) -> list[str]:
    """Wait until so many messages stand in the page."""
    tab.wait("document.querySelectorAll('#messages .what').length", lambda found: found >= count)
    return texts(tab)


def say(server: Served, text: str, room: str = "lobby") -> Response:
    """Say something without a page."""
    body = json.dumps({"name": "Ada", "text": text}, ensure_ascii=False).encode()
    return ask(server, f"/rooms/{room}/messages", "POST", body, Content_Type="application/json")


class Listener:
    """A client of a room's stream."""

    def __init__(
        self, server: Served, last: str | None = None, room: str = "lobby", receive_buffer: int | None = None
    ) -> None:
        self.client = Client(server.address, receive_buffer=receive_buffer)
        fields = [("Last-Event-ID", last)] if last else []
        self.client.send(request(target=f"/rooms/{room}/events", fields=fields))
        self.head = self.client.head()
        self.last = ""
        self._events = self._read()

    def _read(self) -> Iterator[tuple[str, Any]]:
        """Name and data of each event (WHATWG HTML, 9.2.6)."""
        text = ""
        for chunk in self.client.chunks():
            *events, text = (text + chunk.decode()).split("\n\n")
            for lines in events:
                fields = dict(line.split(": ", 1) for line in lines.split("\n") if not line.startswith(":"))
                self.last = fields.get("id", self.last)
                if "data" in fields:
                    yield fields["event"], json.loads(fields["data"])

    def next(self) -> tuple[str, Any]:
        """The next event."""
        return next(self._events)

    def events(self, stop: str) -> list[tuple[str, Any]]:
        """The events up to the first of that name."""
        found = []
        for event in self._events:
            if event[0] == stop:
                break
            found.append(event)
        return found

    def said(self, count: int) -> list[dict[str, Any]]:
        """The next messages."""
        said = (data for name, data in self._events if name == "said")
        return [next(said) for _ in range(count)]

    def texts(self, count: int) -> list[str]:
        """What they say."""
        return [message["text"] for message in self.said(count)]

    def rest(self) -> list[tuple[str, Any]]:
        """All that still comes, up to the orderly end."""
        return list(self._events)

    def __enter__(self) -> Listener:
        assert self.head.status == 200
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()


@needs_browser
def test_what_one_page_says_appears_in_both_in_the_same_order(chat: Served, window: Browser) -> None:
    """Also while both talk at once; another room hears nothing; who comes later finds what was said."""
    one, two, apart = enter(window, chat), enter(window, chat), enter(window, chat, "garden")
    write(one, "Ada", "hello")
    assert wait_texts(two, 1) == wait_texts(one, 1) == ["hello"]
    attack = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    write(two, "<b>Eve</b>", attack)
    for tab in (one, two):
        assert wait_texts(tab, 2)[1] == attack
        assert tab.run("document.querySelector('#messages li:last-child bdi').textContent") == "<b>Eve</b>"
        assert tab.run("document.querySelectorAll('#messages :is(script, img, b)').length") == 0
        assert tab.run("document.title") == "lobby · Chat"
    many = """(async () => {
        for (let number = 0; number < 20; number += 1) {
            await fetch("lobby/messages", {
                method: "POST",
                headers: { "Content-Type": "application/json" },
                body: JSON.stringify({ name: "WHO", text: `WHO ${number}` }),
            });
        }
    })()"""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda pair: pair[0].run(many.replace("WHO", pair[1])), [(one, "Ada"), (two, "Eve")]))
    assert wait_texts(one, 42) == wait_texts(two, 42)
    assert [text for text in texts(one) if text.startswith("Ada ")] == [
        f"Ada {number}" for number in range(20)
    ]
    assert wait_texts(enter(window, chat), 42) == texts(one)
    assert texts(apart) == []
    one.run("showMissed({ count: 3, exact: true })")
    assert one.run("document.querySelector('.missed').textContent") == "3 messages were missed."
    # The page says itself what is wrong, and nothing was sent.
    one.press("Enter")
    one.wait("document.querySelector('#trouble').textContent === 'Write a message first.'")
    assert len(texts(two)) == 42
    assert [tab.complaints for tab in (one, two, apart)] == [[], [], []]


@needs_browser
def test_a_worker_that_is_killed_costs_its_pages_a_moment(chat: Served, window: Browser) -> None:
    """They connect again, to an old worker or a new one, and get what was said meanwhile."""
    tabs = [enter(window, chat), enter(window, chat)]
    write(tabs[0], "Ada", "before")
    for tab in tabs:
        wait_texts(tab, 1)
        tab.run("globalThis.cut = 0; source.addEventListener('error', () => { cut += 1; })")
    mine = {int(port) for port in _ports(chat)}
    held = [pid for pid in chat.workers() if proc.clients_of(pid, chat.port) & mine]
    assert held
    for pid in held:
        os.kill(pid, signal.SIGKILL)
    for tab in tabs:
        tab.wait("cut > 0")
    until(lambda: say(chat, "meanwhile").status == 204, "somebody takes messages")
    for tab in tabs:
        connected(tab)
        assert wait_texts(tab, 2) == ["before", "meanwhile"]
    write(tabs[1], "Eve", "after")
    for tab in tabs:
        assert wait_texts(tab, 3)[2] == "after"
        assert tab.run("document.querySelectorAll('.missed').length") == 0


def _ports(server: Served) -> set[int]:
    """The ports of all clients."""
    return set().union(*(proc.clients_of(pid, server.port) for pid in server.workers()))


@needs_browser
def test_the_end_does_not_wait_for_pages(serve: Serve, window: Browser) -> None:
    """Nor does a reload, after which the pages listen to new workers and have missed nothing."""
    chat = serve(None, cwd=CHAT, workers=2, graceful_timeout=GRACE)
    tab = enter(window, chat)
    write(tab, "Ada", "one")
    wait_texts(tab, 1)
    old = set(chat.workers())
    chat.signal(signal.SIGHUP)
    until(lambda: len(found := chat.workers()) == 2 and not old & set(found), "two new workers")
    connected(tab)
    write(tab, "Ada", "two")
    assert wait_texts(tab, 2) == ["one", "two"]
    assert tab.run("document.querySelectorAll('.missed').length") == 0
    assert chat.stop() == 0
    tab.wait("document.querySelector('#state').dataset.is === 'closed'")


def test_a_hundred_listeners_get_every_message(chat: Served) -> None:
    """All in one order, in which each writer's stay in theirs. The end of the server ends every stream."""
    listeners = [Listener(chat) for _ in range(LISTENERS)]
    for listener in listeners:
        assert listener.head.status == 200
        assert listener.events("here") == []
    holders = [len(proc.clients_of(pid, chat.port)) for pid in chat.workers()]
    assert sum(holders) >= LISTENERS
    assert all(holders), holders
    with ThreadPoolExecutor(4) as pool:
        written = list(
            pool.map(lambda who: [say(chat, f"{who} {number}").status for number in range(10)], range(4))
        )
    assert written == [[204] * 10] * 4
    heard = [listener.texts(40) for listener in listeners]
    assert all(one == heard[0] for one in heard)
    for who in range(4):
        assert [text for text in heard[0] if text.startswith(f"{who} ")] == [f"{who} {n}" for n in range(10)]
    chat.signal(signal.SIGTERM)
    for listener in listeners:
        assert listener.rest() == []
        listener.client.close()
    assert chat.wait_exit() == 0


def test_who_comes_back_gets_the_rest_from_any_worker(chat: Served) -> None:
    """By `Last-Event-ID`, or by the query, where the page begins again by itself."""
    for number in range(5):
        assert say(chat, str(number)).status == 204
    with Listener(chat) as listener:
        seen = listener.events("here")
    assert [data["text"] for _, data in seen] == ["0", "1", "2", "3", "4"]
    for _ in range(12):
        with Listener(chat, seen[2][1]["id"]) as again:
            assert again.texts(2) == ["3", "4"]
            assert again.events("here") == []
            assert again.last == seen[4][1]["id"]
    with Listener(chat, room=f"lobby/events?after={seen[2][1]['id']}#") as again:
        assert again.texts(2) == ["3", "4"]
    # It was there when nothing was said yet. Nobody knows the message of the other.
    with Listener(chat, "0") as first, Listener(chat, "ffff") as other:
        assert first.events("here") == seen
        assert other.events("here") == [("missed", {"count": 1, "exact": False}), *seen]
    with Listener(chat, "ffff", room="garden") as nowhere:
        assert nowhere.events("here") == [("missed", {"count": 1, "exact": False})]
        assert nowhere.last == "0"
    # A worker that was not there then knows it too.
    old = set(chat.workers())
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(found := chat.workers()) == 4 and not old & set(found), "four new workers")
    with Listener(chat, seen[2][1]["id"]) as again:
        assert again.texts(2) == ["3", "4"]
    for number in range(5, 206):
        say(chat, str(number))
    with Listener(chat, seen[4][1]["id"]) as late, Listener(chat) as new:
        assert late.events("here")[0] == ("missed", {"count": 1, "exact": False})
        assert [data["text"] for _, data in new.events("here")] == [str(number) for number in range(156, 206)]


def test_too_many_listeners_are_refused_and_those_who_leave_make_room(serve: Serve) -> None:
    """The thread of a page that has gone is free when something is said."""
    server = serve(None, cwd=CHAT, threads=4, env={"CHAT_LISTENERS": "2"})
    first, second = Listener(server), Listener(server)
    third = Listener(server).head
    assert (first.head.status, second.head.status, third.status) == (200, 200, 503)
    assert third.get("Retry-After") == "5"
    first.client.reset()

    def comes_in() -> bool:
        assert say(server, "is anybody there?").status == 204
        again = Listener(server)
        again.client.close()
        return again.head.status == 200

    until(comes_in, "a place is free")
    second.client.close()


def test_a_listener_that_is_too_slow_is_told_how_many_it_has_missed(serve: Serve) -> None:
    """It holds nobody up, and gets the rest in their order."""
    server = serve(None, cwd=CHAT, threads=4, exchange_memory="256KiB", response_buffer="64KiB")
    with Listener(server, receive_buffer=4096) as listener:
        assert listener.events("here") == []
        # 24,000 bytes each, as an event.
        texts = [f"{number} {'🙂' * 1900}" for number in range(300)]
        assert {say(server, text).status for text in texts} == {204}
        got: list[int] = []
        missed = 0
        while not got or got[-1] != 299:
            name, data = listener.next()
            if name == "missed":
                assert data["exact"]
                missed += data["count"]
                continue
            got.append(int(data["text"].split()[0]))
            assert got[-1] == len(got) + missed - 1
        assert missed > 0


def test_two_servers_share_rooms_by_redis(serve: Serve, short_path: Path) -> None:
    """As two machines would. While Redis cannot be had that is said; afterwards it goes on."""
    need_redis()
    redis = RedisServer(short_path, keeps_data=False)
    try:
        here, there = (serve(None, cwd=CHAT, threads=8, env={"CHAT_URL": redis.url}) for _ in range(2))
        with Listener(there) as listener:
            assert listener.events("here") == []
            assert say(here, "hello").status == 204
            assert listener.texts(1) == ["hello"]
            redis.stop()
            assert say(here, "is anybody there?").status == 503
            assert Listener(here).head.get("Retry-After") == "5"
            redis.start()
            until(lambda: say(here, "back").status == 204, "Redis takes messages")
            assert listener.texts(1) == ["back"]
    finally:
        redis.stop()


def test_what_is_refused(serve: Serve) -> None:
    """Each with a status of its own; nothing of it is heard."""
    server = serve(None, cwd=CHAT, threads=4, env={"CHAT_ROOMS": "a b"})
    assert ask(server, "/").get("Location") == "/rooms/a"
    assert ask(server, "/rooms/c").status == 404
    assert ask(server, "/rooms/a/b/c").status == 404
    assert ask(server, "/rooms/a", "DELETE").get("Allow") == "GET, HEAD"
    assert ask(server, "/rooms/a/events", "POST", b"").status == 405
    assert ask(server, "/rooms/a/messages").get("Allow") == "POST"

    def post(body: bytes, kind: str = "application/json") -> int:
        return ask(server, "/rooms/a/messages", "POST", body, Content_Type=kind).status

    good = {"name": "Ada", "text": "x" * 2000}
    assert post(json.dumps(good).encode(), "text/plain") == 415
    assert post(json.dumps(good | {"text": "x" * 2001}).encode()) == 400
    assert post(json.dumps(good | {"name": "x" * 41}).encode()) == 400
    assert post(json.dumps(good | {"name": " \t\u0000"}).encode()) == 400
    assert post(json.dumps(good | {"text": 5}).encode()) == 400
    assert post(b"{") == 400
    assert post(b"[" * 16_000) == 400
    assert post(b"\xff") == 400
    assert post(b" " * (16 << 10) + b"x") == 413
    with Listener(server, room="a") as listener:
        assert listener.events("here") == []
        assert (
            post(json.dumps(good | {"name": " A\n\u0007da  B "}).encode(), "Application/JSON; charset=utf-8")
            == 204
        )
        (message,) = listener.said(1)
    assert (message["name"], message["text"]) == ("A da B", good["text"])
    assert listener.head.get("Content-Type") == "text/event-stream"
    assert listener.head.get("Cache-Control") == "no-store"


def test_the_page_loads_nothing_from_elsewhere(serve: Serve) -> None:
    """A policy without exceptions, and files of the right types for it."""
    server = serve(None, cwd=CHAT, threads=4)
    page = ask(server, "/rooms/lobby")
    policy = page.get("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert page.get("X-Content-Type-Options") == "nosniff"
    assert "<style" not in page.text
    assert "style=" not in page.text
    kinds = {"chat.js": "text/javascript", "chat.css": "text/css", "icon.svg": "image/svg+xml"}
    for file, kind in kinds.items():
        assert f'="../static/{file}"' in page.text
        assert (ask(server, f"/static/{file}").get("Content-Type") or "").startswith(kind)
