"""`--preload`: one import for all workers, and what it may not leave behind."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from support.serving import Serve, run_command
from support.waiting import until

APPLICATION = """
import os
MADE = os.getpid()

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{VERSION} {MADE} {os.getpid()}".encode()]
"""

LEAVES = {
    "thread": (
        "import threading as t\nt.Thread(target=t.Event().wait, name='ticker', daemon=True).start()\n",
        r"thread `ticker` .*, made by shop_inner \({folder}/shop_inner\.py:2\)",
    ),
    "listening": (
        "import socket\nkept = socket.create_server(('127.0.0.1', 0))\n",
        r"listening socket at 127\.0\.0\.1:[0-9]+, made by shop_inner \({folder}/shop_inner\.py:2\)",
    ),
    "connection": (
        "import socket\nkept = socket.socketpair()\n",
        r"connection to another end of this process, made by shop_inner \({folder}/shop_inner\.py:2\)",
    ),
    "loop": (
        "import asyncio\nkept = asyncio.new_event_loop()\n",
        r"event loop asyncio\..*EventLoop, made by shop_inner \({folder}/shop_inner\.py:2\)",
    ),
    "poller": (
        "import select\nkept = select.epoll()\nimport shop_other\n",
        r"epoll descriptor [0-9]+, made by shop_inner \({folder}/shop_inner\.py:3\)",
    ),
}


def make(folder: Path, inner: str = "", version: str = "first") -> None:
    """An application in a folder of its own."""
    (folder / "shop.py").write_text(f"import shop_inner\nVERSION = {version!r}\n{APPLICATION}")
    (folder / "shop_inner.py").write_text(inner)
    (folder / "shop_other.py").write_text("")


def refused(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_command("--bind", "127.0.0.1:0", "--workers", "1", *options, "shop:app", cwd=folder)


def test_the_application_is_imported_once_for_all_workers(serve: Serve, tmp_path: Path) -> None:
    make(tmp_path)
    server = serve("shop:app", cwd=tmp_path, workers=2, preload=True)
    server.wait_workers(2)
    (template,) = server.templates()
    version, made, pid = server.get("/").text.split()
    assert (version, int(made)) == ("first", template)
    assert int(pid) in server.workers()


def test_a_reload_makes_a_new_template_that_imports_anew(serve: Serve, tmp_path: Path) -> None:
    make(tmp_path)
    server = serve("shop:app", cwd=tmp_path, workers=2, preload=True)
    server.wait_workers(2)
    before = server.templates()
    make(tmp_path, version="second")
    server.signal(signal.SIGHUP)
    made = until(
        lambda: [text for text in [server.get("/").text] if text.startswith("second")],
        "the second load serves",
    )
    until(lambda: len(server.templates()) == 1 and server.templates() != before, "the old template has gone")
    assert int(made[0].split()[1]) == server.templates()[0]


@pytest.mark.parametrize("kind", list(LEAVES))
def test_what_the_import_leaves_behind_is_named_with_its_module(tmp_path: Path, kind: str) -> None:
    inner, wanted = LEAVES[kind]
    make(tmp_path, inner)
    ended = refused(tmp_path, "--preload")
    assert ended.returncode == 4
    assert re.search(wanted.format(folder=re.escape(str(tmp_path))), ended.stderr), ended.stderr
    assert "post_fork" in ended.stderr
    assert "--preload=force" in ended.stderr


@pytest.mark.parametrize("kind", list(LEAVES))
def test_force_goes_on_and_says_what_is_left(serve: Serve, tmp_path: Path, kind: str) -> None:
    make(tmp_path, LEAVES[kind][0])
    server = serve("shop:app", cwd=tmp_path, preload="force")
    assert server.get("/").text.startswith("first")
    server.log.wait(r"warning: preloaded by force: .*\n +(thread|listening|connection|event|epoll)")


def test_what_is_closed_or_ended_again_is_no_matter(serve: Serve, tmp_path: Path) -> None:
    inner = """
import asyncio, socket, threading
async def nothing(): pass
asyncio.run(nothing())
thread = threading.Thread(target=int)
thread.start()
thread.join()
socket.create_server(("127.0.0.1", 0)).close()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.connect(("127.0.0.1", 9))
"""
    make(tmp_path, inner)
    server = serve("shop:app", cwd=tmp_path, preload=True)
    assert server.get("/").text.startswith("first")


def test_a_reload_that_leaves_a_thread_behind_is_given_up(serve: Serve, tmp_path: Path) -> None:
    make(tmp_path)
    server = serve("shop:app", cwd=tmp_path, preload=True)
    assert server.get("/").text.startswith("first")
    make(tmp_path, LEAVES["thread"][0], version="second")
    server.signal(signal.SIGHUP)
    server.log.wait("thread `ticker`")
    server.log.wait("is not reloaded: what was loaded before serves on")
    assert server.get("/").text.startswith("first")


def test_a_file_may_ask_for_it_in_every_form(serve: Serve, tmp_path: Path) -> None:
    make(tmp_path)
    for value in ["true", '"force"']:
        (tmp_path / "stdserve.toml").write_text(f"preload = {value}\n")
        server = serve("shop:app", cwd=tmp_path)
        made = int(server.get("/").text.split()[1])
        assert made == server.templates()[0]
