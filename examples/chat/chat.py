"""A chat over server-sent events: a WSGI application without a framework, served by several workers.

    cd examples/chat
    stdserve                                    # then open http://127.0.0.1:7005 in two windows
    CHAT_ROOMS="lobby kitchen" stdserve         # with rooms of your own
    CHAT_URL=redis://127.0.0.1:6379 stdserve    # the same rooms on several machines

`GET /rooms/NAME` is the page, `POST /rooms/NAME/messages` says something, and `GET /rooms/NAME/events` is the
stream that each open page listens to (WHATWG HTML, "Server-sent events"). Nobody proves who he is: it is an
example.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import threading
from collections.abc import Iterable, Iterator
from html import escape
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from rooms import BEGINNING, Message, Room, waiting
from stdserve.concurrent import Missed, Subscription

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

#: Seconds between two signs of life. A page that has left is noticed by them, and its thread is free again.
HEARTBEAT = 15
#: How many pages may listen to a worker. Each holds a thread: fewer than `threads` in stdserve.toml.
LISTENERS = int(os.environ.get("CHAT_LISTENERS", "120"))
#: The bounds of what one says, in characters, and of the request that says it, in bytes.
LONGEST_NAME, LONGEST_TEXT, LONGEST_BODY = 40, 2000, 16 << 10
#: Control characters, but for tabulators and newlines.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

ROOMS = {
    name: Room(name, os.environ.get("CHAT_URL"))
    for name in os.environ.get("CHAT_ROOMS", "lobby garden workshop").split()
}
PLACES = threading.BoundedSemaphore(LISTENERS)
PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))

#: The page may load its own style and script, ask this server, and nothing else; nobody may frame it.
SAFE = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
]
PATH = re.compile("/rooms/([^/]+)(|/events|/messages)")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application."""
    if environ["PATH_INFO"] == "/":
        first = ("Location", f"{environ['SCRIPT_NAME']}/rooms/{next(iter(ROOMS))}")
        return answer(start_response, HTTPStatus.SEE_OTHER, fields=[first])
    path = PATH.fullmatch(environ["PATH_INFO"])
    room = ROOMS.get(path[1]) if path else None
    if path is None or room is None:
        return answer(start_response, HTTPStatus.NOT_FOUND, "There is no such room.\n")
    methods, handle = {
        "": (["GET", "HEAD"], page),
        "/messages": (["POST"], say),
        "/events": (["GET"], listen),
    }[path[2]]
    if environ["REQUEST_METHOD"] not in methods:
        return answer(start_response, HTTPStatus.METHOD_NOT_ALLOWED, fields=[("Allow", ", ".join(methods))])
    return handle(room, environ, start_response)


def answer(
    start_response: StartResponse,
    status: HTTPStatus,
    text: str = "",
    fields: Iterable[tuple[str, str]] = (),
    kind: str = "text/plain",
) -> list[bytes]:
    """A whole answer."""
    body = text.encode()
    content = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
    has_none = status is HTTPStatus.NO_CONTENT
    start_response(f"{status.value} {status.phrase}", [*fields, *([] if has_none else content)])
    return [body]


def not_now(start_response: StartResponse, why: str) -> list[bytes]:
    """Later, perhaps: the page tries again by itself."""
    return answer(start_response, HTTPStatus.SERVICE_UNAVAILABLE, why, [("Retry-After", "5")])


def page(room: Room, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The page of a room."""
    here = {room.name: ' aria-current="page"'}
    links = (f'<li><a href="{escape(name)}"{here.get(name, "")}>{escape(name)}</a></li>' for name in ROOMS)
    bounds = {"longest_name": LONGEST_NAME, "longest_text": LONGEST_TEXT}
    text = PAGE.substitute(bounds, room=escape(room.name), rooms="".join(links))
    return answer(start_response, HTTPStatus.OK, text, [*SAFE, ("Cache-Control", "no-cache")], "text/html")


def say(room: Room, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Somebody says something: `{"name": …, "text": …}`."""
    # A page of another origin cannot send this type, unless we said that it may (Fetch, "CORS-safelisted").
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        return answer(start_response, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Messages are application/json.\n")
    body = environ["wsgi.input"].read(LONGEST_BODY + 1)
    if len(body) > LONGEST_BODY:
        return answer(start_response, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is too long.\n")
    try:
        name, text = read(json.loads(body))
    except (ValueError, RecursionError) as error:
        return answer(start_response, HTTPStatus.BAD_REQUEST, f"{error}\n")
    try:
        room.say(name, text)
    except ConnectionError:
        return not_now(start_response, "Nobody can hear it now.\n")
    return answer(start_response, HTTPStatus.NO_CONTENT)


def read(said: Any) -> tuple[str, str]:
    """Name and text of what a page sends; ValueError says what is wrong with them."""
    match said:
        case {"name": str(name), "text": str(text)}:
            name = " ".join(CONTROLS.sub(" ", name).split())
            text = CONTROLS.sub("", text.replace("\r\n", "\n")).strip()
            for what, value, longest in (("name", name, LONGEST_NAME), ("text", text, LONGEST_TEXT)):
                if not 0 < len(value) <= longest:
                    raise ValueError(f"The {what} has 1 to {longest} characters.")
            return name, text
        case _:
            raise ValueError("A message has a name and a text.")


def listen(room: Room, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """The stream of a page: what it has missed, then what is said, until the page or this worker leaves."""
    if not PLACES.acquire(blocking=False):
        yield from not_now(start_response, "Too many listen.\n")
        return
    try:
        try:
            subscription = room.listen()
        except ConnectionError:
            yield from not_now(start_response, "Nobody can be heard now.\n")
            return
        fields = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")]
        # nginx would gather events before it passes them on.
        start_response("200 OK", [*fields, ("X-Accel-Buffering", "no")])
        # A browser that connects again says what it got last; a page that begins again says it in the query.
        asked = parse_qs(environ["QUERY_STRING"]).get("after", [""])[0]
        last = environ.get("HTTP_LAST_EVENT_ID", asked)
        with subscription:
            yield from events(room, last, subscription, environ.get("stdserve.draining"))
    finally:
        PLACES.release()


def events(room: Room, last: str, subscription: Subscription, draining: Any) -> Iterator[bytes]:
    """What is told to a page whose last message was `last`: what it has missed, then what is said."""
    poll = select.poll()
    poll.register(subscription, select.POLLIN)
    # Only stdserve says when it is about to end. Elsewhere the end of the server has to wait for the page's.
    if draining is not None:
        poll.register(draining, select.POLLIN)
    # Not all at once, when many come again after a worker has left.
    yield f"retry: {random.randrange(500, 1500)}\n\n".encode()
    messages = room.since(last)
    # It began to listen before: what was said in between comes by both ways.
    known = [message["id"] for message in messages if not isinstance(message, Missed)]
    # So that it knows where it is, where nothing was said too.
    here = known[-1] if known else BEGINNING if messages or not last else last
    yield b"".join([*map(told, messages), event("here", {}, here)])
    while draining is None or not draining.is_set():
        poll.poll(HEARTBEAT * 1000)
        messages = [one for one in waiting(subscription) if isinstance(one, Missed) or one["id"] not in known]
        yield b"".join(map(told, messages)) or b":\n\n"  # a comment, as a sign of life


def told(message: Message | Missed) -> bytes:
    """The event for a message."""
    if isinstance(message, Missed):
        return event("missed", {"count": message.count, "exact": message.exact})
    return event("said", message, message["id"])


def event(name: str, data: Message | dict[str, object], number: str | None = None) -> bytes:
    """An event: JSON has no newlines, so that one line of data does."""
    mark = f"id: {number}\n" if number else ""
    return f"{mark}event: {name}\ndata: {json.dumps(data)}\n\n".encode()
