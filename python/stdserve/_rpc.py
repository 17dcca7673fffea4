"""The describing half of `stdserve rpc`: which methods an object has, what they are for, and its page.

Calls themselves are read, run and answered natively; what is here runs once, at the start of a worker, or
when a client asks for help.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from html import escape
from typing import Any
from xmlrpc import client

Method = Callable[..., Any]


def methods_of(target: object) -> dict[str, Method]:
    """What may be called, by name. ValueError where there is nothing, or something that cannot be served.

    Of a mapping: its entries. Of a module: the names in its `__all__`, else the functions that it defines. Of
    any other object: its public methods. No name has a dot or starts with an underscore.
    """
    if isinstance(target, type):
        raise ValueError(f"{target.__name__} is a class; write {target.__name__}() for an object of it")
    if isinstance(target, Mapping):
        found = _of_mapping(target)
    elif isinstance(target, types.ModuleType):
        found = _of_module(target)
    else:
        found = _of_object(target)
    for name, method in found.items():
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            raise ValueError(f"{name} is asynchronous, which is not supported")
    if not found:
        raise ValueError("it has no public methods")
    return found


def _of_mapping(target: Mapping[Any, Any]) -> dict[str, Method]:
    for name, method in target.items():
        if not isinstance(name, str) or not name or name.startswith("_") or "." in name:
            raise ValueError(f"{name!r} cannot be called: names have no dots, and no underscore in front")
        if not callable(method):
            raise ValueError(f"{name} is not callable")
    return dict(target)


def _of_module(target: types.ModuleType) -> dict[str, Method]:
    exported = getattr(target, "__all__", None)
    found: dict[str, Method] = {}
    for name in vars(target) if exported is None else exported:
        value = getattr(target, name, None)
        # What a module has imported is not its own: `from os import system` offers nothing.
        own = exported is not None or getattr(value, "__module__", None) == target.__name__
        if _is_public(name) and own and inspect.isroutine(value):
            found[name] = value
    return found


def _of_object(target: object) -> dict[str, Method]:
    found = {}
    for name in dir(target):
        if not _is_public(name):
            continue
        # A property would run code only to be looked at, and is no method.
        if isinstance(inspect.getattr_static(target, name, None), property):
            continue
        value = getattr(target, name, None)
        if callable(value) and not isinstance(value, type):
            found[name] = value
    return found


def _is_public(name: str) -> bool:
    return not name.startswith("_") and "." not in name


# What methods are said to be


def add_introspection(methods: dict[str, Method], multicall: bool) -> None:
    """Adds ``system.listMethods``, ``system.methodHelp`` and ``system.methodSignature``, which see `methods`.

    `multicall`: ``system.multicall`` is there too, though not in the table.
    """

    def list_methods() -> list[str]:
        """Returns the names of all methods."""
        return sorted([*methods, *(["system.multicall"] if multicall else [])])

    def method_help(name: str) -> str:
        """Returns the documentation of a method."""
        if multicall and name == "system.multicall":
            return "Runs several calls of one request."
        return inspect.getdoc(_known(methods, name)) or ""

    def method_signature(name: str) -> Any:
        """Returns the signatures of a method: arrays of types, that of the result first. "undef" where they
        are not known.
        """
        if multicall and name == "system.multicall":
            return [["array", "array"]]
        return _signature(_known(methods, name))

    methods["system.listMethods"] = list_methods
    methods["system.methodHelp"] = method_help
    methods["system.methodSignature"] = method_signature


def _known(methods: dict[str, Method], name: str) -> Method:
    method = methods.get(name)
    if method is None:
        raise client.Fault(client.METHOD_NOT_FOUND, f'method "{name[:100]}" is not supported')
    return method


_TYPES: dict[Any, str] = {
    int: "int",
    bool: "boolean",
    float: "double",
    str: "string",
    bytes: "base64",
    bytearray: "base64",
    client.Binary: "base64",
    datetime: "dateTime.iso8601",
    client.DateTime: "dateTime.iso8601",
    list: "array",
    tuple: "array",
    dict: "struct",
    None: "nil",
    type(None): "nil",
}


def _signature(method: Method) -> Any:
    """Signatures by the annotations; one for each number of arguments that may be left out."""
    try:
        parameters = inspect.signature(method).parameters.values()
        hints = typing.get_type_hints(inspect.unwrap(getattr(method, "__func__", method)))
    except (TypeError, ValueError, NameError, AttributeError):
        return "undef"
    names = []
    least = 0
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return "undef"
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        names.append(_TYPES.get(_plain(hints.get(parameter.name, Any))))
        if parameter.default is parameter.empty:
            least = len(names)
    result = _TYPES.get(_plain(hints.get("return", Any)))
    if result is None or None in names:
        return "undef"
    return [[result, *names[:count]] for count in range(least, len(names) + 1)]


def _plain(hint: Any) -> Any:
    """`list` for `list[int]`; what is no key of a table becomes None's opposite."""
    plain = typing.get_origin(hint) or hint
    try:
        hash(plain)
    except TypeError:
        return object
    return plain


# JSON


def _as_json(value: Any) -> Any:
    """What JSON has no type for, as XML-RPC sees it: dates and bytes as text, objects as their attributes."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, client.DateTime):
        return value.value
    if isinstance(value, client.Binary):
        return base64.b64encode(value.data).decode("ascii")
    if isinstance(value, Decimal):
        return str(value)
    attributes = getattr(value, "__dict__", None)
    if isinstance(value, type) or callable(value) or not isinstance(attributes, dict):
        raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
    return attributes


read_json = json.JSONDecoder().decode
write_json = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_as_json).encode


def write_xml(value: object, allow_none: bool) -> bytes:
    """An answer with what only ``xmlrpc.client`` writes: types that a program has taught it."""
    document = client.dumps((value,), methodresponse=True, allow_none=allow_none)  # type: ignore[arg-type]
    return document.encode("utf-8", "xmlcharrefreplace")


# The page

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }}
dt {{ font-family: ui-monospace, monospace; margin-top: 1.2rem; }}
dd {{ margin: .2rem 0 0 1.5rem; white-space: pre-wrap; opacity: .85; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>These methods are called by POST: XML-RPC as <code>text/xml</code>, JSON-RPC 2.0 as
<code>application/json</code>.</p>
<dl>
{methods}
</dl>
</body>
</html>
"""


def _shown(method: Method) -> str:
    """Parameters and result in words, annotations without quotes where they can be understood."""
    for evaluate in (True, False):
        with contextlib.suppress(Exception):
            return str(inspect.signature(method, eval_str=evaluate))
    return "(…)"


def page(title: str, methods: Mapping[str, Method]) -> bytes:
    """The page that documents the methods."""
    entries = []
    for name, method in sorted(methods.items()):
        signature = _shown(method)
        entries.append(f"<dt><strong>{escape(name)}</strong>{escape(signature)}</dt>")
        if text := inspect.getdoc(method):
            entries.append(f"<dd>{escape(text)}</dd>")
    return _PAGE.format(title=escape(title), methods="\n".join(entries)).encode("utf-8", "xmlcharrefreplace")
