"""Which way a server's requests go: through the engine, or step by step as in the standard library.

The standard library documents steps that a subclass may override. The engine takes a server over only where
nobody can see it: an override of a step that the engine calls is called; an override of a step that the
engine does in its own way means that the plain path is taken, on which every step is the one that CPython
has. `STEPS` is the list of both, and all that is decided here.
"""

from __future__ import annotations

import functools
import http.client
import socket
import sys
import types
from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["http", "files", "wsgi", "xmlrpc", "stream", "datagram"]

_HTTP: frozenset[Family] = frozenset(("http", "files", "wsgi", "xmlrpc"))

#: What the native half serves, of what could go through it.
ENGINE_SERVES: set[Family] = {"http", "files", "wsgi", "xmlrpc", "stream", "datagram"}


@dataclass(frozen=True, slots=True)
class Step:
    """A step that a subclass may override, or a value that it may set.

    `engine` says what becomes of it: "calls" (and an override changes nothing about the path) or
    "replaces", with what the engine `does` in its place. `families`: for which handlers; None for all.
    """

    of: Literal["server", "handler"]
    name: str
    engine: Literal["calls", "replaces"]
    does: str = ""
    families: frozenset[Family] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of the handler class that the engine relies on: one of `values`, else the plain path is
    taken.
    """

    name: str
    values: tuple[Any, ...]
    does: str


def _server(engine: Literal["calls", "replaces"], does: str, *names: str) -> list[Step]:
    return [Step("server", name, engine, does) for name in names]


def _handler(
    engine: Literal["calls", "replaces"], does: str, *names: str, families: tuple[Family, ...] | None = None
) -> list[Step]:
    allowed = None if families is None else frozenset(families)
    return [Step("handler", name, engine, does, allowed) for name in names]


#: Every step, in the order in which a connection meets them.
STEPS: list[Step] = [
    *_server("calls", "", "server_bind", "server_activate", "server_close", "shutdown"),
    *_server("replaces", "waits for connections in its own loop", "serve_forever", "_handle_request_noblock"),
    *_server("replaces", "listens on the server's socket", "fileno"),
    *_server("calls", "", "handle_timeout", "handle_error"),
    *_server("replaces", "does not come round at intervals", "service_actions"),
    *_server("replaces", "accepts connections itself", "get_request"),
    *_server("replaces", "has threads of its own", "process_request", "process_request_thread"),
    # A connection of a handler that reads it itself goes through these.
    *[
        Step("server", name, "calls", "", frozenset(("stream", "datagram")))
        for name in ("verify_request", "finish_request", "shutdown_request", "close_request")
    ],
    *[
        Step("server", name, "replaces", "keeps connections itself", _HTTP)
        for name in ("verify_request", "finish_request", "shutdown_request", "close_request")
    ],
    *_handler("replaces", "makes one handler object a connection", "__new__", "__init__"),
    *_handler("replaces", "looks names up as Python does", "__getattribute__"),
    *_handler("replaces", "makes rfile and wfile", "setup"),
    *_handler("replaces", "knows when the connection has its next request", "handle", "handle_one_request"),
    *_handler("replaces", "reads the request's head", "parse_request"),
    *_handler("replaces", "answers Expect: 100-continue when the body is read", "handle_expect_100"),
    *_handler("replaces", "sends what is left and closes", "finish"),
    *_handler(
        "calls",
        "",
        *("send_error", "send_response", "send_response_only", "send_header", "end_headers", "flush_headers"),
        *("log_request", "log_error", "log_message", "log_date_time_string"),
        *("version_string", "date_time_string", "address_string"),
    ),
    # Files: past these steps the engine sends the file itself.
    *_handler(
        "replaces",
        "sends the file itself",
        *("do_GET", "do_HEAD", "send_head", "translate_path", "list_directory", "copyfile", "guess_type"),
        *("send_error", "send_response", "send_response_only", "send_header", "end_headers", "flush_headers"),
        *("version_string", "date_time_string"),
        families=("files",),
    ),
    # WSGI: the engine's own gateway.
    *_handler("replaces", "makes the environ", "get_environ", families=("wsgi",)),
    *_handler("replaces", "writes errors to sys.stderr", "get_stderr", families=("wsgi",)),
    *[
        Step("server", name, "calls", "", frozenset(("wsgi",)))
        for name in ("get_app", "set_app", "setup_environ")
    ],
    # XML-RPC: from the body to the answer, but for the function that is called.
    *_handler("calls", "", "report_404", families=("xmlrpc",)),
    *_handler(
        "replaces",
        "answers calls itself",
        *("do_POST", "decode_request_content", "accept_encodings", "is_rpc_path_valid", "_dispatch"),
        *("send_response", "send_response_only", "send_header", "end_headers", "flush_headers"),
        *("log_request", "log_message", "log_date_time_string", "address_string"),
        *("version_string", "date_time_string"),
        families=("xmlrpc",),
    ),
    *[
        Step(
            "server",
            "_marshaled_dispatch",
            "replaces",
            "reads and writes XML-RPC itself",
            frozenset(("xmlrpc",)),
        ),
        Step("server", "_dispatch", "calls", "", frozenset(("xmlrpc",))),
    ],
]

SETTINGS: list[Setting] = [
    # CGIHTTPRequestHandler reads without a buffer, SimpleXMLRPCRequestHandler writes with one.
    Setting("rbufsize", (-1, 0), "has buffers of its own for what it reads"),
    Setting("wbufsize", (0, -1), "has buffers of its own for what it writes"),
    Setting("timeout", (None,), "has time-outs of its own"),
    Setting("disable_nagle_algorithm", (False, True), "sends each response at once"),
    Setting("MessageClass", (http.client.HTTPMessage,), "makes the message of the header fields"),
    Setting("default_request_version", ("HTTP/0.9",), "answers requests without a version itself"),
    Setting("strict_framing", (True,), "refuses what is ambiguous (RFC 9112)"),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """The path of a server, and why.

    `reasons`: what stands against the engine, empty where it is taken. `called`: overrides that both paths
    call. `family`: what the handler is, None where the engine has nothing for it. `concurrency`: requests
    at once.
    """

    path: Literal["engine", "plain"]
    family: Family | None
    concurrency: Literal["one", "threads", "processes"]
    reasons: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    #: What of the program has the handler's methods answer, where they would not be asked otherwise.
    answers: list[str] = field(default_factory=list)
    #: How calls are answered natively; "" where they are not.
    native: str = ""


def choose(server: Any) -> Choice:
    """Decides which path this server's requests take, as it stands now."""
    reasons: list[str] = []
    called: list[str] = []
    if not getattr(server, "use_engine", True):
        reasons.append("use_engine is False")
    family = _raw_family(server)
    if family is not None:
        return _choose_raw(server, family, reasons)
    handler = _handler_class(server, reasons)
    family = _family(handler) if handler is not None else None
    own_part: list[tuple[Step, str]] = []
    if family in ("files", "xmlrpc"):
        own_part = [
            (step, where)
            for step, where in _overridden_steps(server, handler, family, only=family)
            if step.engine == "replaces"
        ]
    own_values: list[str] = []
    answers: list[str] = []
    native = ""
    if family == "xmlrpc" and handler is not None:
        own_values = _unusual_values(server, handler)
    if own_part or own_values:
        # Something of how the request is answered is the program's own: the engine reads the requests, the
        # handler serves them.
        family = "http"
        answers = [*dict.fromkeys(f"{where}.{step.name}" for step, where in own_part), *own_values]
    elif family == "xmlrpc" and handler is not None:
        native = "HTTP/1.1, connections are kept" if keeps_connections(handler) else "HTTP/1.0"
    concurrency = _concurrency(server, reasons)
    _check_server(server, reasons)
    if handler is not None and family is None:
        reasons.append(f"{_name(handler)} is no request handler of stdserve.http.server")
    if handler is not None and family is not None:
        for step, where in _overridden_steps(server, handler, family):
            if step.engine == "replaces":
                reasons.append(f"{where}.{step.name} is overridden: the engine {step.does}")
            else:
                called.append(f"{where}.{step.name}")
        called.extend(f"{where}.{step.name}" for step, where in own_part)
        called.extend(f"{_name(handler)}.{name}" for name in _methods(handler))
        called[:] = dict.fromkeys(called)
        for setting in SETTINGS:
            value = getattr(handler, setting.name, None)
            if value not in setting.values:
                reasons.append(f"{_name(handler)}.{setting.name} is {value!r}: the engine {setting.does}")
        if family not in ENGINE_SERVES:
            reasons.append(f"the engine of this version does not serve handlers of the kind {family!r}")
    path: Literal["plain", "engine"] = "plain" if reasons else "engine"
    return Choice(path, family, concurrency, reasons, called, answers, native)


def _raw_family(server: Any) -> Family | None:
    """What the connections of a server are whose handler reads them itself; None where it speaks HTTP."""
    factory = getattr(server, "RequestHandlerClass", None)
    while isinstance(factory, functools.partial):
        factory = factory.func
    if isinstance(factory, type) and _family(factory) is not None:
        return None
    listener = getattr(server, "socket", None)
    return "datagram" if getattr(listener, "type", None) == socket.SOCK_DGRAM else "stream"


def _choose_raw(server: Any, family: Family, reasons: list[str]) -> Choice:
    """Decides for a server whose handler gets connections or datagrams: what the handler does is its own."""
    called: list[str] = []
    concurrency = _concurrency(server, reasons)
    _check_server(server, reasons, family)
    for step, where in _overridden_steps(server, None, family):
        if step.engine == "replaces":
            reasons.append(f"{where}.{step.name} is overridden: the engine {step.does}")
        else:
            called.append(f"{where}.{step.name}")
    if family not in ENGINE_SERVES:
        reasons.append(f"the engine of this version does not serve handlers of the kind {family!r}")
    return Choice("plain" if reasons else "engine", family, concurrency, reasons, called)


def explain(server: Any) -> str:
    """Says which path this server's requests take, and why: one line for each reason."""
    handler = getattr(server, "RequestHandlerClass", None)
    if handler is None:
        what = f"the class {_name(server)}" if isinstance(server, type) else f"a {_name(type(server))}"
        raise TypeError(f"explain() takes a server of the drop-in modules, not {what}")
    base = _own("stdserve.socketserver", "BaseServer")
    if base is None or not isinstance(server, base):
        return (
            f"{_name(type(server))} with {_name(handler)}\n"
            "path: plain (the server is the standard library's own)\n"
            "  import it from stdserve, as in stdserve.http.server, or start the program by stdserve run"
        )
    choice = choose(server)
    lines = [f"{_name(type(server))} with {_name(handler)}"]
    if choice.path == "engine":
        lines.append("path: engine (accepting, waiting, reading requests and keeping connections are native)")
        if choice.native:
            lines.append(f"calls: native, from the body to the answer ({choice.native})")
        if choice.answers:
            lines.append("answers: by the handler's own methods, for " + ", ".join(choice.answers))
    else:
        lines.append("path: plain (every step in Python, as in the standard library)")
        lines.extend(f"  because {reason}" for reason in choice.reasons)
    at_once = {"one": "one at a time", "threads": "in threads", "processes": "in processes"}
    lines.append(f"requests: {at_once[choice.concurrency]}")
    if choice.called:
        lines.append("overrides that are called on either path: " + ", ".join(choice.called))
    return "\n".join(lines)


def _handler_class(server: Any, reasons: list[str]) -> type | None:
    """The handler class, out of a functools.partial with keywords too; None where there is no class to look
    at.
    """
    factory = getattr(server, "RequestHandlerClass", None)
    while isinstance(factory, functools.partial):
        if factory.args:
            reasons.append("RequestHandlerClass is a partial with positional arguments")
        factory = factory.func
    if isinstance(factory, type):
        return factory
    reasons.append(f"RequestHandlerClass is no class but {factory!r}")
    return None


def _own(module: str, name: str) -> Any:
    """Something of a module of ours; None where that is not imported, and so cannot be in use."""
    return getattr(sys.modules.get(module), name, None)


def _family(handler: type) -> Family | None:
    """What kind of handler the class is: the most special one."""
    known: tuple[tuple[Family, str, str], ...] = (
        ("wsgi", "stdserve.wsgiref.simple_server", "WSGIRequestHandler"),
        ("xmlrpc", "stdserve.xmlrpc.server", "SimpleXMLRPCRequestHandler"),
        ("http", "stdserve.http.server", "CGIHTTPRequestHandler"),
        ("files", "stdserve.http.server", "SimpleHTTPRequestHandler"),
        ("http", "stdserve.http.server", "BaseHTTPRequestHandler"),
    )
    for family, module, name in known:
        base = _own(module, name)
        if base is not None and issubclass(handler, base):
            return family
    return None


def _concurrency(server: Any, reasons: list[str]) -> Literal["one", "threads", "processes"]:
    """How many connections are handled at once, by the mix-ins of the server."""
    bases = {(base.__module__, base.__name__) for base in type(server).__mro__}
    if ("socketserver", "ForkingMixIn") in bases:
        reasons.append("ForkingMixIn: each connection has a process of its own")
        return "processes"
    return "threads" if ("socketserver", "ThreadingMixIn") in bases else "one"


def _check_server(server: Any, reasons: list[str], family: Family | None = None) -> None:
    """What speaks against the engine in the server object itself."""
    base = _own("stdserve.socketserver", "TCPServer")
    if base is None or not isinstance(server, base):
        reasons.append(f"{_name(type(server))} is no TCPServer of stdserve.socketserver")
    listener = getattr(server, "socket", None)
    if type(listener) is not socket.socket or type(listener).__module__ != "socket":
        reasons.append(f"the server's socket is {_name(type(listener))}, not a plain one")
    elif listener.type != (socket.SOCK_DGRAM if family == "datagram" else socket.SOCK_STREAM):
        reasons.append("the server's socket is not one of a stream")


def _overridden_steps(
    server: Any, handler: type | None, family: Family, only: Family | None = None
) -> list[tuple[Step, str]]:
    """The steps that are not the module's own, with the name of the class (or object) that has them."""
    found = []
    for step in STEPS:
        if step.families is not None and family not in step.families:
            continue
        if only is not None and (step.families is None or only not in step.families):
            continue
        if step.families is None and _has_stricter_step(step.name, family):
            continue
        owner = type(server) if step.of == "server" else handler
        if step.of == "server" and step.name in vars(server):
            found.append((step, "server"))
        elif owner is not None and (where := _override(owner, step.name)) is not None:
            found.append((step, where))
    return found


def _has_stricter_step(name: str, family: Family) -> bool:
    """Whether the stricter rule for files or XML-RPC is the one that counts for this handler step."""
    return family in ("files", "xmlrpc") and any(
        step.name == name and step.families == frozenset((family,)) and step.of == "handler" for step in STEPS
    )


def keeps_connections(handler: type) -> bool:
    """Whether calls are answered in HTTP/1.1: unless the program says which version its handler speaks."""
    version = getattr(handler, "protocol_version", None)
    if version == "HTTP/1.0":
        says = next((base for base in handler.__mro__ if "protocol_version" in vars(base)), None)
        return says is not None and says.__module__.startswith("stdserve.")
    return version == "HTTP/1.1"


def _unusual_values(server: Any, handler: Any) -> list[str]:
    """What native code does not answer XML-RPC by."""
    factory = server.RequestHandlerClass
    paths, threshold = handler.rpc_paths, handler.encode_threshold
    usual = {
        "rpc_paths": not paths
        or (
            isinstance(paths, (tuple, list, set, frozenset))
            and all(isinstance(path, str) and path.isascii() for path in paths)
        ),
        "encode_threshold": threshold is None or (type(threshold) is int and threshold >= 0),
        "protocol_version": handler.protocol_version in ("HTTP/1.0", "HTTP/1.1"),
        "responses": handler.responses is _own("stdserve.http._responses", "Responses").responses,
    }
    names = [f"{_name(handler)}.{name}" for name, is_usual in usual.items() if not is_usual]
    if isinstance(factory, functools.partial) and factory.keywords:
        names.append("keywords of the handler class")
    base = _own("stdserve.xmlrpc.server", "SimpleXMLRPCServer")
    if base is None or not isinstance(server, base):
        names.append(f"{_name(type(server))}, which is no SimpleXMLRPCServer")
    return names


def _override(cls: type, name: str) -> str | None:
    """The name of the class that overrides a step; None where it is the module's own, or is not there."""
    for base in cls.__mro__:
        if name not in vars(base):
            continue
        value = vars(base)[name]
        if base is object:
            return None
        function = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        if isinstance(value, property) and value.fget is not None:
            function = value.fget
        if isinstance(function, types.FunctionType) and _is_ours(function):
            return None
        return _name(base)
    return None


def _is_ours(function: types.FunctionType) -> bool:
    """Whether the function stands in one of our modules, under whatever name that is imported."""
    return any(
        function.__globals__ is vars(module)
        for name, module in list(sys.modules.items())
        if name.startswith("stdserve.") and module is not None
    )


def is_own(server: Any, *names: str) -> bool:
    """Whether the server's steps of these names are those of our modules."""
    return all(name not in vars(server) and _override(type(server), name) is None for name in names)


def _methods(handler: type) -> list[str]:
    """The `do_` methods that the program has."""
    names = {name for base in handler.__mro__ for name in vars(base) if name.startswith("do_")}
    return sorted(name for name in names if _override(handler, name) is not None)


def _name(thing: Any) -> str:
    """How to speak of a class."""
    if isinstance(thing, functools.partial):
        return _name(thing.func)
    return getattr(thing, "__qualname__", None) or repr(thing)
