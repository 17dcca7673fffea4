"""`stdserve.xmlrpc.server` beyond CPython's own tests: what is called, what is added, known attacks."""

from __future__ import annotations

import gzip
import xmlrpc.client
from collections.abc import Callable
from typing import Any
from xmlrpc.client import Fault, Marshaller, ServerProxy

import pytest
import stdserve
from stdserve.socketserver import ThreadingMixIn
from stdserve.xmlrpc import server
from stdserve.xmlrpc.server import (
    DocXMLRPCServer,
    MultiPathXMLRPCServer,
    SimpleXMLRPCDispatcher,
    SimpleXMLRPCRequestHandler,
    SimpleXMLRPCServer,
    XMLRPCDocGenerator,
)

from support.dropin import ask, running


def serving(kind: Any = SimpleXMLRPCServer, **how: Any) -> Any:
    how.setdefault("logRequests", False)
    made = kind(("127.0.0.1", 0), **how)
    made.register_function(lambda x: x, "echo")
    return made


def proxy(address: tuple[str, int], path: str = "/RPC2") -> ServerProxy:
    return ServerProxy(f"http://127.0.0.1:{address[1]}{path}")


def post(address: tuple[str, int], body: bytes, *fields: str) -> bytes:
    head = ["POST /RPC2 HTTP/1.0", "Content-Type: text/xml", f"Content-Length: {len(body)}", *fields]
    return ask(address, "\r\n".join([*head, "", ""]).encode() + body)


def fault_of(answer: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        xmlrpc.client.loads(answer.partition(b"\r\n\r\n")[2])
    return caught.value


# Names


@pytest.mark.parametrize("name", server.__all__)
def test_names_are_there_and_say_that_they_are_the_standard_ones(name: str) -> None:
    assert getattr(server, name).__module__ == "xmlrpc.server"


@pytest.mark.parametrize("name", ["Fault", "dumps", "loads", "gzip_encode", "gzip_decode"])
def test_names_that_programs_import_from_there(name: str) -> None:
    assert hasattr(server, name)


def test_explain_knows_the_server() -> None:
    with serving() as plain:
        assert "SimpleXMLRPCRequestHandler" in stdserve.explain(plain)


# Overrides


def test_overrides_are_called() -> None:
    called: list[str] = []

    class Handler(SimpleXMLRPCRequestHandler):
        def _dispatch(self, method: str, params: Any) -> Any:
            called.append("handler")
            return [method, *params]

        def decode_request_content(self, data: bytes) -> bytes | None:
            called.append("decode")
            return super().decode_request_content(data)

    class Server(SimpleXMLRPCServer):
        def _marshaled_dispatch(self, data: Any, dispatch_method: Any = None, path: Any = None) -> bytes:
            called.append("marshaled")
            return super()._marshaled_dispatch(data, dispatch_method, path)

        def _dispatch(self, method: Any, params: Any) -> Any:
            called.append("server")
            return super()._dispatch(method, params)

    with running(serving(Server)) as address, proxy(address) as client:
        assert client.echo(1) == 1
    assert called == ["marshaled", "server"]
    called.clear()
    with running(serving(Server, requestHandler=Handler)) as address, proxy(address) as client:
        assert client.anything(1) == ["anything", 1]
    assert called == ["decode", "marshaled", "handler"]


def test_types_that_a_program_has_taught_the_marshaller_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def dump_complex(self: Any, value: complex, write: Callable[[str], None]) -> None:
        write(f"<value><string>{value}</string></value>")

    made = serving()
    made.register_function(lambda: 1j, "imaginary")
    with running(made) as address, proxy(address) as client:
        with pytest.raises(Fault, match="cannot marshal"):
            client.imaginary()
        writers: dict[Any, Any] = Marshaller.dispatch
        monkeypatch.setitem(writers, complex, dump_complex)
        assert client.imaginary() == "1j"


def test_threads_answer_at_once() -> None:
    class Server(ThreadingMixIn, SimpleXMLRPCServer):
        pass

    made = serving(Server)
    with running(made) as address:
        # Asks itself while it answers.
        def inner(x: int) -> Any:
            with proxy(address) as client:
                return client.echo(x)

        made.register_function(inner)
        with proxy(address) as client:
            assert client.inner(5) == 5


def test_answers_in_another_encoding() -> None:
    with running(serving(encoding="iso-8859-1")) as address:
        answer = post(address, xmlrpc.client.dumps(("é€",), "echo").encode())
    assert b"encoding='iso-8859-1'" in answer
    assert b"\xe9&#8364;" in answer


def test_a_traceback_in_header_fields_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server(SimpleXMLRPCServer):
        def _marshaled_dispatch(self, data: Any, dispatch_method: Any = None, path: Any = None) -> bytes:
            raise RuntimeError("two\r\nlines")

    monkeypatch.setattr(SimpleXMLRPCServer, "_send_traceback_header", True)
    with running(serving(Server)) as address:
        head = post(address, b"<x/>").partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"HTTP/1.0 500 Internal Server Error"
    assert b"X-exception: two lines" in head
    assert any(line.startswith(b"X-traceback: Traceback") and b"RuntimeError" in line for line in head)
    assert b"lines" not in head


# What is added


@pytest.mark.parametrize(
    ("name", "limit", "value"),
    [
        ("max_request_size", 300, "x" * 300),
        ("max_depth", 2, [[[]]]),
        ("max_elements", 20, [0] * 20),
    ],
)
def test_documents_are_bounded(name: str, limit: int, value: Any) -> None:
    assert getattr(SimpleXMLRPCDispatcher, name) > limit
    body = xmlrpc.client.dumps((value,), "echo").encode()
    bounded = type("Bounded", (SimpleXMLRPCServer,), {name: limit})
    with running(serving(bounded)) as address:
        assert "than allowed" in fault_of(post(address, body)).faultString
    unbounded = type("Unbounded", (SimpleXMLRPCServer,), {name: None})
    with running(serving(unbounded)) as address, proxy(address) as client:
        assert client.echo(value) == value


def test_a_body_that_is_too_large_is_not_read() -> None:
    class Handler(SimpleXMLRPCRequestHandler):
        max_body_size = 1000

    with running(serving(requestHandler=Handler)) as address:
        assert post(address, b" " * 1001).startswith(b"HTTP/1.0 413 ")


# Known attacks


def test_cve_2019_16935_the_title_of_the_page_is_escaped() -> None:
    class Page(SimpleXMLRPCDispatcher, XMLRPCDocGenerator):
        def __init__(self) -> None:
            SimpleXMLRPCDispatcher.__init__(self)
            XMLRPCDocGenerator.__init__(self)

    page = Page()
    page.set_server_title("test_title<script>")
    page.set_server_name("test_name<script>")
    page.set_server_documentation("test_documentation<script>")
    html = page.generate_html_documentation()
    assert "<title>Python: test_title&lt;script&gt;</title>" in html
    assert "<script>" not in html
    # By HTTP, too.
    made = serving(DocXMLRPCServer)
    made.set_server_title("<script>")
    with running(made) as address:
        assert b"<script>" not in ask(address, b"GET / HTTP/1.0\r\n\r\n")
        assert b"text/css" in ask(address, b"GET /pydoc.css HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    "declared",
    [
        '[<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]',
        'SYSTEM "file:///etc/passwd"',
        "",
    ],
)
def test_cve_2003_1564_entities_are_not_expanded(declared: str) -> None:
    document = (
        f"<?xml version='1.0'?><!DOCTYPE methodCall {declared}><methodCall><methodName>echo</methodName>"
        "<params><param><value>x</value></param></params></methodCall>"
    )
    with running(serving()) as address:
        assert "DOCTYPE" in fault_of(post(address, document.encode())).faultString


def test_cve_2013_1753_compressed_bodies_are_bounded() -> None:
    class Handler(SimpleXMLRPCRequestHandler):
        max_inflated_size = 4 << 20

    document = xmlrpc.client.dumps(("x",), "echo").encode()
    with running(serving(requestHandler=Handler)) as address:

        def sent(spaces: int) -> bytes:
            return post(address, gzip.compress(document + b" " * spaces), "Content-Encoding: gzip")

        assert sent(1000).startswith(b"HTTP/1.0 200 ")
        assert sent(4 << 20).startswith(b"HTTP/1.0 400 ")
        # Within the size, and a thousand times its own.
        assert sent(3 << 20).startswith(b"HTTP/1.0 400 ")


def test_names_with_underscores_and_dots_reach_nothing() -> None:
    class Inner:
        def reached(self) -> bool:
            return True

    class Outer:
        inner = Inner()

        def _private(self) -> bool:
            return True

    made = serving()
    made.register_instance(Outer())
    with running(made) as address, proxy(address) as client:
        for name in ("_private", "__init__", "inner.reached", "__class__", "_private.__globals__"):
            with pytest.raises(Fault, match="is not supported"):
                ServerProxy.__getattr__(client, name)()


def test_dispatchers_at_paths_of_their_own() -> None:
    class Handler(SimpleXMLRPCRequestHandler):
        rpc_paths = ("/a", "/b")

    made = MultiPathXMLRPCServer(("127.0.0.1", 0), requestHandler=Handler, logRequests=False)
    made.add_dispatcher("/a", SimpleXMLRPCDispatcher()).register_function(lambda: "a", "who")
    with running(made) as address:
        assert proxy(address, "/a").who() == "a"
        with pytest.raises(Fault, match="KeyError"):
            proxy(address, "/b").who()
        with pytest.raises(xmlrpc.client.ProtocolError, match="404"):
            proxy(address, "/c").who()
