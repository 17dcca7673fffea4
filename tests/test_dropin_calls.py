"""XML-RPC that is answered natively: nobody can tell it from a handler that does it in Python."""

from __future__ import annotations

import gzip
import io
import re
import sys
import threading
import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest
import stdserve
from stdserve.socketserver import ThreadingMixIn
from stdserve.xmlrpc.server import (
    DocXMLRPCServer,
    MultiPathXMLRPCServer,
    SimpleXMLRPCDispatcher,
    SimpleXMLRPCRequestHandler,
    SimpleXMLRPCServer,
)

from support.dropin import ask, connect, read_response, running
from support.waiting import PATIENCE

ANYWHERE = ("127.0.0.1", 0)


class Oddity:
    """What is not marshalled."""

    __slots__ = ()


def fail(*how: Any) -> Any:
    raise how[0] if how else xmlrpc.client.Fault(7, "no")


def functions(made: Any) -> Any:
    made.register_introspection_functions()
    made.register_multicall_functions()
    results: dict[str, Callable[..., Any]] = {
        "echo": lambda x: x,
        "nothing": lambda: None,
        "fault": fail,
        "wrong": lambda: fail(ValueError("é <&>")),
        "leave": lambda: fail(SystemExit(3)),
        "odd": Oddity,
        "a_fault": lambda: xmlrpc.client.Fault(8, "returned"),
        "large": lambda: "x" * 3000,
        "kind": lambda x: type(x).__name__,
        "huge": lambda: 1 << 40,
    }
    for name, function in results.items():
        made.register_function(function, name)
    return made


class Latin(SimpleXMLRPCServer):
    """Answers in another encoding."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **{"encoding": "iso-8859-1", **keywords})


class Nil(ThreadingMixIn, SimpleXMLRPCServer):
    """Allows what is not in XML-RPC, in threads."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **{"allow_none": True, "use_builtin_types": True, **keywords})


class Paths(MultiPathXMLRPCServer):
    """Has a dispatcher at one of its paths."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        functions(self.add_dispatcher("/RPC2", SimpleXMLRPCDispatcher()))


class Own(SimpleXMLRPCServer):
    """Chooses what is called, and tells what went wrong."""

    _send_traceback_header = False

    def _dispatch(self, method: Any, params: Any) -> Any:
        return "own" if method == "own" else super()._dispatch(method, params)


class Failing(SimpleXMLRPCServer):
    """Cannot even make a fault."""

    encoding: Any

    def _dispatch(self, method: Any, params: Any) -> Any:
        self.encoding = "no such encoding"
        raise ValueError("first")


def call(
    method: str | None, *params: Any, path: str = "/RPC2", body: bytes | None = None, **fields: str
) -> bytes:
    if body is None:
        body = xmlrpc.client.dumps(params, method, allow_none=True).encode()
    head = [f"POST {path} HTTP/1.0", "Content-Type: text/xml", f"Content-Length: {len(body)}"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


PLAIN = xmlrpc.client.dumps((1,), "echo").encode()
LATIN = "<?xml version='1.0' encoding='iso-8859-1'?>" + xmlrpc.client.dumps(("é",), "echo").partition("?>")[2]

REQUESTS = {
    "echo": call("echo", [1, "é", {"a": 2.5}, True, b"x"]),
    "date": call("kind", xmlrpc.client.DateTime("20260102T03:04:05")),
    "nothing": call("nothing"),
    "fault": call("fault"),
    "a fault": call("a_fault"),
    "exception": call("wrong"),
    "exit": call("leave"),
    "odd": call("odd"),
    "huge": call("huge"),
    "unknown": call("unknown"),
    "private": call("_dispatch"),
    "own": call("own"),
    "list": call("system.listMethods"),
    "multicall": call("system.multicall", [{"methodName": "echo", "params": [1]}]),
    "no method": call(None, 1),
    "a response": call("x", body=xmlrpc.client.dumps((1,), methodresponse=True).encode()),
    "a fault as a call": call("x", body=xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x")).encode()),
    "no XML": call("x", body=b"{}"),
    "half of it": call("x", body=b"<methodCall><methodName>echo"),
    "a doctype": call("x", body=b"<!DOCTYPE x><methodCall><methodName>echo</methodName></methodCall>"),
    "latin": call("x", body=LATIN.encode("latin-1")),
    "large": call("large"),
    "large for who takes gzip": call("large", Accept_Encoding="gzip"),
    "large for who takes it with others": call("large", Accept_Encoding="br;q=1.0, gzip;q=0.8"),
    "large for who refuses it": call("large", Accept_Encoding="gzip;q=0"),
    "small for who takes gzip": call("echo", 1, Accept_Encoding="gzip"),
    "compressed": call("x", body=gzip.compress(PLAIN), Content_Encoding="gzip"),
    "falsely compressed": call("echo", 1, Content_Encoding="gzip"),
    "unknown coding": call("echo", 1, Content_Encoding="br"),
    "another path": call("echo", 1, path="/else"),
    "two slashes": call("echo", 1, path="//RPC2"),
    "the root": call("echo", 1, path="/"),
    "no length": b"POST /RPC2 HTTP/1.0\r\n\r\n",
    "no body": b"POST /RPC2 HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
    "GET": b"GET /RPC2 HTTP/1.0\r\n\r\n",
}


def told(answer: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status line but for its version, fields but for what depends on version and time, body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    fields = [field for field in fields if not field.startswith((b"Date:", b"Connection:", b"X-traceback:"))]
    if b"Content-Encoding: gzip" in fields:
        body = gzip.decompress(body)
        fields = [field for field in fields if not field.startswith(b"Content-length:")]
    return line.partition(b" ")[2], fields, re.sub(rb"0x[0-9a-f]+", b"", body)


@pytest.mark.parametrize("kind", [SimpleXMLRPCServer, Latin, Nil, Paths, Own, DocXMLRPCServer, Failing])
def test_a_call_has_the_same_answer_and_the_same_line_in_the_log_on_both_paths(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of request, to every kind of server."""
    answers: list[list[Any]] = []
    for engine in (False, True):
        log = io.StringIO()
        monkeypatch.setattr(sys, "stderr", log)
        made = functions(kind(ANYWHERE))
        made._send_traceback_header = kind is Failing
        if engine:
            assert "calls: native" in stdserve.explain(made)
        with running(made, engine=engine) as address:
            answers.append([(name, told(ask(address, request))) for name, request in REQUESTS.items()])
        lines = re.sub(r"\[[^]]*\]", "[]", log.getvalue()).splitlines()
        answers[-1].append(sorted(line for line in lines if '" ' in line))
    assert answers[1] == answers[0]


def test_connections_are_kept_unless_the_program_says_which_version_it_speaks() -> None:
    """By a client of HTTP/1.1."""

    class Old(SimpleXMLRPCRequestHandler):
        protocol_version = "HTTP/1.0"

    class New(SimpleXMLRPCRequestHandler):
        protocol_version = "HTTP/1.1"

    request = call("echo", 1).replace(b"HTTP/1.0", b"HTTP/1.1\r\nHost: x")
    last = request.replace(b"Host: x", b"Host: x\r\nConnection: close")
    for handler in (SimpleXMLRPCRequestHandler, New):
        made = functions(SimpleXMLRPCServer(ANYWHERE, handler, logRequests=False))
        assert "HTTP/1.1, connections are kept" in stdserve.explain(made)
        with running(made, engine=True) as address, connect(address) as sock, sock.makefile("rb") as stream:
            for message in (request, request, last):
                sock.sendall(message)
                status, fields, body = read_response(stream)
                assert (status, xmlrpc.client.loads(body)[0]) == (200, (1,))
            assert fields["connection"] == "close"
            assert stream.read() == b""
    made = functions(SimpleXMLRPCServer(ANYWHERE, Old, logRequests=False))
    assert "native, from the body to the answer (HTTP/1.0)" in stdserve.explain(made)
    with running(made, engine=True) as address, connect(address) as sock, sock.makefile("rb") as stream:
        sock.sendall(request)
        assert stream.readline() == b"HTTP/1.0 200 OK\r\n"
        assert b"<int>1</int>" in stream.read()


def test_what_a_program_changes_in_the_client_while_it_serves_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the next call."""

    def dump_odd(self: Any, value: Any, write: Callable[[str], None]) -> None:
        write("<value><string>taught</string></value>")

    writers: dict[Any, Any] = xmlrpc.client.Marshaller.dispatch
    made = functions(SimpleXMLRPCServer(ANYWHERE, logRequests=False))
    with running(made, engine=True) as address:
        url = f"http://{address[0]}:{address[1]}"
        with xmlrpc.client.ServerProxy(url) as client:
            with pytest.raises(xmlrpc.client.Fault):
                client.odd()
            monkeypatch.setitem(writers, Oddity, dump_odd)
            assert client.odd() == "taught"
            monkeypatch.delitem(writers, Oddity)
            with pytest.raises(xmlrpc.client.Fault):
                client.odd()


@pytest.mark.parametrize(
    "changed",
    [
        {"log_message": lambda *_: None},
        {"_dispatch": lambda self, method, params: "handler's"},
        {"is_rpc_path_valid": lambda self: True},
        {"encode_threshold": 1.5},
        {"rpc_paths": iter(("/RPC2",))},
        {"responses": {200: ("Fine", "")}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_handler_that_answers_in_its_own_way_is_asked(changed: dict[str, Any]) -> None:
    """And `explain` says for what."""
    handler = type("Mine", (SimpleXMLRPCRequestHandler,), changed)
    made = functions(SimpleXMLRPCServer(ANYWHERE, handler, logRequests=False))
    told_to_us = stdserve.explain(made)
    assert f"answers: by the handler's own methods, for Mine.{next(iter(changed))}" in told_to_us
    assert "calls: native" not in told_to_us
    with running(made, engine=True) as address:
        answer = ask(address, call("echo", 1))
    assert (b"handler's" if "_dispatch" in changed else b"<int>1</int>") in answer
    assert answer.startswith(b"HTTP/1.0 200 Fine\r\n" if "responses" in changed else b"HTTP/1.0 200 OK\r\n")


def test_an_answer_does_not_wait_for_the_call_after_it() -> None:
    """A server without threads: what it has answered is on its way before it makes the next call."""
    gate, last = threading.Event(), threading.Event()
    inside = threading.Event()

    def first() -> bool:
        inside.set()
        return gate.wait(PATIENCE)

    made = functions(SimpleXMLRPCServer(ANYWHERE, logRequests=False))
    made.register_function(first, "first")
    made.register_function(lambda: last.wait(PATIENCE), "last")
    with running(made, engine=True) as address:
        socks = [connect(address) for _ in range(3)]
        for sock, method in zip(socks, ("first", "echo", "last"), strict=True):
            sock.sendall(call(method, *((5,) if method == "echo" else ())))
            assert inside.wait(PATIENCE)
        gate.set()
        with socks[1].makefile("rb") as stream:
            assert b"<int>5</int>" in stream.read()
        last.set()
        for sock in (socks[0], socks[2]):
            with sock.makefile("rb") as stream:
                assert b"<boolean>1</boolean>" in stream.read()
        for sock in socks:
            sock.close()
