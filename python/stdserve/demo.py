"""The demonstration application: a page that shows the request, as wsgiref's ``demo_app`` does.

``stdserve stdserve.demo:app`` serves it. A browser gets HTML, everything else plain text; ``?format=json``
gives JSON. It reads at most a little of a request's body and keeps nothing.
"""

from __future__ import annotations

import json
import platform
import sys
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["app"]

#: Bytes of a body that are shown.
SHOWN = 2048

Section = tuple[str, list[tuple[str, str]]]

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6a7c;--line:#dde3ea;--paper:#fff;--ground:#f4f6f9;
--accent:#0f766e;--tint:#e6f4f1}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#93a0b3;--line:#2b3442;--paper:#171d27;
--ground:#0f141c;--accent:#5eead4;--tint:#12302d}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{margin:0;font-size:clamp(1.6rem,4vw,2.3rem);letter-spacing:-.02em}
header p{margin:.35rem 0 0;color:var(--soft)}
.line{margin:1.5rem 0;padding:.9rem 1.1rem;border-radius:.75rem;background:var(--tint);overflow-wrap:anywhere;
font:600 1rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.line b{color:var(--accent)}
.cards{display:grid;gap:1rem}
section{background:var(--paper);border:1px solid var(--line);border-radius:.75rem;padding:1rem 1.1rem 1.1rem}
h2{margin:0 0 .6rem;font-size:.8rem;letter-spacing:.08em;text-transform:uppercase;color:var(--soft)}
dl{display:grid;grid-template-columns:minmax(9rem,15rem) 1fr;gap:.3rem 1rem;margin:0}
dt{color:var(--soft);overflow-wrap:anywhere}
dd{margin:0;overflow-wrap:anywhere;white-space:pre-wrap}
dt,dd{font-size:.875rem;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
@media(max-width:36rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.55rem}}
footer{margin-top:1.5rem;color:var(--soft);font-size:.875rem}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
a{color:var(--accent)}
"""


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The application (PEP 3333)."""
    method, path = environ["REQUEST_METHOD"], readable(environ.get("PATH_INFO", ""))
    if path == "/favicon.ico":
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return []
    sections = describe(environ)
    line = f"{method} {environ.get('SCRIPT_NAME', '')}{path} {environ['SERVER_PROTOCOL']}"
    accept = environ.get("HTTP_ACCEPT", "")
    if "format=json" in environ.get("QUERY_STRING", "").split("&"):
        kind, body = "application/json", as_json(sections)
    elif "text/html" in accept:
        kind, body = "text/html; charset=utf-8", as_html(line, sections)
    else:
        kind, body = "text/plain; charset=utf-8", as_text(line, sections)
    data = body.encode("utf-8", "replace")
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(data))),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("X-Content-Type-Options", "nosniff"),
        ("Vary", "Accept"),
    ]
    start_response("200 OK", headers)
    return [data]


def readable(native: str) -> str:
    """A native string (bytes as latin-1) as the UTF-8 text that it most likely is."""
    return native.encode("latin-1", "replace").decode("utf-8", "replace")


def describe(environ: WSGIEnvironment) -> list[Section]:
    """What there is to show, in sections of names and values."""
    headers = [
        (key.removeprefix("HTTP_").replace("_", "-").title(), readable(value))
        for key, value in sorted(environ.items())
        if key.startswith("HTTP_") or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    ]
    query = [
        (name, value) for name, value in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    ]
    client = environ.get("REMOTE_ADDR", "") or "a Unix socket"
    connection = [
        ("client", f"{client}, port {environ.get('REMOTE_PORT', '?')}"),
        ("server", f"{environ['SERVER_NAME']}, port {environ['SERVER_PORT']}"),
        ("scheme", environ["wsgi.url_scheme"]),
    ]
    server = [
        ("software", environ.get("SERVER_SOFTWARE", "")),
        ("python", f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"),
        ("threads", "several" if environ["wsgi.multithread"] else "one"),
        ("processes", "several" if environ["wsgi.multiprocess"] else "one"),
    ]
    body = environ["wsgi.input"].read(SHOWN) if environ.get("CONTENT_LENGTH", "0") != "0" else b""
    sections = [("Headers", headers), ("Query", query), ("Connection", connection), ("Server", server)]
    if body:
        text = body.decode("utf-8", "backslashreplace")
        more = " …" if int(environ["CONTENT_LENGTH"]) > len(body) else ""
        sections.insert(2, ("Body", [(f"{environ['CONTENT_LENGTH']} bytes", text + more)]))
    return [(title, rows) for title, rows in sections if rows]


def as_text(line: str, sections: list[Section]) -> str:
    """For terminals."""
    parts = ["stdserve is serving.\n", line]
    for title, rows in sections:
        width = max(len(name) for name, _ in rows)
        parts.append(f"\n{title}")
        parts += [f"  {name:<{width}}  {printable(value)}" for name, value in rows]
    return "\n".join(parts) + "\n"


def printable(text: str) -> str:
    """Without what a terminal would act on."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def as_json(sections: list[Section]) -> str:
    """For programs."""
    return (
        json.dumps({title.lower(): dict(rows) for title, rows in sections}, indent=2, ensure_ascii=False)
        + "\n"
    )


def as_html(line: str, sections: list[Section]) -> str:
    """For people."""
    method, _, rest = line.partition(" ")
    cards = []
    for title, rows in sections:
        entries = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
        cards.append(f"<section><h2>{escape(title)}</h2><dl>{entries}</dl></section>")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>stdserve is serving</title><style>{STYLE}</style></head><body><main>"
        "<header><h1>stdserve is serving</h1>"
        "<p>This is the request that your browser has just made.</p></header>"
        f'<p class="line"><b>{escape(method)}</b> {escape(rest)}</p>'
        f'<div class="cards">{"".join(cards)}</div>'
        "<footer>Serve your own application: <code>stdserve module:app</code>. "
        '<a href="?format=json">This page as JSON</a></footer>'
        "</main></body></html>\n"
    )
