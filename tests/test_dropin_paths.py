"""Which path a server takes: one test for each step and setting of the table, and what `explain` says."""

from __future__ import annotations

import functools
import socket
import socketserver as standard
from collections.abc import Iterator
from typing import Any

import pytest
import stdserve
from stdserve import _paths, socketserver
from stdserve.http.server import (
    BaseHTTPRequestHandler,
    CGIHTTPRequestHandler,
    HTTPServer,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from stdserve.wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from stdserve.xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer


class Handler(BaseHTTPRequestHandler):
    """A handler as the documentation shows it."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _everything_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is what the table decides, whatever the engine of this version serves."""
    monkeypatch.setattr(_paths, "ENGINE_SERVES", {"http", "files", "wsgi", "xmlrpc", "stream", "datagram"})


def choose(handler: Any, server: Any = ThreadingHTTPServer, **attributes: Any) -> _paths.Choice:
    """The choice for a server of this class, with these attributes of its own."""
    made = server(("127.0.0.1", 0), handler)
    try:
        for name, value in attributes.items():
            setattr(made, name, value)
        return _paths.choose(made)
    finally:
        made.server_close()


def override(base: type, name: str) -> type:
    """A subclass that overrides one method."""

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(cls, self), name)(*args, **kwargs)

    cls = type("Mine", (base,), {name: step})
    return cls


def steps(of: str, engine: str, family: str) -> Iterator[str]:
    """The names of the table's steps for one kind of handler."""
    for step in _paths.STEPS:
        applies = step.families is None or family in step.families
        if (step.of, step.engine) == (of, engine) and applies:
            yield step.name


@pytest.mark.parametrize(
    ("handler", "server", "family", "concurrency"),
    [
        (Handler, HTTPServer, "http", "one"),
        (Handler, ThreadingHTTPServer, "http", "threads"),
        (SimpleHTTPRequestHandler, HTTPServer, "files", "one"),
        (CGIHTTPRequestHandler, HTTPServer, "http", "one"),
        (WSGIRequestHandler, WSGIServer, "wsgi", "one"),
        (functools.partial(SimpleHTTPRequestHandler, directory="/"), HTTPServer, "files", "one"),
        (SimpleXMLRPCRequestHandler, SimpleXMLRPCServer, "xmlrpc", "one"),
    ],
)
def test_what_is_unchanged_goes_through_the_engine(
    handler: Any, server: Any, family: str, concurrency: str
) -> None:
    """And the choice says what it is."""
    choice = choose(handler, server)
    assert choice.reasons == []
    assert (choice.path, choice.family, choice.concurrency) == ("engine", family, concurrency)


@pytest.mark.parametrize("name", list(steps("handler", "replaces", "http")))
def test_an_override_of_what_the_engine_does_itself_means_the_plain_path(name: str) -> None:
    """Each step that stands as "replaces" in the table."""
    choice = choose(override(Handler, name))
    assert choice.path == "plain"
    assert [reason.startswith(f"Mine.{name} is overridden: the engine ") for reason in choice.reasons] == [
        True
    ]


@pytest.mark.parametrize("name", list(steps("handler", "calls", "http")))
def test_an_override_that_the_engine_calls_changes_nothing(name: str) -> None:
    """Each step that stands as "calls" in the table."""
    choice = choose(override(BaseHTTPRequestHandler, name))
    assert (choice.path, choice.reasons) == ("engine", [])
    assert f"Mine.{name}" in choice.called


@pytest.mark.parametrize("name", list(steps("server", "replaces", "http")))
def test_the_same_for_steps_of_the_server(name: str) -> None:
    """A step that the engine does itself."""
    choice = choose(Handler, override(ThreadingHTTPServer, name))
    assert choice.path == "plain"
    assert choice.reasons[0].startswith(f"Mine.{name} is overridden")


@pytest.mark.parametrize("name", list(steps("server", "calls", "http")))
def test_the_same_for_steps_of_the_server_that_are_called(name: str) -> None:
    """A step that the engine calls; on the class or on the object."""
    choice = choose(Handler, override(ThreadingHTTPServer, name))
    assert (choice.path, choice.reasons) == ("engine", [])
    assert f"Mine.{name}" in choice.called


def test_an_attribute_of_the_object_is_an_override() -> None:
    """`server.handle_error = ...` counts as much as a method."""
    assert "server.handle_error" in choose(Handler, handle_error=lambda *_: None).called
    assert choose(Handler, verify_request=lambda *_: True).path == "plain"
    assert choose(Handler, use_engine=False).reasons == ["use_engine is False"]
    assert choose(Handler, serve_forever=lambda: None).path == "plain"


@pytest.mark.parametrize("setting", _paths.SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_that_the_engine_relies_on(setting: _paths.Setting) -> None:
    """Each of the table: one of its values is fine, another is not."""
    for value in setting.values:
        assert choose(type("Mine", (Handler,), {setting.name: value})).reasons == []
    choice = choose(type("Mine", (Handler,), {setting.name: 7}))
    assert choice.path == "plain"
    assert choice.reasons == [f"Mine.{setting.name} is 7: the engine {setting.does}"]


@pytest.mark.parametrize("name", ["do_GET", "send_head", "translate_path", "guess_type", "end_headers"])
def test_files_of_a_handler_with_a_step_of_its_own_are_sent_by_the_handler(name: str) -> None:
    """The engine still reads the requests."""
    choice = choose(override(SimpleHTTPRequestHandler, name))
    assert (choice.path, choice.family) == ("engine", "http")
    assert f"Mine.{name}" in choice.called


@pytest.mark.parametrize("name", ["do_POST", "decode_request_content", "accept_encodings"])
def test_calls_of_a_handler_with_a_step_of_its_own_are_made_by_the_handler(name: str) -> None:
    """The same for XML-RPC."""
    choice = choose(override(SimpleXMLRPCRequestHandler, name), SimpleXMLRPCServer)
    assert (choice.path, choice.family) == ("engine", "http")
    assert f"Mine.{name}" in choice.called
    choice = choose(override(SimpleXMLRPCRequestHandler, "report_404"), SimpleXMLRPCServer)
    assert (choice.path, choice.family) == ("engine", "xmlrpc")


def test_a_handler_that_makes_its_own_environ_is_called_for_it() -> None:
    """The WSGI gateway of the engine makes the environ itself."""
    choice = choose(override(WSGIRequestHandler, "get_environ"), WSGIServer)
    assert choice.path == "plain"


def test_a_patched_class_counts_as_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the other function was put."""
    monkeypatch.setattr(BaseHTTPRequestHandler, "parse_request", lambda self: False)
    choice = choose(Handler)
    assert choice.reasons == [
        "BaseHTTPRequestHandler.parse_request is overridden: the engine reads the request's head"
    ]


def test_what_is_not_from_these_modules_takes_the_plain_path() -> None:
    """The standard library's own servers, datagrams for HTTP, forks. Other handlers need no HTTP."""

    class Foreign(standard.StreamRequestHandler):
        pass

    class Forking(socketserver.ForkingMixIn, HTTPServer):
        pass

    def factory(*args: Any) -> Any:
        return Handler(*args)

    assert (choose(Foreign).path, choose(Foreign).family) == ("engine", "stream")
    assert (choose(factory).path, choose(factory).family) == ("engine", "stream")
    assert "is no TCPServer" in choose(Handler, standard.TCPServer).reasons[0]
    assert choose(Handler, Forking).concurrency == "processes"
    assert choose(Handler, Forking).path == "plain"
    assert "positional" in choose(functools.partial(Handler, 1)).reasons[0]
    assert choose(Handler, socketserver.UDPServer).path == "plain"


def test_a_socket_that_is_more_than_a_socket_takes_the_plain_path() -> None:
    """TLS, and whatever else somebody wraps round it."""

    class Wrapped(socket.socket):
        pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.socket = Wrapped(fileno=made.socket.detach())
    try:
        assert "not a plain one" in _paths.choose(made).reasons[0]
    finally:
        made.server_close()


def test_explain_names_the_import_that_was_not_changed() -> None:
    """Eight steps of the standard library's were called overridden, and nothing said what to do."""
    made: Any
    with standard.ThreadingTCPServer(("127.0.0.1", 0), standard.BaseRequestHandler) as made:
        assert stdserve.explain(made).splitlines() == [
            "ThreadingTCPServer with BaseRequestHandler",
            "path: plain (the server is the standard library's own)",
            "  import it from stdserve, as in stdserve.http.server, or start the program by stdserve run",
        ]


@pytest.mark.parametrize(
    ("wrong", "what"), [(ThreadingHTTPServer, "the class ThreadingHTTPServer"), (None, "a NoneType")]
)
def test_explain_says_what_it_takes(wrong: Any, what: str) -> None:
    """A class was explained as a server without a socket, and None ended in a TypeError of vars()."""
    with pytest.raises(TypeError, match=f"takes a server of the drop-in modules, not {what}"):
        stdserve.explain(wrong)


def test_explain_says_it_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for the server, one for the path, one for each reason."""

    class Late(Handler):
        timeout = 3

        def setup(self) -> None:
            super().setup()

    made = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    fine = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    try:
        lines = stdserve.explain(made).splitlines()
        assert lines[0].startswith("ThreadingHTTPServer with ")
        assert lines[1].startswith("path: plain")
        assert [line.split(".")[-1] for line in lines[2:4]] == [
            "setup is overridden: the engine makes rfile and wfile",
            "timeout is 3: the engine has time-outs of its own",
        ]
        assert lines[4] == "requests: in threads"
        assert lines[5].startswith("overrides that are called on either path: ")
        assert "path: engine" in stdserve.explain(fine)
        monkeypatch.setattr(_paths, "ENGINE_SERVES", set())
        assert "does not serve handlers of the kind 'http'" in stdserve.explain(fine)
    finally:
        made.server_close()
        fine.server_close()
