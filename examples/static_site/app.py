"""A guest book: one page, made anew for each visitor; the files that it names are in ./public.

    cd examples/static_site && stdserve up

Then look at http://127.0.0.1:7004. stdserve.toml says what is served and how.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Guest book</title>
<link rel="stylesheet" href="/static/style.css">
<h1><img src="/static/pen.svg" alt=""> Guest book</h1>
<form method="post" action="/">
<input name="line" maxlength="200" placeholder="Your line" aria-label="Your line" required autofocus>
<button>Sign</button>
</form>
<ol reversed>
{lines}
</ol>
"""

#: The longest form that is read, in bytes.
LONGEST_FORM = 4096

#: The newest line first. Requests run in several threads, none may change what another goes through:
#: hence the lock.
book: deque[str] = deque(["The server was started."], maxlen=100)
lock = threading.Lock()


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application."""
    if environ["PATH_INFO"] != "/":
        return answer(start_response, "404 Not Found", "text/plain", "There is nothing here.\n")
    match environ["REQUEST_METHOD"]:
        case "GET" | "HEAD":
            with lock:
                lines = "\n".join(f"<li>{escape(line)}</li>" for line in book)
            return answer(start_response, "200 OK", "text/html", PAGE.format(lines=lines))
        case "POST":
            length = int(environ.get("CONTENT_LENGTH") or 0)
            if length > LONGEST_FORM:
                return answer(start_response, "413 Content Too Large", "text/plain", "That is too long.\n")
            form = parse_qs(environ["wsgi.input"].read(length).decode(errors="replace"))
            line = form.get("line", [""])[0].strip()[:200]
            if line:
                with lock:
                    book.appendleft(line)
            # To the page: a reload of it does not sign again.
            start_response("303 See Other", [("Location", "/"), ("Content-Length", "0")])
            return []
        case _:
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD, POST"), ("Content-Length", "0")])
            return []


def answer(start_response: StartResponse, status: str, kind: str, text: str) -> Iterable[bytes]:
    """An answer of one piece."""
    body = text.encode()
    start_response(status, [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
