"""The native codec beside ``xmlrpc.client``: the same documents, the same values, the same exceptions."""

from __future__ import annotations

import datetime
import random
import threading
import xmlrpc.client
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.parsers.expat import ExpatError
from xmlrpc.client import Binary, DateTime, Fault, Marshaller

import pytest
from stdserve import _stdserve
from stdserve.xmlrpc import _codec


class Point:
    """An object that is written as the struct of its attributes."""

    def __init__(self) -> None:
        self.x = 1
        self.y = [2.5]


def any_value(source: random.Random, depth: int = 0) -> Any:
    """A value of any type that can be written."""
    kind = source.randrange(13 if depth < 4 else 10)
    plain: list[Callable[[], Any]] = [
        lambda: source.randrange(-(2**31), 2**31),
        lambda: source.random() * 10.0 ** source.randrange(-20, 20),
        lambda: "".join(source.choice("ab<>&\"'é€\U0001f600 \n]") for _ in range(source.randrange(8))),
        lambda: source.random() < 0.5,
        lambda: source.randbytes(source.randrange(130)),
        lambda: bytearray(source.randbytes(source.randrange(60))),
        lambda: datetime.datetime(source.randrange(1, 9999), 3, 4, 5, 6, 7),
        lambda: DateTime("20050210T11:41:23"),
        lambda: Binary(b"x" * source.randrange(5)),
        lambda: None,
    ]
    if kind < len(plain):
        return plain[kind]()
    several = [any_value(source, depth + 1) for _ in range(source.randrange(4))]
    if kind == 10:
        return several
    if kind == 11:
        return tuple(several)
    return {f"k{number}<": value for number, value in enumerate(several)}


def comparable(value: Any) -> Any:
    """The same for values that are alike in type and content."""
    if isinstance(value, DateTime):
        return ("DateTime", value.value)
    if isinstance(value, Binary):
        return ("Binary", value.data)
    if isinstance(value, list | tuple):
        return (type(value).__name__, [comparable(item) for item in value])
    if isinstance(value, dict):
        return {name: comparable(item) for name, item in value.items()}
    return (type(value).__name__, repr(value))


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the type of what it raises."""
    try:
        return comparable(call())
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("seed", range(20))
def test_documents_are_those_of_xmlrpc_client(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(25):
        value = any_value(source)
        for how in ({"methodname": "a.b"}, {"methodresponse": True}, {}):
            for encoding in (None, "utf-8", "iso-8859-1"):
                options: dict[str, Any] = {"encoding": encoding, "allow_none": True, **how}
                wanted = xmlrpc.client.dumps((value,), **options)
                assert _stdserve.xmlrpc_dumps((value,), **options) == wanted
        document = xmlrpc.client.dumps((value,), "m", allow_none=True)
        for text in (document, document.encode(), document.encode("utf-16")):
            for types in ((False, False), (True, False), (False, True)):
                read: Any = xmlrpc.client.loads(text, *types)
                assert comparable(_stdserve.xmlrpc_loads(text, *types)) == comparable(read)


PIECES = [
    *("<value>", "</value>", "<int>", "</int>", "<nil/>", "<ex:nil/>", "<x/>", "<string>", "</string>"),
    *("<name>", "</name>", "<struct>", "</struct>", "<array>", "</array>", "<data>", "</data>", "<params>"),
    *("</params>", "<fault>", "</fault>", "<boolean>", "1", "1_0", " ", "\n", "\r\n", "\r", "é", "\x01"),
    *("&lt;", "&#65;", "&#x0;", "&x;", "<!-- c -->", "<![CDATA[", "]]>", "]]", "<?pi x?>", "<i8>", "</i8>"),
    *("<double>1e5</double>", "<base64>aGk=</base64>", "<bigdecimal>1.5</bigdecimal>", "<a:value>", ' a="b"'),
    *("<dateTime.iso8601>20050210T11:41:23</dateTime.iso8601>", "<methodName>", ">", "<", "/", "&", ";", "="),
]


@pytest.mark.parametrize("seed", range(20))
def test_spoilt_documents_end_as_with_xmlrpc_client(seed: int) -> None:
    source = random.Random(1000 + seed)
    differ = 0
    for _ in range(100):
        document = xmlrpc.client.dumps((any_value(source),), "m", allow_none=True)
        head = document.index("\n")
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(head, len(document) + 1)
            if source.random() < 0.6:
                document = document[:at] + source.choice(PIECES) + document[at:]
            else:
                document = document[:at] + document[at + source.randrange(1, 12) :]
        native = outcome(partial(_stdserve.xmlrpc_loads, document))
        standard = outcome(partial(xmlrpc.client.loads, document))
        # Of two things that are wrong either may be told; what is accepted is the same.
        assert isinstance(native, str) == isinstance(standard, str), document
        if not isinstance(native, str):
            assert native == standard, document
        differ += native != standard
    assert differ <= 3


@pytest.mark.parametrize(
    "document",
    [
        *(
            "",
            "x",
            "<a>",
            "<a></b>",
            "<params></params><x/>",
            "<a>&x;</a>",
            "<a/>",
            "<value/>",
            "<a>\x00</a>",
        ),
        "<params><param><value><spam/></value></param></params>",
        "<params><param><value><boolean>2</boolean></value></param></params>",
        "<params><param><value><int>x</int></value></param></params>",
        "<params><param><value><int>" + "1" * 6000 + "</int></value></param></params>",
        "<params><param><value><double>x</double></value></param></params>",
        "<params><param><value><bigdecimal>x</bigdecimal></value></param></params>",
        "<params><param><value><base64>x</base64></value></param></params>",
        "<params><param><value><base64>é</base64></value></param></params>",
        "<params><struct><name>a</name></struct></params>",
        "<params><struct><array></array><int>1</int></struct></params>",
        "<fault></fault>",
        "<fault><value><int>1</int></value></fault>",
        "<fault><value><struct><name>other</name><value>x</value></struct></value></fault>",
        xmlrpc.client.dumps(Fault(4, "no")),
        b"<?xml version='1.0' encoding='klingon'?><a/>",
        b"<?xml version='1.0' encoding='shift_jis'?><a/>",
        b"<?xml version='1.0' encoding='utf-8'?><a>\xff</a>",
    ],
)
def test_exceptions_are_those_of_xmlrpc_client(document: Any) -> None:
    with pytest.raises(Exception) as wanted:  # noqa: PT011
        xmlrpc.client.loads(document)
    with pytest.raises(type(wanted.value)) as found:
        _stdserve.xmlrpc_loads(document)
    assert type(found.value) is type(wanted.value)
    if isinstance(wanted.value, Fault):
        assert isinstance(found.value, Fault)
        assert (found.value.faultCode, found.value.faultString) == (4, "no")
    if isinstance(wanted.value, ExpatError):
        assert isinstance(found.value, ExpatError)
        assert (found.value.code, found.value.lineno) == (wanted.value.code, wanted.value.lineno)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "iso-8859-15", "us-ascii", "koi8-r", "cp1252", "utf-16"])
def test_encodings_that_the_declaration_names(encoding: str) -> None:
    text = "é€ж"
    document = xmlrpc.client.dumps((text,), "m", encoding=encoding).encode(encoding, "xmlcharrefreplace")
    assert _stdserve.xmlrpc_loads(document) == ((text,), "m")


def test_lone_surrogates_cannot_be_read() -> None:
    with pytest.raises(UnicodeEncodeError):
        _stdserve.xmlrpc_loads("<params>\ud800</params>")


@pytest.mark.parametrize(
    "value",
    [
        *(None, 2**31, {1: 2}, "\ud800", 1j, threading.Lock(), object(), Fault, {"a": {2}}),
        *(type("Text", (str,), {})("x"), type("Number", (int,), {})(1), DateTime("\ud800")),
    ],
)
def test_what_is_not_written_natively_is_left_to_xmlrpc_client(value: Any) -> None:
    assert _stdserve.xmlrpc_dumps((value,)) is None
    assert outcome(lambda: _codec.dumps((value,))) == outcome(lambda: xmlrpc.client.dumps((value,)))


def test_values_that_hold_themselves_are_refused_as_by_xmlrpc_client() -> None:
    endless: list[Any] = []
    endless += [endless, endless]
    with pytest.raises(TypeError, match="recursive"):
        _codec.dumps((endless,))
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RecursionError):
        _codec.dumps((deep,))


def test_instances_are_structs_and_may_change_what_holds_them() -> None:
    point = Point()
    assert _stdserve.xmlrpc_dumps((point,)) == xmlrpc.client.dumps((point,))  # type: ignore[arg-type]
    holder: dict[str, Any] = {}

    class Growing:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            holder[f"more{len(holder)}"] = 1
            return {}

    holder["first"] = Growing()
    with pytest.raises(RuntimeError, match="changed size"):
        _codec.dumps((holder,))


def test_a_changed_marshaller_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def dump_complex(self: Any, value: complex, write: Callable[[str], None]) -> None:
        write(f"<value><string>{value}</string></value>")

    writers: dict[Any, Any] = Marshaller.dispatch
    monkeypatch.setitem(writers, complex, dump_complex)
    assert not _codec.client_is_unchanged()
    assert "<string>1j</string>" in _codec.dumps((1j,))
    assert b"<string>1j</string>" in _codec.response(1j, "utf-8", False)


def test_a_changed_unmarshaller_is_asked_and_a_doctype_still_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_complex(self: Any, data: str) -> None:
        self.append(complex(data))
        self._value = 0

    readers: dict[str, Any] = xmlrpc.client.Unmarshaller.dispatch
    monkeypatch.setitem(readers, "complex", end_complex)
    document = "<params><param><value><complex>1j</complex></value></param></params>"
    assert _codec.loads(document) == ((1j,), None)
    with pytest.raises(ExpatError):
        _codec.loads("<!DOCTYPE params>" + document)


def test_limits_are_those_that_are_asked_for() -> None:
    document = xmlrpc.client.dumps(([[[1]]],))
    assert _stdserve.xmlrpc_loads(document, max_depth=3, max_bytes=len(document), max_elements=13)
    small: list[dict[str, Any]] = [{"max_depth": 2}, {"max_bytes": len(document) - 1}, {"max_elements": 12}]
    for limits in small:
        with pytest.raises(ExpatError, match="than allowed"):
            _stdserve.xmlrpc_loads(document, **limits)


def test_gzip_is_bounded() -> None:
    packed = _stdserve.gzip(b"x" * (2 << 20))
    assert _stdserve.gunzip(packed, 2 << 20, 10_000) == b"x" * (2 << 20)
    with pytest.raises(ValueError, match="length"):
        _stdserve.gunzip(packed, (2 << 20) - 1, 10_000)
    with pytest.raises(ValueError, match="ratio"):
        _stdserve.gunzip(packed, 2 << 20, 100)
    with pytest.raises(ValueError, match="invalid"):
        _stdserve.gunzip(packed[:-1], 2 << 20, 10_000)
