"""`--reload`: changes of files take effect, and what is broken is shown without an end of service."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from support.serving import Serve, Served
from support.waiting import until

APPLICATION = """
from pathlib import Path

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(VERSION + " " + Path("text.html").read_text()).encode()]
"""


def make(folder: Path, version: str, application: str = APPLICATION) -> None:
    """Writes the application as editors do: beside it, then in its place."""
    beside = folder / "shop.py~"
    beside.write_text(f"VERSION = {version!r}\n{application}")
    os.replace(beside, folder / "shop.py")


def start(serve: Serve, folder: Path, version: str = "first", **options: object) -> Served:
    (folder / "text.html").write_text("text")
    make(folder, version)
    return serve("shop:app", cwd=folder, reload=True, **options)  # type: ignore[arg-type]


def answers(server: Served, text: str) -> Callable[[], bool]:
    return lambda: server.get("/").text.startswith(text)


def test_a_change_is_served_by_another_worker(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, tmp_path)
    assert server.get("/").text == "first text"
    (worker,) = server.wait_workers(1)
    make(tmp_path, "second")
    until(answers(server, "second"), "the change is served")
    server.log.wait("info: changed: shop.py")
    until(lambda: worker not in server.workers(), "the old worker has left")


def test_a_syntax_error_leaves_the_old_worker_until_it_is_mended(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, tmp_path)
    assert server.get("/").text == "first text"
    make(tmp_path, "second", APPLICATION + "\ndef broken(:\n")
    server.log.wait(r"shop\.py.*\n(.*\n)*SyntaxError")
    server.log.wait("is not reloaded: what was loaded before serves on")
    assert server.get("/").text == "first text"
    # Still broken, in another way.
    make(tmp_path, "third", APPLICATION + "\nnothing_of_the_kind\n")
    server.log.wait("NameError: name 'nothing_of_the_kind' is not defined")
    assert server.get("/").text == "first text"
    make(tmp_path, "fourth")
    until(answers(server, "fourth"), "it is mended")


def test_what_cannot_be_loaded_at_the_start_is_a_page(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "text.html").write_text("text")
    make(tmp_path, "first", "import <nothing>\n")
    server = serve("shop:app", cwd=tmp_path, reload=True, workers=2)
    page = server.get("/any?thing", fields=[("Accept", "text/html,*/*")])
    assert page.status == 500
    assert page.get("Content-Type") == "text/html; charset=utf-8"
    assert "import &lt;nothing&gt;" in page.text
    assert "SyntaxError" in page.text
    plain = server.get("/")
    assert plain.get("Content-Type") == "text/plain; charset=utf-8"
    assert "import <nothing>" in plain.text
    server.log.wait("SyntaxError")
    # The page is that of the newest load.
    make(tmp_path, "second", "import nothing_of_the_kind\n")
    until(lambda: "No module named 'nothing_of_the_kind'" in server.get("/").text, "the page follows")
    make(tmp_path, "third")
    until(answers(server, "third"), "it is mended")
    server.wait_workers(2)
    for _ in range(8):
        until(answers(server, "third"), "every worker serves it")


def test_a_new_module_and_one_from_elsewhere_are_seen(serve: Serve, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "here"
    elsewhere.mkdir()
    folder.mkdir()
    (elsewhere / "shop_far.py").write_text("FAR = 'far 1'\n")
    (folder / "text.html").write_text("text")
    make(
        folder,
        "",
        f"import sys\nsys.path.append({str(elsewhere)!r})\nfrom shop_far import FAR as VERSION\n"
        + APPLICATION,
    )
    server = serve("shop:app", cwd=folder, reload=True)
    until(answers(server, "far 1"), "it serves")
    # A module counts once the worker has told of it.
    number = 1

    def seen() -> bool:
        nonlocal number
        number += 1
        (elsewhere / "shop_far.py").write_text(f"FAR = 'far {number}'\n")
        return not answers(server, "far 1")()

    until(seen, "a module from elsewhere is watched")
    make(folder, "", "from shop_new import VERSION\n" + APPLICATION)
    server.log.wait("No module named 'shop_new'")
    (folder / "shop_new.py").write_text("VERSION = 'new'\n")
    until(answers(server, "new"), "the module that was missing is seen")


def test_templates_are_watched_where_that_is_wished(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "old").mkdir()
    for name in ("a.html", "old/b.html"):
        (tmp_path / "parts" / name).write_text("text")
    server = start(serve, tmp_path, reload_include="parts/**", reload_exclude="parts/old/**")
    assert server.get("/").text == "first text"
    (tmp_path / "parts" / "old" / "b.html").write_text("changed")
    (tmp_path / "text.html").write_text("other")
    (tmp_path / "parts" / "a.html").write_text("changed")
    server.log.wait("changed: ")
    assert "changed: parts/a.html\n" in server.log.text
    until(answers(server, "first other"), "it serves")


def test_the_configuration_is_read_again(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "stdserve.toml").write_text("workers = 1\n")
    server = start(serve, tmp_path, workers=None)
    assert server.get("/").text == "first text"
    (tmp_path / "stdserve.toml").write_text("workers = 2\n")
    server.wait_workers(2)
    server.log.wait("changed: stdserve.toml")


def test_several_workers_see_one_change(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, tmp_path, workers=3)
    server.wait_workers(3)
    assert server.get("/").text == "first text"
    make(tmp_path, "second")
    until(answers(server, "second"), "the change is served")
    server.wait_workers(3)
    for _ in range(6):
        until(answers(server, "second"), "every worker serves it")
    assert server.log.text.count("reloading ") == 1


def test_nothing_is_watched_unless_it_is_asked_for(serve: Serve, tmp_path: Path) -> None:
    make(tmp_path, "first")
    (tmp_path / "text.html").write_text("text")
    server = serve("shop:app", cwd=tmp_path)
    assert server.get("/").text == "first text"
    (worker,) = server.workers()
    names = {
        Path(f"/proc/{worker}/task/{task}/comm").read_text() for task in os.listdir(f"/proc/{worker}/task")
    }
    assert not any("reload" in name for name in names)
