"""The standard library's modules themselves, also where others of the same name stand in for them."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.machinery import PathFinder
from types import ModuleType

_loaded: dict[str, ModuleType] = {}


def original(name: str) -> ModuleType:
    """The standard library's module `name`, whatever an import of that name gives.

    Where nothing stands in for it, it is the module that everybody imports; else a copy that only this
    function returns, the same one each time.
    """
    if name in _loaded:
        return _loaded[name]
    package = name.rpartition(".")[0]
    path = importlib.import_module(package).__path__ if package else None
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"the standard library has no module {name!r}", name=name)
    seen = importlib.util.find_spec(name)
    if seen is not None and seen.origin == spec.origin:
        module = importlib.import_module(name)
    else:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return _loaded.setdefault(name, module)
