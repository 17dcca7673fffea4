"""`stdserve rpc`: an object's methods by XML-RPC and JSON-RPC, through the real command."""

from __future__ import annotations

import datetime
import gzip
import json
import re
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, MultiCall, ServerProxy

import pytest

from support.serving import Serve, Served

XML = [("Content-Type", "text/xml")]
JSON = [("Content-Type", "application/json")]


def start(serve: Serve, name: str = "calls:shop", **options: Any) -> Served:
    return serve(None, "rpc", name, **options)


def proxy(server: Served, path: str = "/RPC2", **how: Any) -> ServerProxy:
    how.setdefault("allow_none", True)
    how.setdefault("use_builtin_types", True)
    return ServerProxy(server.url + path, **how)


def fault_of(call: Callable[..., Any], *arguments: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        call(*arguments)
    return caught.value


def post(server: Served, body: bytes, fields: list[tuple[str, str]], target: str = "/") -> Any:
    with server.client() as client:
        return client.ask(target, "POST", fields, body)


def ask_json(server: Served, asked: object) -> Any:
    answer = post(server, json.dumps(asked).encode(), JSON)
    assert answer.status == 200
    assert answer.get("Content-Type") == "application/json"
    return json.loads(answer.body)


def call(method: str, *params: Any, id: object = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params, "id": id}


# Calls


def test_values_of_every_type_go_there_and_back(serve: Serve) -> None:
    with proxy(start(serve)) as shop:
        assert shop.add(2, 3) == 5
        values = [
            *(0, -1, 2**31 - 1, -(2**31), 1.5, 1e300, True, False, None),
            *("", "é <b>&amp; \u20ac \U0001f600 ]]>", "a\tb\n", b"", bytes(range(256)) * 50),
            *([1, ["x", [None]]], {"a": {"b <": [1]}, "": 2}, datetime.datetime(2026, 1, 2, 3, 4, 5)),
        ]
        assert shop.echo(values) == values
        assert shop.add(2**30, 2**30) == 2**31
        # A client writes it as it is, and it is read as a newline; an answer keeps it.
        assert shop.chr(13) == "\r"
        assert [shop.kind(v) for v in (b"", datetime.datetime(2026, 1, 2), 1)] == ["bytes", "datetime", "int"]


def test_the_types_of_xmlrpc_client_are_there_for_those_who_want_them(serve: Serve) -> None:
    with proxy(start(serve, builtin_types=False)) as shop:
        assert [shop.kind(v) for v in (b"", datetime.datetime(2026, 1, 2))] == ["Binary", "DateTime"]
        assert shop.echo(b"x") == b"x"


def test_without_extensions_none_and_large_integers_are_faults(serve: Serve) -> None:
    with proxy(start(serve, rpc_extensions=False)) as shop:
        assert fault_of(shop.echo, None).faultCode == -32603
        assert fault_of(shop.add, 1, 2**31 - 1).faultCode == -32603


def test_faults_carry_no_traceback_and_the_log_does(serve: Serve) -> None:
    server = start(serve)
    with proxy(server) as shop:
        failed = fault_of(shop.fail, "boom <&>")
        assert (failed.faultCode, failed.faultString) == (-32500, "ValueError: boom <&>")
        assert "Traceback" not in failed.faultString
        server.log.wait(
            r"method fail failed \(number \d+\) \(request [0-9a-f]{32}\)\nTraceback(.|\n)*raise ValueError"
        )
        chosen = fault_of(shop.refuse)
        assert (chosen.faultCode, chosen.faultString) == (42, "not <today>")
        # What would end a program ends a call.
        assert fault_of(shop.leave).faultString == "SystemExit: no"
        assert fault_of(shop.wrong_inside).faultCode == -32500
        assert fault_of(shop.thing).faultCode == -32603
        assert shop.add(1, 1) == 2


def test_faults_can_hide_what_went_wrong(serve: Serve) -> None:
    server = start(serve, error_messages=False)
    with proxy(server) as shop:
        failed = fault_of(shop.fail, "the password")
        number = re.fullmatch(r"internal error, number (\d+)", failed.faultString)
        assert number
        server.log.wait(rf"\(number {number[1]}\)(.|\n)*the password")


def test_a_result_that_xml_cannot_hold_is_a_fault(serve: Serve) -> None:
    server = start(serve)
    answer = ask_json(server, call("echo", "a\0b"))
    assert answer["result"] == "a\0b"
    with proxy(server) as shop:
        failed = fault_of(shop.chr, 0)
        assert failed.faultCode == -32603
        assert "character" in failed.faultString


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("nothing", "_hidden", "__init__", "__class__", "part.inner", "part", "limit", "Nested", "costly"),
        *("add.__globals__", "add.__func__", "add.__call__", ".add", "add.", "", "system.add", "_"),
    ],
)
def test_only_public_methods_can_be_called(serve: Serve, name: str) -> None:
    server = start(serve)
    document = f"<methodCall><methodName>{name}</methodName></methodCall>"
    answer = post(server, document.encode(), XML)
    with pytest.raises(Fault) as caught:
        xmlrpc.client.loads(answer.body)
    assert caught.value.faultCode == -32601
    assert ask_json(server, call(name))["error"]["code"] == -32601


def test_arguments_that_do_not_fit_are_told_apart_from_errors_inside(serve: Serve) -> None:
    with proxy(start(serve)) as shop:
        assert fault_of(shop.add, 1).faultCode == -32602
        assert fault_of(shop.add, 1, 2, 3).faultCode == -32602
        assert fault_of(shop.wrong_inside).faultCode == -32500


def test_functions_of_a_dict_and_of_a_module(serve: Serve) -> None:
    with proxy(start(serve, "calls:functions")) as functions:
        assert functions.double(4) == 8
        assert isinstance(functions.pid(), int)
    with proxy(start(serve, "calls:own")) as module:
        assert module.triple(4) == 12
        # Imported, private, and a class.
        for name in ("getpid", "_private", "Shop"):
            assert fault_of(getattr(module, name)).faultCode == -32601


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("calls:bad_name", "'a.b' cannot be called"),
        ("calls:empty", "no public methods"),
        ("calls:Shop", "write Shop()"),
        ("calls:asynchronous", "later is asynchronous"),
    ],
)
def test_an_object_that_cannot_be_served_is_refused_at_the_start(serve: Serve, name: str, why: str) -> None:
    server = start(serve, name)
    assert server.wait_exit() != 0
    assert why in server.log.wait_end()


def test_a_factory_makes_the_object(serve: Serve) -> None:
    with proxy(start(serve, "calls:Shop()")) as shop:
        assert shop.add(1, 2) == 3


# Introspection and multicall


def test_introspection(serve: Serve) -> None:
    with proxy(start(serve)) as shop:
        names: Any = shop.system.listMethods()
        assert {"add", "greet", "system.listMethods", "system.multicall"} <= set(names)
        assert not [name for name in names if name.startswith("_") or name in ("part", "Nested", "costly")]
        assert "Adds two numbers." in str(shop.system.methodHelp("add"))
        assert shop.system.methodSignature("add") == [["int", "int", "int"]]
        assert shop.system.methodSignature("greet") == [["string"] * 2, ["string"] * 3]
        assert shop.system.methodSignature("echo") == "undef"
        assert fault_of(shop.system.methodHelp, "_hidden").faultCode == -32601


def test_introspection_can_be_switched_off(serve: Serve) -> None:
    server = start(serve, introspection=False, multicall=False)
    with proxy(server) as shop:
        for method in (shop.system.listMethods, shop.system.multicall):
            assert fault_of(method).faultCode == -32601
        assert shop.add(1, 1) == 2
    with server.client() as client:
        answer = client.ask("/")
        assert (answer.status, answer.get("Allow")) == (405, "POST")


def test_multicall(serve: Serve) -> None:
    with proxy(start(serve, max_calls=3)) as shop:
        several = MultiCall(shop)
        several.add(1, 2)
        several.echo("x")
        several.fail("boom")
        results = several()
        assert results[0] == 3
        assert results[1] == "x"
        with pytest.raises(Fault, match="boom"):
            results[2]
        bad: Any = shop.system.multicall(
            [{"methodName": "system.multicall", "params": [[]]}, {"methodName": "add"}, 5]
        )
        assert [result["faultCode"] for result in bad] == [-32602] * 3
        assert fault_of(shop.system.multicall, [{}] * 4).faultCode == -32602
        assert fault_of(shop.system.multicall, 1).faultCode == -32602


# Documents


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", -32700),
        (b"hello", -32700),
        (b"<methodCall>", -32700),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", -32701),
        (b"<methodCall></methodCall>", -32600),
        (b"<params></params>", -32600),
        (b"<methodCall><methodName>add</methodName><params><param><value><spam/></value></param></params>"
         b"</methodCall>", -32600),
        (b"<methodCall><methodName>add</methodName><params><param><value><int>x</int></value></param></params>"
         b"</methodCall>", -32600),
        (xmlrpc.client.dumps((1,), methodresponse=True).encode(), -32600),
        (xmlrpc.client.dumps(Fault(1, "x")).encode(), -32600),
    ],
)  # fmt: skip
def test_documents_that_are_no_call_are_faults(serve: Serve, document: bytes, code: int) -> None:
    answer = post(start(serve), document, XML)
    assert answer.status == 200
    with pytest.raises(Fault) as caught:
        xmlrpc.client.loads(answer.body)
    assert caught.value.faultCode == code


LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [
 <!ENTITY a "lollollollollollollollollollollollollollol">
 <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
 <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]>
<methodCall><methodName>echo</methodName><params><param><value>&c;</value></param></params></methodCall>"""


def test_cve_2003_1564_entities_are_not_expanded(serve: Serve) -> None:
    answer = post(start(serve), LAUGHS, XML)
    with pytest.raises(Fault, match="DOCTYPE") as caught:
        xmlrpc.client.loads(answer.body)
    assert caught.value.faultCode == -32700


def test_cve_2013_1753_compressed_bodies_are_bounded(serve: Serve) -> None:
    server = start(serve, max_rpc_body="4MiB")
    compressed = [*XML, ("Content-Encoding", "gzip")]
    padded = xmlrpc.client.dumps(("x",), "echo").encode()
    assert post(server, gzip.compress(padded), compressed).status == 200
    assert post(server, gzip.compress(padded + b" " * (4 << 20)), compressed).status == 413
    # Within the size, and 1000 times its own.
    assert post(server, gzip.compress(padded + b" " * (3 << 20)), compressed).status == 413
    assert post(server, b"no gzip", compressed).status == 400
    assert post(server, padded + b" " * (4 << 20), XML).status == 413
    assert post(server, padded, [*XML, ("Content-Encoding", "br")]).status == 415


def test_depth_and_number_of_elements_are_bounded(serve: Serve) -> None:
    with proxy(start(serve, max_rpc_depth=4, max_rpc_values=100)) as shop:
        assert shop.echo([[[[]]]]) == [[[[]]]]
        assert fault_of(shop.echo, [[[[[]]]]]).faultCode == -32700
        assert fault_of(shop.echo, [0] * 100).faultCode == -32700


# HTTP


def test_only_calls_of_known_types_at_known_paths_are_taken(serve: Serve) -> None:
    server = start(serve)
    body = xmlrpc.client.dumps((1, 2), "add").encode()
    for target, fields, status in [
        ("/", XML, 200),
        ("/RPC2", [("Content-Type", "Application/XML; charset=utf-8")], 200),
        ("/RPC2?x=1", XML, 200),
        ("/other", XML, 404),
        # What a form on another site could send.
        ("/", [], 415),
        ("/", [("Content-Type", "text/plain")], 415),
        ("/", [("Content-Type", "application/x-www-form-urlencoded")], 415),
    ]:
        assert post(server, body, fields, target).status == status, (target, fields)
    with server.client() as client:
        answer = client.ask("/", "PUT", XML, body)
        assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD, POST")


def test_paths_can_be_chosen(serve: Serve) -> None:
    with proxy(start(serve, rpc_path="/api"), "/api") as shop:
        assert shop.add(1, 2) == 3
        with (
            pytest.raises(xmlrpc.client.ProtocolError) as caught,
            proxy(start(serve, rpc_path="/api")) as other,
        ):
            other.add(1, 2)
        assert caught.value.errcode == 404


def test_large_answers_are_compressed_where_that_is_wanted(serve: Serve) -> None:
    server = start(serve)
    body = xmlrpc.client.dumps((100,), "rows").encode()
    accepting = post(server, body, [*XML, ("Accept-Encoding", "gzip")])
    assert accepting.get("Content-Encoding") == "gzip"
    assert accepting.get("Vary") == "Accept-Encoding"
    plain = post(server, body, XML)
    assert plain.get("Content-Encoding") is None
    assert gzip.decompress(accepting.body) == plain.body
    small = post(server, xmlrpc.client.dumps((1,), "rows").encode(), [*XML, ("Accept-Encoding", "gzip")])
    assert small.get("Content-Encoding") is None


def test_get_answers_a_page(serve: Serve) -> None:
    with start(serve).client() as client:
        page = client.ask("/")
        assert (page.status, page.get("Content-Type")) == (200, "text/html; charset=utf-8")
        assert "<strong>add</strong>(x: int, y: int)" in page.text
        assert "&lt;b&gt;Both&lt;/b&gt; are integers." in page.text
        assert "_hidden" not in page.text
        assert client.ask("/", "HEAD").status == 200


# JSON-RPC


def test_json_calls(serve: Serve) -> None:
    server = start(serve)
    assert ask_json(server, call("add", 2, 3, id="x")) == {"jsonrpc": "2.0", "result": 5, "id": "x"}
    named = {"jsonrpc": "2.0", "method": "greet", "params": {"name": "é", "greeting": "Ave"}, "id": 1.5}
    assert ask_json(server, named) == {"jsonrpc": "2.0", "result": "Ave, é", "id": 1.5}
    assert ask_json(server, call("when"))["result"] == "2026-01-02T03:04:05"
    assert ask_json(server, call("echo", {"a": [1, None, 2**70]}))["result"] == {"a": [1, None, 2**70]}
    assert ask_json(server, call("system.listMethods"))["result"]
    for asked, code in [
        (call("nope"), -32601),
        (call("add", 1), -32602),
        (call("refuse"), 42),
        (call("fail", "x"), -32000),
        (call("thing"), -32603),
        ({"method": "add"}, -32600),
        ([], -32600),
        (5, -32600),
    ]:
        assert ask_json(server, asked)["error"]["code"] == code, asked
    broken = post(server, b'{"jsonrpc": "2.0", "method"', JSON)
    assert json.loads(broken.body)["error"]["code"] == -32700


def test_json_batches_and_notifications(serve: Serve) -> None:
    server = start(serve, max_calls=4)
    note = {"jsonrpc": "2.0", "method": "echo", "params": [1]}
    answers = ask_json(server, [call("add", 1, 1, id=1), note, 7, call("nope", id=2)])
    assert [(one["id"], "result" in one) for one in answers] == [(1, True), (None, False), (2, False)]
    for silent in (note, [note, note]):
        answer = post(server, json.dumps(silent).encode(), JSON)
        assert (answer.status, answer.body) == (204, b"")
    assert ask_json(server, [note] * 5)["error"]["code"] == -32600


def test_json_can_be_switched_off(serve: Serve) -> None:
    server = start(serve, json_rpc=False)
    assert post(server, json.dumps(call("add", 1, 1)).encode(), JSON).status == 415
    with proxy(server) as shop:
        assert shop.add(1, 1) == 2


def test_mounted_beside_others(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "RPC2").write_text("a file")
    (tmp_path / "stdserve.toml").write_text(
        'bind = "127.0.0.1:0"\nworkers = 1\n[services.files]\nfiles = "public"\n'
        '[services.calls]\nrpc = "calls:shop"\nmount = "/api"\n'
    )
    server = serve(None, "up", bind=None, cwd=tmp_path, workers=None)
    for path in ("/api", "/api/", "/api/RPC2"):
        with proxy(server, path) as shop:
            assert shop.add(1, 2) == 3
    with server.client() as client:
        assert client.ask("/RPC2").body == b"a file"
        assert client.ask("/api/other", "POST", XML, b"").status == 404
