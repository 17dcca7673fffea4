"""`loads` and `dumps` of ``xmlrpc.client``: natively where nobody can tell, else by that module.

Native code reads and writes what an unchanged ``xmlrpc.client`` would. Where a program has changed that
module (an entry in `Marshaller.dispatch`, a parser of its own, another class for `Binary`), or where a value
is not one that native code writes, the module itself is asked, and raises what is to be raised.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from xml.parsers.expat import ExpatError
from xmlrpc import client

from stdserve import _stdserve

#: What programs change in order to have values read and written in their own way.
_CHANGEABLE = (
    (
        vars(client),
        (
            *("FastMarshaller", "FastParser", "FastUnmarshaller", "getparser", "loads", "dumps", "escape"),
            *("Marshaller", "Unmarshaller", "DateTime", "Binary", "Fault", "WRAPPERS", "ExpatParser"),
        ),
    ),
    (client.DateTime, ("__init__", "encode", "decode")),
    (client.Binary, ("__init__", "encode", "decode")),
    (client.Marshaller, ("__init__", "dumps", "dispatch")),
    (client.Unmarshaller, ("__init__", "close", "start", "end", "data", "dispatch")),
)

#: Whether ``xmlrpc.client`` reads and writes as it did when this module was imported.
client_is_unchanged = _stdserve.Unchanged(
    _CHANGEABLE, (client.Marshaller.dispatch, client.Unmarshaller.dispatch)
)


def loads(
    data: bytes | str,
    use_datetime: bool = False,
    use_builtin_types: bool = False,
    *,
    max_bytes: int | None = None,
    max_depth: int | None = None,
    max_elements: int | None = None,
) -> tuple[tuple[Any, ...], str | None]:
    """What ``xmlrpc.client.loads`` returns. A DOCTYPE, and what exceeds the limits, is an `ExpatError`."""
    native = partial(
        _stdserve.xmlrpc_loads, data, max_bytes=max_bytes, max_depth=max_depth, max_elements=max_elements
    )
    if client_is_unchanged():
        return native(use_datetime, use_builtin_types)
    try:
        native()
    except ExpatError:
        raise
    except Exception:
        # Values are the changed module's concern.
        pass
    return client.loads(data, use_datetime=use_datetime, use_builtin_types=use_builtin_types)


def dumps(
    params: Any,
    methodname: str | None = None,
    methodresponse: Any = None,
    encoding: str | None = None,
    allow_none: bool = False,
) -> str:
    """What ``xmlrpc.client.dumps`` returns."""
    if client_is_unchanged():
        document = _stdserve.xmlrpc_dumps(params, methodname, bool(methodresponse), encoding, allow_none)
        if document is not None:
            return document
    return client.dumps(params, methodname, methodresponse, encoding, allow_none)


def response(value: Any, encoding: str, allow_none: bool) -> bytes:
    """The answer that returns `value`, or that is the `Fault` which `value` is."""
    params = value if isinstance(value, client.Fault) else (value,)
    if encoding == "utf-8" and client_is_unchanged():
        document = _stdserve.xmlrpc_dumps(params, None, True, None, allow_none, as_bytes=True)
        if document is not None:
            return document
    text = dumps(params, methodresponse=True, allow_none=allow_none, encoding=encoding)
    return text.encode(encoding, "xmlcharrefreplace")
