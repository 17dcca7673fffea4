"""Past vulnerabilities of servers of this kind, each against every member of the family that could have it.

A test runs three times: against the command, against the drop-in module on its plain path, and against the
drop-in module on the engine. docs/security.md is the list of them.
"""

from __future__ import annotations

import gzip
import json
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import paths
import pytest
from stdserve.http.server import (
    BaseHTTPRequestHandler,
    CGIHTTPRequestHandler,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from stdserve.wsgiref.simple_server import WSGIRequestHandler, make_server
from stdserve.xmlrpc.server import DocXMLRPCServer

from support.dropin import ask, connect, read_all, running
from support.serving import Serve

Address = tuple[str, int]
#: Runs a member: the arguments of the command with its options, and what makes the drop-in server.
Member = Callable[[list[str], dict[str, Any], Callable[[], Any]], Address]

ANYWHERE = ("127.0.0.1", 0)


class Silent:
    """Handlers without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(params=["command", "plain", "engine"])
def member(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Member]:
    """One of the three ways to run a server."""
    with ExitStack() as stack:

        def start(arguments: list[str], options: dict[str, Any], dropin: Callable[[], Any]) -> Address:
            if request.param == "command":
                server = serve(None, *arguments, **options)
                assert server.port is not None
                return ("127.0.0.1", server.port)
            return stack.enter_context(running(dropin(), engine=request.param == "engine"))

        yield start


def get(address: Address, target: str, *fields: str) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer to a GET."""
    request = "\r\n".join([f"GET {target} HTTP/1.1", "Host: here", "Connection: close", *fields, "", ""])
    answer = ask(address, request.encode("latin-1"))
    assert answer.startswith(b"HTTP/1."), answer
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(answer[9:12]), head, body


def field(head: bytes, name: bytes) -> bytes | None:
    """The value of a field."""
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b": ")
        if found.lower() == name.lower():
            return value
    return None


# Requests behind requests


class Paths(Silent, BaseHTTPRequestHandler):
    """Says which path was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"served " + self.path.encode("latin-1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: here\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked\r\n"

#: What follows the request line and Host of a POST. None of it may bring the hidden request to a handler.
SMUGGLING = {
    "cl_te": LENGTH + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "te_cl": CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + HIDDEN,
    "te_te": b"Transfer-Encoding: cow\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "te_te_tab": b"Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n" + HIDDEN,
    "te_te_case_and_list": b"Transfer-Encoding: Chunked, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "cve_2019_16785_line_feed_in_a_field": b"Content-Length: %d\r\nX: y\n" % (5 + len(HIDDEN))
    + CHUNKED
    + b"\r\n0\r\n\r\n"
    + HIDDEN,
    "cve_2019_16786_coding_before_chunked": LENGTH
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "cve_2019_16789_odd_space_before_chunked": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "cve_2019_16792_two_lengths": b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "cve_2019_16869_space_before_colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "cve_2019_20444_field_without_colon": b"Content-Length: 0\r\nX\r\n\r\n" + HIDDEN,
    "cve_2020_8287_chunked_twice": CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "cve_2022_24761_plus_in_length": b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "cve_2022_24761_0x_in_a_chunk": CHUNKED + b"\r\n0x0\r\n\r\n" + HIDDEN,
    "cve_2022_24761_plus_in_a_chunk": CHUNKED + b"\r\n+0\r\n\r\n" + HIDDEN,
    "cve_2022_32215_folded_coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "cve_2023_47627_underscore_in_length": b"Content-Length: 0_0\r\n\r\n" + HIDDEN,
    "cve_2023_47641_length_and_chunks": CHUNKED + LENGTH + b"\r\n0\r\n\r\n" + HIDDEN,
    "cve_2024_1135_unknown_coding": LENGTH + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "cve_2024_6827_codings_that_differ": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "cve_2024_49768_behind_a_refused_one": b"Content-Length: x\r\n\r\n" + HIDDEN,
    "cve_2024_52304_line_feed_in_a_chunk": CHUNKED + b"\r\n0;\n\r\n" + HIDDEN,
    "cve_2025_53643_request_as_trailer": CHUNKED + b"\r\n0\r\n" + HIDDEN,
    "cve_2025_55315_line_end_in_an_extension": CHUNKED + b"\r\n0;\rx\r\n\r\n" + HIDDEN,
}


def serve_paths(member: Member) -> Address:
    return member(["paths:app"], {}, lambda: ThreadingHTTPServer(ANYWHERE, Paths))


def test_smuggling_is_seen_where_there_is_some(member: Member) -> None:
    """The tests below could fail: what is a request behind a request is served."""
    answer = ask(
        serve_paths(member), b"POST /front HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n" + HIDDEN
    )
    assert b"served /front" in answer
    assert b"served /hidden" in answer


@pytest.mark.parametrize("case", SMUGGLING)
def test_smuggling(member: Member, case: str) -> None:
    """Nothing behind a message whose end is in doubt becomes a request, and the connection ends."""
    address = serve_paths(member)
    answer = ask(address, b"POST /front HTTP/1.1\r\nHost: here\r\n" + SMUGGLING[case])
    assert b"served /hidden" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert b"served /next" in ask(address, b"GET /next HTTP/1.1\r\nHost: here\r\n\r\n")


def test_cve_2007_6750_a_head_without_end_is_not_waited_for(member: Member) -> None:
    """Slowloris."""
    handler = type("Handler", (Paths,), {"header_timeout": 0.2})
    address = member(["paths:app"], {"header_timeout": "1s"}, lambda: ThreadingHTTPServer(ANYWHERE, handler))
    with connect(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nX-A")
        assert b" 200 " not in read_all(sock)


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to serve, with secrets beside it."""
    (tmp_path / "secret").write_text("SECRET")
    (tmp_path / "served-too").mkdir()
    (tmp_path / "served-too" / "secret").write_text("SECRET")
    served = tmp_path / "served"
    (served / "sub").mkdir(parents=True)
    (served / "file").write_text("0123456789")
    (served / "big").write_bytes(bytes(range(256)) * 1000)
    return served


@pytest.fixture
def files(member: Member, folder: Path) -> Address:
    """A server of that folder."""
    handler = type("Handler", (Silent, SimpleHTTPRequestHandler), {"protocol_version": "HTTP/1.1"})
    return member(
        ["files", str(folder)],
        {},
        lambda: ThreadingHTTPServer(ANYWHERE, partial(handler, directory=folder)),
    )


@pytest.mark.parametrize(
    "target",
    [
        *("//sub", "///sub", "//evil.example/..", "//evil.example/%2e%2e", "//evil.example/%2f..", "/.//sub"),
        *("/\\evil.example/..", "/%5cevil.example/..", "/%2f/evil.example/..", "/%2f%2fevil.example/.."),
    ],
)
def test_cve_2021_28861_a_redirect_stays_on_the_host(files: Address, target: str) -> None:
    location = field(get(files, target)[1], b"Location")
    assert location is None or (location[:1] == b"/" and location[1:2] not in (b"/", b"\\"))


@pytest.mark.parametrize(
    "target",
    [
        *("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/sub/../../secret", "/sub/..%2f..%2fsecret"),
        *(
            "/..\\secret",
            "/..%5csecret",
            "/..;/secret",
            "/....//secret",
            "//../secret",
            "/sub/%2e%2e%2f../secret",
        ),
    ],
)
def test_cve_2024_23334_no_path_leaves_the_folder(files: Address, target: str) -> None:
    assert b"SECRET" not in get(files, target)[2]
    assert get(files, "/file")[2] == b"0123456789"


@pytest.mark.parametrize(
    "target", ["/../served-too/secret", "/..%2fserved-too/secret", "/-too/secret", "-too/secret"]
)
def test_cve_2023_29159_a_sibling_of_the_same_beginning_is_outside(files: Address, target: str) -> None:
    assert b"SECRET" not in ask(files, f"GET {target} HTTP/1.0\r\n\r\n".encode())


@pytest.mark.parametrize(
    "target",
    [
        *("/.%2e/secret", "/sub/.%2e/.%2e/secret", "/%%32%65%%32%65/secret", "/%252e%252e/secret"),
        *("/%c0%ae%c0%ae/secret", "/%u002e%u002e/secret", "/file%00/../../secret"),
    ],
)
def test_cve_2021_41773_and_42013_nothing_is_decoded_twice(files: Address, target: str) -> None:
    assert b"SECRET" not in get(files, target)[2]


@pytest.mark.parametrize(
    "ranges",
    [
        ",".join(f"{start}-" for start in range(1300)),
        ",".join(["0-"] * 500),
        ",".join(f"{start}-{start}" for start in range(0, 1400, 2)),
    ],
    ids=["descending", "repeated", "many"],
)
def test_cve_2011_3192_a_range_bomb_costs_no_more_than_the_file(files: Address, ranges: str) -> None:
    status, _, body = get(files, "/big", f"Range: bytes={ranges}")
    assert status in (200, 206, 416)
    assert len(body) <= 256_000


@pytest.mark.parametrize(
    "ranges",
    [
        "-9223372036854775807,-9223372036854775807",
        "-18446744073709551615",
        "18446744073709551615-",
        "-0,-1,0-99999999999999999999",
    ],
)
def test_cve_2017_7529_numbers_of_a_range_do_not_overflow(files: Address, ranges: str) -> None:
    status, _, body = get(files, "/file", f"Range: bytes={ranges}")
    assert status in (200, 206, 416)
    assert b"SECRET" not in body
    if status == 200:
        assert body == b"0123456789"


def test_cve_2011_4940_names_in_a_listing_are_no_markup(member: Member, folder: Path) -> None:
    """Escaped, and with a charset, so that a browser guesses no UTF-7."""
    for name in ("<script>alert(1)<", '"onload="x', "+ADw-script+AD4-alert(1)"):
        (folder / "sub" / name).write_text("")
    handler = type("Handler", (Silent, SimpleHTTPRequestHandler), {})
    address = member(
        ["files", str(folder)],
        {},
        lambda: ThreadingHTTPServer(ANYWHERE, partial(handler, directory=folder)),
    )
    status, head, body = get(address, "/sub/")
    assert status == 200
    assert b"charset=utf-8" in (field(head, b"Content-Type") or b"").lower()
    assert b"<script>alert" not in body
    assert b'=""onload=' not in body


# Scripts


@pytest.fixture
def scripts(member: Member, short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Address:
    """A folder `cgi-bin` with a script, and one outside of it, which must not run."""
    monkeypatch.setenv("HTTP_PROXY", "http://inner.example")
    folder = short_path / "cgi-bin"
    (folder / "inner").mkdir(parents=True)
    for at in (folder / "script", folder / "inner" / "script", short_path / "outside"):
        at.write_text(
            "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\necho ran $((1 + 1)) \"[$*]\"\nenv\n"
        )
        at.chmod(0o755)
    (folder / "plain.py").write_text("SOURCE")
    # As root, scripts of CGIHTTPRequestHandler run as nobody, who has to get there.
    for at in (short_path, folder, folder / "inner"):
        at.chmod(0o755)
    handler = type("Handler", (Silent, CGIHTTPRequestHandler), {})
    return member(
        ["cgi", str(folder)],
        {},
        lambda: ThreadingHTTPServer(ANYWHERE, partial(handler, directory=short_path)),
    )


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/{}script",
            "//{}script",
            "/./{}script",
            "/x/../{}script",
            "/{}./script",
            "/{}script/",
            "/{}script%00",
        ),
        *("/{}inner/../script", "/{}inner%2fscript", "/{}%73cript", "/{}script#/../..", "/{}script%23/../.."),
        *("/{}inner/script", "/{}plain.py/", "/{}x/../plain.py", "{}script", "../{}script"),
    ],
)
def test_cve_2011_1015_the_source_of_a_script_is_never_sent(
    request: pytest.FixtureRequest, scripts: Address, target: str
) -> None:
    """By no spelling of its path."""
    is_command = "command" in request.node.callspec.id
    spelled = target.format("" if is_command else "cgi-bin/")
    answer = ask(scripts, f"GET {spelled} HTTP/1.0\r\n\r\n".encode())
    assert b"#!/bin/sh" not in answer
    assert b"SOURCE" not in answer


@pytest.mark.parametrize(
    "target",
    [
        "/..%2foutside",
        "/%2e%2e%2foutside",
        "/script%2f..%2f..%2foutside",
        "/..%2F..%2foutside",
        "/../outside",
    ],
)
def test_cve_2014_4650_encoded_slashes_lead_to_no_other_script(
    request: pytest.FixtureRequest, scripts: Address, target: str
) -> None:
    prefix = "" if "command" in request.node.callspec.id else "/cgi-bin"
    assert b"ran 2" in get(scripts, f"{prefix}/script")[2]
    assert b"ran 2" not in ask(scripts, f"GET {prefix}{target} HTTP/1.0\r\n\r\n".encode())


def test_cve_2016_1000111_no_script_sees_a_proxy(request: pytest.FixtureRequest, scripts: Address) -> None:
    """httpoxy: neither that of a request nor the server's own."""
    prefix = "" if "command" in request.node.callspec.id else "/cgi-bin"
    body = get(scripts, f"{prefix}/script", "Proxy: http://evil.example")[2]
    assert b"REQUEST_METHOD=GET" in body
    assert b"HTTP_PROXY" not in body
    assert b"evil.example" not in body


def test_cve_2012_1823_a_query_is_no_option_of_the_interpreter(
    request: pytest.FixtureRequest, scripts: Address
) -> None:
    """A script's first argument never begins with a dash; the command gives it none at all."""
    prefix = "" if "command" in request.node.callspec.id else "/cgi-bin"
    body = get(scripts, f"{prefix}/script?-s+-d")[2]
    assert b"ran 2 []" in body


# Remote calls


class Part:
    """What names must not lead to."""

    def inner(self) -> str:
        return "reached"


class Shop:
    """What is called."""

    part = Part()

    def add(self, x: int, y: int) -> int:
        """Adds.

        <b>Both</b> are integers.
        """
        return x + y

    def _private(self) -> str:
        return "reached"


@pytest.fixture
def remote(member: Member) -> Address:
    """The methods of an object."""

    def dropin() -> Any:
        server = DocXMLRPCServer(ANYWHERE, logRequests=False)
        server.set_server_title("</title><script>alert(1)</script>")
        server.set_server_documentation("<script>alert(1)</script>")
        server.register_instance(Shop())
        server.register_function(lambda value: value, "echo")
        return server

    return member(["rpc", "calls:shop"], {"max_rpc_body": "4MiB"}, dropin)


def post(address: Address, body: bytes, *fields: str, target: str = "/RPC2") -> bytes:
    """Head and body of the answer to a call."""
    head = [f"POST {target} HTTP/1.0", "Content-Type: text/xml", f"Content-Length: {len(body)}", *fields]
    return ask(address, "\r\n".join([*head, "", ""]).encode() + body)


def document(value: str, declared: str = "", method: str = "echo") -> bytes:
    """A call with one value."""
    return (
        f"<?xml version='1.0'?>{declared}<methodCall><methodName>{method}</methodName><params><param><value>"
        f"{value}</value></param></params></methodCall>"
    ).encode()


def result(answer: bytes) -> Any:
    """What a call returned."""
    return xmlrpc.client.loads(answer.partition(b"\r\n\r\n")[2])[0][0]


LAUGHS = "<!ENTITY a 'lol'>" + "".join(
    f"<!ENTITY {entity} '{f'&{before};' * 10}'>"
    for before, entity in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (f"<!DOCTYPE x [{LAUGHS}]>", "&i;"),
        (f"<!DOCTYPE x [<!ENTITY a '{'a' * 50_000}'>]>", "&a;" * 10_000),
        ("<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>", "&a;"),
        ("<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/x.dtd'>", "x"),
    ],
    ids=["billion_laughs", "quadratic", "external", "external_subset"],
)
def test_cve_2003_1564_and_2013_0340_no_entity_is_expanded(
    remote: Address, declared: str, value: str
) -> None:
    with pytest.raises(xmlrpc.client.Fault, match="DOCTYPE"):
        result(post(remote, document(value, declared)))
    assert result(post(remote, document("x"))) == "x"


def test_cve_2013_1753_a_compressed_body_is_bounded(remote: Address) -> None:
    zipped = gzip.compress(document("x") + b" " * (8 << 20))
    assert post(remote, zipped, "Content-Encoding: gzip")[9:12] in (b"400", b"413")
    assert result(post(remote, gzip.compress(document("x")), "Content-Encoding: gzip")) == "x"


def test_cve_2019_16935_the_page_of_the_methods_has_no_foreign_markup(remote: Address) -> None:
    status, _, body = get(remote, "/")
    assert status == 200
    assert b"add" in body
    assert b"<script>alert" not in body
    assert b"<b>Both" not in body


@pytest.mark.parametrize(
    "name",
    [
        "part.inner",
        "part.inner.__func__.__globals__",
        "__class__",
        "_private",
        "add.__globals__",
        "Nested.__init__",
    ],
)
def test_cve_2005_0089_names_lead_into_no_object(remote: Address, name: str) -> None:
    with pytest.raises(xmlrpc.client.Fault):
        result(post(remote, document("x", method=name)))


def test_cve_2012_0845_a_body_that_is_cut_off_is_not_waited_for(remote: Address) -> None:
    """The server neither hangs nor spins, and serves the next."""
    call = document("x")
    head = b"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(call)
    cut_off = head + call[:-20]
    assert b"<methodResponse>\n<params>" not in ask(remote, cut_off)
    assert result(post(remote, call)) == "x"


# Applications


class Quiet(Silent, WSGIRequestHandler):
    """Without a log."""


def serve_app(member: Member, name: str) -> Address:
    def dropin() -> Any:
        return make_server("127.0.0.1", 0, getattr(paths, name), handler_class=Quiet)

    return member([f"paths:{name}"], {}, dropin)


def test_cve_2016_1000111_no_environ_has_a_proxy(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpoxy."""
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    body = get(serve_app(member, "variables"), "/", "Proxy: http://evil.example", "X-Other: here")[2]
    environ = json.loads(body)
    assert environ["HTTP_X_OTHER"] == "here"
    assert "HTTP_PROXY" not in environ
    assert "http://evil.example" not in environ.values()


def test_cve_2015_0219_a_field_with_an_underscore_is_none_with_a_dash(member: Member) -> None:
    """`X_Auth_User` would be `X-Auth-User`'s equal, which a proxy takes out of a request."""
    body = get(serve_app(member, "variables"), "/", "X_Auth_User: admin", "X-Other: here")[2]
    assert "HTTP_X_AUTH_USER" not in json.loads(body)


@pytest.mark.parametrize(
    "injected", ["%0d%0aSet-Cookie:%20a=b", "%0aSet-Cookie:%20a=b", "%0dSet-Cookie:%20a=b", "%00"]
)
def test_cve_2018_1000164_and_2026_0865_no_answer_is_split(member: Member, injected: str) -> None:
    """An application's field with a line end in it is not sent."""
    status, head, _ = get(serve_app(member, "reflects"), f"/?x{injected}")
    assert status == 500
    assert b"Set-Cookie" not in head
    assert b"X-Query" not in head
