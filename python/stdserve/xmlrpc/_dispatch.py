# Derived from CPython's Lib/xmlrpc/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""Which function a call means: `SimpleXMLRPCDispatcher`, and the rules for names."""

from __future__ import annotations

import contextlib
import pydoc
from collections.abc import Callable
from functools import partial
from typing import Any
from xmlrpc.client import Fault

from stdserve.xmlrpc import _codec


def resolve_dotted_attribute(obj: Any, attr: str, allow_dotted_names: bool = True) -> Any:
    """``resolve_dotted_attribute(a, 'b.c.d')`` is ``a.b.c.d``.

    AttributeError where a name on the way starts with an underscore. Without `allow_dotted_names` the whole
    of `attr` is one name.
    """
    for name in attr.split(".") if allow_dotted_names else [attr]:
        if name.startswith("_"):
            raise AttributeError(f'attempt to access private attribute "{name}"')
        obj = getattr(obj, name)
    return obj


def list_public_methods(obj: Any) -> list[str]:
    """The names of what can be called on `obj` and does not start with an underscore."""
    return [name for name in dir(obj) if not name.startswith("_") and callable(getattr(obj, name))]


def failure(dispatcher: Any, error: BaseException) -> bytes:
    """The answer to a call that raised `error`: itself if it is a fault, else one that tells of it."""
    fault = error if isinstance(error, Fault) else Fault(1, f"{type(error)}:{error}")
    return _codec.response(fault, dispatcher.encoding, dispatcher.allow_none)


def answer(dispatcher: Any, value: Any) -> bytes:
    """The answer to a call that returned `value`, or why there is none."""
    try:
        return _codec.response(value, dispatcher.encoding, dispatcher.allow_none)
    except BaseException as error:
        return failure(dispatcher, error)


class SimpleXMLRPCDispatcher:
    """Holds functions and an instance, and calls them for requests. A mix-in of servers; it also stands
    alone, as a dispatcher of `MultiPathXMLRPCServer`.
    """

    # Safety that the standard library lacks. Each is changed by setting it in a subclass; None is the default
    # of the codec.

    #: Most bytes of a request's document, after it was inflated.
    max_request_size: int | None = 64 << 20
    #: How deeply arrays and structs of a request may stand in one another.
    max_depth: int | None = 200
    #: Most XML elements of a request; a member of a struct takes four.
    max_elements: int | None = 5_000_000

    instance: Any
    allow_dotted_names: bool

    def __init__(
        self, allow_none: bool = False, encoding: str | None = None, use_builtin_types: bool = False
    ) -> None:
        self.funcs: dict[str, Any] = {}
        self.instance = None
        self.allow_none = allow_none
        self.encoding = encoding or "utf-8"
        self.use_builtin_types = use_builtin_types

    def register_instance(self, instance: Any, allow_dotted_names: bool = False) -> None:
        """Has calls go to the methods of `instance`, or to its `_dispatch(method, params)` where it has one.

        Names that start with an underscore are never called. With `allow_dotted_names`, names with dots are
        looked up attribute by attribute: whoever can send requests then reaches what the instance can reach,
        modules and their globals included. Only for networks where everybody is trusted.
        """
        self.instance = instance
        self.allow_dotted_names = allow_dotted_names

    def register_function(self, function: Any = None, name: str | None = None) -> Any:
        """Has calls of `name` (its own name by default) go to `function`. Also a decorator, with or without a
        name.
        """
        if function is None:
            return partial(self.register_function, name=name)
        if name is None:
            name = function.__name__
        self.funcs[name] = function
        return function

    def register_introspection_functions(self) -> None:
        """Registers ``system.listMethods``, ``system.methodSignature`` and ``system.methodHelp``."""
        self.funcs.update(
            {
                "system.listMethods": self.system_listMethods,
                "system.methodSignature": self.system_methodSignature,
                "system.methodHelp": self.system_methodHelp,
            }
        )

    def register_multicall_functions(self) -> None:
        """Registers ``system.multicall``."""
        self.funcs.update({"system.multicall": self.system_multicall})

    def _marshaled_dispatch(
        self,
        data: bytes | str,
        dispatch_method: Callable[[str | None, tuple[Any, ...]], Any] | None = None,
        path: str | None = None,
    ) -> bytes:
        """The answer to the document `data`. What goes wrong becomes a fault.

        `dispatch_method` is called in place of `_dispatch`, for handlers that have one of their own.
        """
        try:
            params, method = _codec.loads(
                data,
                use_builtin_types=self.use_builtin_types,
                max_bytes=self.max_request_size,
                max_depth=self.max_depth,
                max_elements=self.max_elements,
            )
            call: Any = self._dispatch if dispatch_method is None else dispatch_method
            return _codec.response(call(method, params), self.encoding, self.allow_none)
        except BaseException as exc:
            return failure(self, exc)

    def system_listMethods(self) -> list[str]:
        """system.listMethods() => ['add', 'subtract', 'multiple']

        Returns a list of the methods supported by the server."""
        methods = set(self.funcs.keys())
        if self.instance is not None:
            if hasattr(self.instance, "_listMethods"):
                methods |= set(self.instance._listMethods())
            # What an instance with a `_dispatch` takes is not known.
            elif not hasattr(self.instance, "_dispatch"):
                methods |= set(list_public_methods(self.instance))
        return sorted(methods)

    def system_methodSignature(self, method_name: str) -> Any:
        """system.methodSignature('add') => [double, int, int]

        Returns a list describing the signature of the method. In the
        above example, the add method takes two integers as arguments
        and returns a double result.

        This server does NOT support system.methodSignature."""
        return "signatures not supported"

    def system_methodHelp(self, method_name: str) -> str:
        """system.methodHelp('add') => "Adds two integers together"

        Returns a string containing documentation for the specified method."""
        method = None
        if method_name in self.funcs:
            method = self.funcs[method_name]
        elif self.instance is not None:
            if hasattr(self.instance, "_methodHelp"):
                help_text: str = self.instance._methodHelp(method_name)
                return help_text
            if not hasattr(self.instance, "_dispatch"):
                with contextlib.suppress(AttributeError):
                    method = resolve_dotted_attribute(self.instance, method_name, self.allow_dotted_names)
        return "" if method is None else pydoc.getdoc(method)

    def system_multicall(self, call_list: list[dict[str, Any]]) -> list[Any]:
        """system.multicall([{'methodName': 'add', 'params': [2, 2]}, ...]) => \
[[4], ...]

        Allows the caller to package multiple XML-RPC calls into a single
        request.

        See http://www.xmlrpc.com/discuss/msgReader$1208
        """
        results: list[Any] = []
        for call in call_list:
            method_name = call["methodName"]
            params = call["params"]
            try:
                results.append([self._dispatch(method_name, params)])
            except Fault as fault:
                results.append({"faultCode": fault.faultCode, "faultString": fault.faultString})
            except BaseException as exc:
                results.append({"faultCode": 1, "faultString": f"{type(exc)}:{exc}"})
        return results

    def _dispatch(self, method: Any, params: Any) -> Any:
        """Calls the registered function `method`, else the instance: its `_dispatch`, else its method of that
        name. What was called has raised nothing before: no exception is chained to its own.
        """
        try:
            func = self.funcs[method]
        except KeyError:
            pass
        else:
            if func is not None:
                return func(*params)
            raise Exception(f'method "{method}" is not supported')
        if self.instance is not None:
            if hasattr(self.instance, "_dispatch"):
                return self.instance._dispatch(method, params)
            try:
                func = resolve_dotted_attribute(self.instance, method, self.allow_dotted_names)
            except AttributeError:
                pass
            else:
                if func is not None:
                    return func(*params)
        raise Exception(f'method "{method}" is not supported')


# Servers document themselves, and there these methods are shown without types, as CPython's.
for _method in (
    SimpleXMLRPCDispatcher.system_listMethods,
    SimpleXMLRPCDispatcher.system_methodSignature,
    SimpleXMLRPCDispatcher.system_methodHelp,
    SimpleXMLRPCDispatcher.system_multicall,
):
    _method.__annotations__ = {}
