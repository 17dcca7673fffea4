"""Services beside one another: on one listener by path and host, folders beside an application, reloads."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.serving import Serve, Served
from support.waiting import PATIENCE, until
from support.wire import Client, Response, request

#: Three applications, a folder and scripts on one listener, told apart by path and host.
TOGETHER = """
bind = "127.0.0.1:0"
workers = 1

[services.front]
app = "echoes:app"

[services.shop]
app = "echoes:app"
mount = "/shop"

[services.inner]
app = "echoes:app"
mount = "/shop/inner"

[services.files]
files = "public"
mount = "/static"

[services.scripts]
cgi = "scripts"
mount = "/cgi-bin"

[services.other]
files = "other"
host = "other.example"
"""

APPLICATION = '''
import os


def app(environ, start_response):
    """Says what it was told of its place, and which process it is."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Process", str(os.getpid()))])
    return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}|VERSION".encode()]
'''

SCRIPT = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n%s|%s' "$SCRIPT_NAME" "$PATH_INFO"
"""


@pytest.fixture
def place(short_path: Path) -> Path:
    """A folder with an application, files and a script."""
    for name in ("public", "other", "scripts"):
        (short_path / name).mkdir()
    (short_path / "public" / "name.txt").write_text("from a file")
    (short_path / "other" / "name.txt").write_text("of another host")
    (short_path / "scripts" / "hi.cgi").write_text(SCRIPT)
    (short_path / "scripts" / "hi.cgi").chmod(0o755)
    write_application(short_path, "one")
    return short_path


def write_application(place: Path, version: str) -> None:
    """The application; a new file, so that no cached byte code stands for it."""
    (place / "echoes.py").unlink(missing_ok=True)
    (place / "echoes.py").write_text(APPLICATION.replace("VERSION", version))


@pytest.fixture
def up(serve: Serve, place: Path) -> Callable[[str], Served]:
    """Start `stdserve up` with this file."""

    def start(text: str) -> Served:
        (place / "stdserve.toml").write_text(text)
        return serve(None, "up", bind=None, cwd=place, workers=None, env={"PYTHONPATH": str(place)})

    return start


def ask(server: Served, target: str, host: str = "localhost") -> Response:
    """One request that names this host."""
    with server.client() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return client.read()


def test_services_share_a_listener_by_path(up: Callable[[str], Served]) -> None:
    """The longest path counts, at a slash; what is left is the service's. All in one worker."""
    server = up(TOGETHER)
    for target, answer in [
        ("/", "|/|one"),
        ("/shopping", "|/shopping|one"),
        ("/shop", "/shop||one"),
        ("/shop/", "/shop|/|one"),
        ("/shop/a%20b?c", "/shop|/a b|one"),
        ("/%73hop/x", "/shop|/x|one"),
        ("/shop/inner/x", "/shop/inner|/x|one"),
        ("/static/name.txt", "from a file"),
        ("/cgi-bin/hi.cgi/a/b", "/cgi-bin/hi.cgi|/a/b"),
    ]:
        found = ask(server, target)
        assert (found.status, found.text) == (200, answer), target
    assert len(server.workers()) == 1


def test_one_connection_goes_from_service_to_service(up: Callable[[str], Served]) -> None:
    """Also where all was sent at once: answers come in order."""
    server = up(TOGETHER)
    with server.client() as client:
        targets = ["/static/name.txt", "/shop/x", "/cgi-bin/hi.cgi", "/x", "/static/name.txt"] * 5
        client.send(b"".join(request(target=target) for target in targets))
        answers = [client.read().text for _ in targets]
    assert answers == ["from a file", "/shop|/x|one", "/cgi-bin/hi.cgi|", "|/x|one", "from a file"] * 5


def test_services_share_a_listener_by_host(up: Callable[[str], Served]) -> None:
    """In any case, with or without a port; a host of its own comes before any path."""
    server = up(TOGETHER)
    for host in ("other.example", "OTHER.example", "other.example:8000"):
        assert ask(server, "/name.txt", host).text == "of another host"
    assert ask(server, "/name.txt", "another.example").text == "|/name.txt|one"
    assert ask(server, "/shop/x", "other.example").status == 404


def test_the_start_up_lines_say_what_is_served_where(up: Callable[[str], Served]) -> None:
    """Each service with its mount."""
    text = up(TOGETHER).log
    text.wait(r"^  Process ")
    for line in [
        r"Application +echoes:app$",
        r"Application +echoes:app at /shop$",
        r"Folder +.*public at /static$",
        r"Scripts +.*scripts at /cgi-bin$",
        r"Folder +.*other at other\.example/$",
        r"Serving +1 worker . ",
    ]:
        assert re.search("^  " + line, text.text, re.MULTILINE), (line, text.text)


def test_where_nothing_is_mounted_is_404(up: Callable[[str], Served]) -> None:
    """Without a service for everything."""
    server = up('[services.files]\nfiles = "public"\nmount = "/static"\nbind = "127.0.0.1:0"\n')
    assert ask(server, "/static/name.txt").text == "from a file"
    assert ask(server, "/").status == 404
    assert ask(server, "/statics/name.txt").status == 404


def test_a_folder_beside_an_application(serve: Serve, place: Path) -> None:
    """`--static`: its files, no listings, no way out; all else is the application's."""
    (place / "public" / "leads-out").symlink_to(place / "echoes.py")
    server = serve("echoes:app", f"--static=/static={place / 'public'}", cwd=place)
    assert ask(server, "/static/name.txt").text == "from a file"
    assert ask(server, "/x").text == "|/x|one"
    for target in ("/static/", "/static/missing", "/static/leads-out", "/static/../echoes.py"):
        found = ask(server, target)
        assert b"environ" not in found.body
        assert found.status in (400, 403, 404), target
    bare = ask(server, "/static?x")
    assert (bare.status, bare.get("Location")) == (301, "/static/?x")
    with server.client() as client:
        head = client.ask("/static/name.txt", method="HEAD")
        assert (head.status, head.get("Content-Length"), head.body) == (200, "11", b"")
        assert client.ask("/static/name.txt", fields=[("Range", "bytes=0-3")]).text == "from"


#: Two applications with workers of their own, and a folder.
APART = """
workers = 1

[services.one]
app = "echoes:app"
bind = "one=127.0.0.1:0"

[services.two]
app = "second:app"
bind = "two=127.0.0.1:0"

[services.files]
files = "public"
bind = "files=127.0.0.1:0"
"""


def ports(server: Served) -> list[int]:
    """Of all groups, in the order of the file."""
    server.log.wait(r"^  Process ")
    return [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)$", server.log.text, re.MULTILINE)]


def version(port: int) -> str:
    """Of the application behind the port."""
    with Client(("127.0.0.1", port)) as client:
        return client.ask("/").text.rpartition("|")[2]


def test_hup_loads_each_service_anew(up: Callable[[str], Served], place: Path) -> None:
    """One that cannot be loaded goes on as it was, and says why; the others are not disturbed by that."""
    (place / "second.py").write_text(APPLICATION.replace("VERSION", "one"))
    server = up(APART)
    first, second, _ = ports(server)
    assert (version(first), version(second)) == ("one", "one")
    before = server.workers()
    write_application(place, "two")
    (place / "second.py").unlink()
    (place / "second.py").write_text("raise ValueError('broken on purpose')\n")
    server.signal(signal.SIGHUP)
    until(lambda: version(first) == "two", "the new application")
    server.log.wait("broken on purpose")
    server.log.wait("two is not reloaded")
    assert version(second) == "one"

    def renewed() -> bool:
        now = server.workers()
        return len(now) == 3 and len(set(now) & set(before)) == 1

    until(renewed, "the old workers have left but one")
    write_application(place, "three")
    (place / "second.py").write_text(APPLICATION.replace("VERSION", "three"))
    server.signal(signal.SIGHUP)
    until(lambda: (version(first), version(second)) == ("three", "three"), "both anew")
    assert server.stop() == 0


def test_nobody_is_refused_while_a_service_is_loaded_anew(serve: Serve, place: Path) -> None:
    """A new worker serves before the old one leaves, which answers what it has accepted."""
    server = serve("echoes:app", cwd=place, workers=2)
    assert version(server.port) == "one"
    seen = set()
    for round_ in range(3):
        write_application(place, f"round{round_}")
        server.signal(signal.SIGHUP)
        answers = 0
        while version(server.port) != f"round{round_}" or answers < 20:
            answers += 1
            found = ask(server, "/")
            assert found.status == 200
            seen.add(found.get("X-Process"))
        until(lambda: len(server.workers()) == 2, "two workers again")
    assert len(seen) >= 4


#: Connections and datagrams, each with workers of their own.
RAW = """
workers = 1

[services.echo]
tcp = "raw:Echo"
bind = "127.0.0.1:0"

[services.datagrams]
udp = "raw:Datagram"
bind = "udp://127.0.0.1:0"
"""

HANDLERS = """
import os
import socketserver


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"%d %s" % (os.getpid(), self.rfile.readline()))


class Datagram(socketserver.DatagramRequestHandler):
    def handle(self):
        self.wfile.write(b"%d %s" % (os.getpid(), self.rfile.read()))
"""


def test_no_connection_and_no_datagram_is_lost_while_handlers_are_loaded_anew(
    up: Callable[[str], Served], place: Path
) -> None:
    """The old worker and the new one share the sockets."""
    (place / "raw.py").write_text(HANDLERS)
    server = up(RAW)
    server.log.wait(r"^  Process ")
    port = {kind: int(server.log.wait(rf"{kind}://127\.0\.0\.1:(\d+)$")[1]) for kind in ("tcp", "udp")}

    def ask_both() -> tuple[bytes, bytes]:
        with socket.create_connection(("127.0.0.1", port["tcp"]), timeout=PATIENCE) as client:
            client.sendall(b"line\n")
            stream = client.recv(100)
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.sendto(b"datagram", ("127.0.0.1", port["udp"]))
            datagram = client.recv(100)
        assert stream.endswith(b" line\n")
        assert datagram.endswith(b" datagram")
        return stream.split()[0], datagram.split()[0]

    def are_others(before: tuple[bytes, bytes]) -> bool:
        return all(new != old for new, old in zip(ask_both(), before, strict=True))

    for _ in range(3):
        before = ask_both()
        server.signal(signal.SIGHUP)
        until(partial(are_others, before), "new workers")
    assert server.stop() == 0


def test_an_end_in_the_middle_of_a_reload_is_an_end(serve: Serve, place: Path) -> None:
    """Nobody stays behind; the fixture looks."""
    server = serve("echoes:app", cwd=place, workers=2)
    assert server.get("/").status == 200
    server.signal(signal.SIGHUP)
    server.log.wait("reloading")
    assert server.stop() == 0


def test_a_template_that_dies_concerns_its_group(up: Callable[[str], Served], place: Path) -> None:
    """It is replaced; no worker notices."""
    (place / "second.py").write_text(APPLICATION.replace("VERSION", "one"))
    server = up(APART)
    ports(server)
    before = server.workers()
    templates = server.templates()
    assert len(templates) == 3
    os.kill(templates[0], signal.SIGKILL)
    until(lambda: len(server.templates()) == 3 and server.templates() != templates, "another template")
    assert server.workers() == before
    assert set(templates[1:]) <= set(server.templates())
