"""Puts the drop-in modules in the place of those of the standard library, for `stdserve run`.

After `install()`, `import http.server` gives `stdserve.http.server`, and so on: one module under both
names. Nothing is imported before it is asked for. This file imports nothing of stdserve, since every Python
that a program starts reads it (see `_site/sitecustomize.py`), and must also do in one where stdserve is not
installed: there the standard library's own modules stay.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType

#: The modules that are replaced, by the name under which programs know them.
NAMES = (
    "socketserver",
    "selectors",
    "http.server",
    "wsgiref.handlers",
    "wsgiref.headers",
    "wsgiref.simple_server",
    "wsgiref.util",
    "wsgiref.validate",
    "xmlrpc.server",
)


def _own_name(name: str) -> str:
    return "stdserve." + name


class _Loader(SourceFileLoader):
    """Gives our module under the standard library's name, and its source to `python -m`."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(_own_name(spec.name))

    def exec_module(self, module: ModuleType) -> None:
        # It has run already. importlib has set its __spec__ to that of the new name; the rest must agree
        # with it.
        module.__name__ = self.name
        module.__loader__ = self
        module.__package__ = self.name.rpartition(".")[0]


class _Finder(MetaPathFinder):
    """Finds our modules where those of `NAMES` are asked for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in NAMES:
            return None
        own = _own_name(name)
        being_made = getattr(sys.modules.get(own), "__spec__", None)
        if getattr(being_made, "_initializing", False):
            return None  # ours asks for the one that it stands in for
        try:
            found = importlib.util.find_spec(own)
        except (ImportError, SyntaxError):
            return None  # another Python than the one that stdserve is installed for
        if found is None or found.origin is None:
            return None
        loader = _Loader(name, found.origin)
        return importlib.util.spec_from_file_location(name, found.origin, loader=loader)


def install() -> None:
    """Replaces the modules from now on; those that are imported already, for whoever imports them again."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name in NAMES:
        present = sys.modules.get(name)
        if present is None or present is sys.modules.get(_own_name(name)):
            continue
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        if getattr(sys.modules.get(parent), child, None) is present:
            delattr(sys.modules[parent], child)
