"""Runs a configuration file in Python: `stdserve_conf.py`, or gunicorn's.

`describe` is called in a process of its own, before there is a supervisor, and says what the file sets; `run`
in the template, whose workers inherit the file's functions.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["ARITIES", "describe", "run"]

#: How many arguments each function takes: the least and the most.
ARITIES = {
    "on_starting": (1, 1),
    "on_reload": (1, 1),
    "when_ready": (1, 1),
    "pre_fork": (2, 2),
    "post_fork": (2, 2),
    "post_worker_init": (1, 1),
    "worker_int": (1, 1),
    "worker_abort": (1, 1),
    "pre_exec": (1, 1),
    "pre_request": (2, 2),
    "post_request": (2, 4),
    "child_exit": (2, 2),
    "worker_exit": (2, 2),
    "nworkers_changed": (3, 3),
    "on_exit": (1, 1),
}

#: Settings that are dicts of dicts.
LOGGING = ("logconfig_dict", "log_config_dict")


def run(path: str) -> dict[str, Any]:
    """Run the file; what it defines, its functions checked."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # As gunicorn names it.
    module = ModuleType("__config__")
    module.__file__ = path
    sys.modules["__config__"] = module
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, module.__dict__)
    for name, bounds in ARITIES.items():
        function = module.__dict__.get(name)
        if callable(function) and arity(function, bounds) is None:
            wanted = " to ".join(str(bound) for bound in sorted(set(bounds)))
            raise TypeError(f"{name} is called with {wanted} argument{'' if wanted == '1' else 's'}")
    return module.__dict__


def arity(function: Callable[..., Any], bounds: tuple[int, int]) -> int | None:
    """With how many arguments the function can be called: the most within the bounds."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return bounds[1]
    for count in range(bounds[1], bounds[0] - 1, -1):
        with contextlib.suppress(TypeError):
            signature.bind(*[None] * count)
            return count
    return None


def describe(path: str) -> str:
    """Run the file and say what it sets, as a TOML document; crates/config/src/python_file.rs reads it."""
    try:
        namespace = run(path)
    except BaseException as error:
        return f"error = {_text(_traceback(error))}\n"
    lines = _lines(path)
    parts = []
    for name, value in namespace.items():
        if name.startswith("_") or value is None or isinstance(value, ModuleType):
            continue
        shown = _logging(value) if name in LOGGING else _value(value)
        if shown is None:
            shown = "function = true" if callable(value) else f"other = {_text(type(value).__name__)}"
        parts.append(f"[[setting]]\nname = {_text(name)}\nline = {lines.get(name, 1)}\n{shown}\n")
    return "".join(parts)


def _traceback(error: BaseException) -> str:
    """The traceback of the file's own frames."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _lines(path: str) -> dict[str, int]:
    """Where each name was last given a value."""
    found: dict[str, int] = {}
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = max(found.get(node.id, 0), node.lineno)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = max(found.get(node.name, 0), node.lineno)
        elif isinstance(node, ast.alias):
            found.setdefault((node.asname or node.name).partition(".")[0], node.lineno)
    return found


def _value(value: object) -> str | None:
    """`value = …`, or nothing where an option can hold no such thing."""
    scalar = _scalar(value)
    if scalar is not None:
        return f"value = {scalar}"
    if isinstance(value, (list, tuple, set, frozenset)):
        # A list of an option holds texts.
        entries = [_scalar(entry, as_text=True) for entry in value]
        if None not in entries:
            return f"value = [{', '.join(map(str, entries))}]"
    if isinstance(value, dict):
        pairs = [(_scalar(key, as_text=True), _scalar(entry, as_text=True)) for key, entry in value.items()]
        if all(None not in pair for pair in pairs):
            return f"value = {{ {', '.join(f'{key} = {entry}' for key, entry in pairs)} }}"
    return None


def _logging(value: object) -> str | None:
    """A dict for `logging.config.dictConfig`, as the JSON text that the option holds."""
    with contextlib.suppress(TypeError, ValueError):
        return f"value = {_text(value if isinstance(value, str) else json.dumps(value))}"
    return None


def _scalar(value: object, as_text: bool = False) -> str | None:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        shown = "true" if value else "false"
    elif isinstance(value, int) and abs(value) < 2**63:
        shown = str(int(value))
    elif isinstance(value, float):
        shown = repr(float(value))
    else:
        return None
    return _text(shown) if as_text else shown


def _text(text: str) -> str:
    """A basic string of TOML: that of JSON, but for DEL, and without lone surrogates."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return re.sub("\x7f", r"\\u007f", json.dumps(whole, ensure_ascii=False))
