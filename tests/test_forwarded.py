"""Forwarded headers count from trusted peers only; from others they are removed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.serving import Serve, Served
from support.wire import Client

ALL = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "shop.example"),
    ("X-Forwarded-Prefix", "/shop"),
]


def handed(client: Client, fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The environ of a request with these fields."""
    answer = client.ask("/echo?x", fields=fields)
    assert answer.status == 200
    environ: dict[str, Any] = json.loads(answer.text)["environ"]
    return environ


def seen(environ: dict[str, Any]) -> tuple[str, str, str, str]:
    """What forwarded headers may change."""
    return (
        environ["REMOTE_ADDR"],
        environ["wsgi.url_scheme"],
        environ["HTTP_HOST"],
        environ["SCRIPT_NAME"],
    )


def left(environ: dict[str, Any]) -> list[str]:
    """Which forwarded headers the application sees."""
    return sorted(name for name in environ if "FORWARDED" in name)


def over(server: Served, source: str | None = None) -> Client:
    """A connection from that address of ours."""
    return Client(server.address, source=source)


def test_a_trusted_peer_is_believed(serve: Serve) -> None:
    """127.0.0.1 is trusted by default: REMOTE_ADDR, wsgi.url_scheme, HTTP_HOST and SCRIPT_NAME follow."""
    server = serve()
    with server.client() as client:
        assert seen(handed(client, ALL)) == ("203.0.113.7", "https", "shop.example", "/shop")
        assert seen(handed(client, [])) == ("127.0.0.1", "http", "localhost", "")


def test_another_peer_is_not_believed(serve: Serve) -> None:
    """127.0.0.2 is not 127.0.0.1: its headers are removed, so that no application believes them either."""
    server = serve()
    with over(server, "127.0.0.2") as client:
        environ = handed(client, [*ALL, ("Forwarded", "for=203.0.113.7;proto=https;host=shop.example")])
        assert seen(environ) == ("127.0.0.2", "http", "localhost", "")
        assert left(environ) == []


def test_networks_can_be_trusted(serve: Serve) -> None:
    """--forwarded-allow-ips takes CIDR, and several."""
    server = serve(forwarded_allow_ips="10.0.0.0/8,127.0.0.2/31")
    for source, trusted in (
        ("127.0.0.1", False),
        ("127.0.0.2", True),
        ("127.0.0.3", True),
        ("127.0.0.4", False),
    ):
        with over(server, source) as client:
            environ = handed(client, ALL)
            assert (environ["REMOTE_ADDR"] == "203.0.113.7") is trusted
            assert (environ["wsgi.url_scheme"] == "https") is trusted


def test_everybody_can_be_trusted(serve: Serve) -> None:
    """--forwarded-allow-ips '*', for a server that only a proxy can reach."""
    server = serve(forwarded_allow_ips="*")
    with over(server, "127.0.0.9") as client:
        assert seen(handed(client, ALL)) == ("203.0.113.7", "https", "shop.example", "/shop")


def test_unix_peers_are_trusted_by_default(serve: Serve, short_path: Path) -> None:
    """Who can open the socket file is trusted."""
    server = serve(bind=f"unix:{short_path}/s")
    server.log.wait(f"{short_path}/s")
    with Client(f"{short_path}/s") as client:
        assert seen(handed(client, ALL)) == ("203.0.113.7", "https", "shop.example", "/shop")


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7, 10.0.0.1,10.255.0.1", "203.0.113.7"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:db8::7, 10.0.0.1", "2001:db8::7"),
    ],
)
def test_remote_addr_is_the_rightmost_address_that_is_not_trusted(
    serve: Serve, chain: str, address: str
) -> None:
    """What stands further left, the client may have made up."""
    server = serve(forwarded_allow_ips="127.0.0.1,10.0.0.0/8")
    with server.client() as client:
        assert handed(client, [("X-Forwarded-For", chain)])["REMOTE_ADDR"] == address
        parts = chain.split(",")
        if len(parts) > 1:  # several lines are one list
            lines = [("X-Forwarded-For", part.strip()) for part in parts]
            assert handed(client, lines)["REMOTE_ADDR"] == address


@pytest.mark.parametrize("chain", ["", "unknown", "nonsense, 10.0.0.1", "203.0.113.7:x", "\xff"])
def test_an_unreadable_chain_is_not_believed(serve: Serve, chain: str) -> None:
    """What is no address does not become REMOTE_ADDR, and no error either."""
    server = serve(forwarded_allow_ips="127.0.0.1,10.0.0.0/8")
    with server.client() as client:
        assert handed(client, [("X-Forwarded-For", chain)])["REMOTE_ADDR"] in ("127.0.0.1", "10.0.0.1")


@pytest.mark.parametrize("scheme", ["ftp", "javascript", "https, http", "", "HTTPS"])
def test_the_scheme_is_http_or_https(serve: Serve, scheme: str) -> None:
    """Whatever a proxy sends, wsgi.url_scheme is one of the two."""
    server = serve()
    with server.client() as client:
        assert handed(client, [("X-Forwarded-Proto", scheme)])["wsgi.url_scheme"] in ("http", "https")


@pytest.mark.parametrize(
    ("forwarded", "address", "scheme", "host"),
    [
        ("for=203.0.113.7;proto=https;host=shop.example", "203.0.113.7", "https", "shop.example"),
        ('For="[2001:db8::7]:4711"', "2001:db8::7", "http", "localhost"),
        ('for="203.0.113.7:80", for=10.0.0.1', "203.0.113.7", "http", "localhost"),
        ("for=198.51.100.1, for=203.0.113.7", "203.0.113.7", "http", "localhost"),
        ("for=unknown", "127.0.0.1", "http", "localhost"),
    ],
)
def test_the_forwarded_header_counts_likewise(
    serve: Serve, forwarded: str, address: str, scheme: str, host: str
) -> None:
    """RFC 7239, with the same trust."""
    server = serve(forwarded_allow_ips="127.0.0.1,10.0.0.0/8")
    with server.client() as client:
        environ = handed(client, [("Forwarded", forwarded)])
        assert seen(environ)[:3] == (address, scheme, host)


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_FORWARDED_PROTO", "X-Forwarded_For"])
def test_names_with_underscores_cannot_stand_in_for_forwarded_headers(serve: Serve, name: str) -> None:
    """Headers with `_` in the name are dropped."""
    server = serve()
    with server.client() as client:
        environ = handed(client, [(name, "203.0.113.7")])
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert left(environ) == []


def test_a_prefix_comes_before_the_root_path_of_the_server(serve: Serve) -> None:
    """X-Forwarded-Prefix and --root-path both mean SCRIPT_NAME; without a prefix the option holds."""
    server = serve(root_path="/app")
    with server.client() as client:
        answer = client.ask("/app/echo")
        if answer.status == 404:  # the option may also mean that the proxy strips it
            answer = client.ask("/echo")
        assert json.loads(answer.text)["environ"]["SCRIPT_NAME"] == "/app"
