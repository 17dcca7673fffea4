"""docs/drop-in.md says what is so: each attribute with its default, each step on its side."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

from stdserve import _paths

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "drop-in.md").read_text()
MODULES = ("socketserver", "http.server", "wsgiref.simple_server", "xmlrpc.server")


def classes() -> dict[str, Any]:
    """The classes of the drop-in modules by name."""
    found: dict[str, Any] = {}
    for name in MODULES:
        module = importlib.import_module(f"stdserve.{name}")
        found.update({key: value for key, value in vars(module).items() if isinstance(value, type)})
    return found


def test_each_attribute_has_the_default_that_is_written() -> None:
    """The table of what is added."""
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| `([^`]*)` \|", PAGE, re.MULTILINE)
    assert len(rows) >= 20
    known = classes()
    for owner, attribute, default in rows:
        assert getattr(known[owner], attribute) == ast.literal_eval(default), f"{owner}.{attribute}"


def test_each_attribute_that_is_added_is_written() -> None:
    """Whatever is marked as added in the sources, by `#:`, stands in the page."""
    package = Path(_paths.__file__).parent
    sources = [*(package / "http").glob("*.py"), package / "wsgiref" / "simple_server.py"]
    sources += (package / "xmlrpc").glob("*.py")
    documented = {"protocol_version", "default_request_version", "cgi_directories", "index_pages"}
    documented |= {"default_content_type", "extensions_map", "rpc_paths", "encode_threshold", "server"}
    for source in sources:
        for name in re.findall(r"^    #: .*\n(?:    #: .*\n)*    (\w+)", source.read_text(), re.MULTILINE):
            assert name in documented or f".{name}`" in PAGE, f"{source.name}: {name}"


def test_each_step_stands_on_its_side() -> None:
    """The table of steps."""
    for step in _paths.STEPS:
        assert f"`{step.name}`" in PAGE or step.name in (
            "_dispatch",
            "_marshaled_dispatch",
            "report_404",
            "is_rpc_path_valid",
        )
    rows = {
        cells[1].strip(): cells
        for cells in (line.split("|") for line in PAGE.splitlines() if line.startswith("| "))
        if len(cells) == 5
    }
    for step in _paths.STEPS:
        if step.families is None:
            _, _, calls, replaces, _ = rows[step.of]
            assert (f"`{step.name}`" in calls) == (step.engine == "calls"), step.name
            assert (f"`{step.name}`" in replaces) == (step.engine == "replaces"), step.name
    assert all(f"`{setting.name}`" in rows["values"][3] for setting in _paths.SETTINGS)
