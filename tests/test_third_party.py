"""Packages that subclass the standard servers keep their own tests green on our modules (werkzeug's: beside).

Their source is fetched by pip; their tests run twice, with the standard library's modules and with ours:
whatever passes with the one must pass with the other. `dig` asks a DNS server made of `socketserver` classes.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
import stdserve

from support.serving import clean_environment
from support.waiting import PATIENCE

CACHE = Path(__file__).parent / ".envs"
#: In PYTHONPATH, it has every Python replace the modules: what `stdserve run` does.
SITE = Path(stdserve.__file__).parent / "_site"

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("third party")]


@dataclass(frozen=True)
class Package:
    """A package that is tested."""

    name: str
    version: str
    tests: str
    #: A module of it, and the module that it has from us.
    module: str
    uses: str
    #: How many of its tests pass at least.
    least: int
    #: Tests that are left out, since they fail now and then with the standard library too.
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


PACKAGES = [
    Package("python-osc", "1.10.2", "pythonosc/test", "pythonosc.osc_server", "socketserver", 60),
    Package(
        "prometheus-client",
        "0.26.0",
        "tests",
        "prometheus_client.exposition",
        "wsgiref.simple_server",
        100,
        # The client learns of the refusal by an alert or by a reset, whichever comes first (TLS 1.3).
        without=("tests/test_exposition.py::TestWsgiTLS::test_mtls_untrusted_client_cert_raises",),
    ),
]


def fetch(home: Path, *arguments: str) -> None:
    """Has pip put something into `home`, or skips where it cannot be had."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("pip fetches nothing within two minutes")
    if done.returncode:
        pytest.skip(f"pip cannot fetch it: {done.stderr.strip()[-300:]}")
    home.mkdir(parents=True, exist_ok=True)


def source(package: Package) -> Path:
    """The folder of a package's source."""
    home = CACHE / f"{package.name}-{package.version}"
    if not (home / "complete").exists():
        wanted = f"{package.name}=={package.version}"
        fetch(home, "download", "--no-deps", f"--no-binary={package.name}", "--dest", str(home), wanted)
        with tarfile.open(next(home.glob("*.tar.gz"))) as archive:
            archive.extractall(home, filter="data")
        (home / "complete").touch()
    return next(path for path in home.iterdir() if path.is_dir())


def environment(folder: Path, *, ours: bool) -> dict[str, str]:
    """For a Python that finds `folder`, and has our modules if it should."""
    path = [str(SITE), str(folder)] if ours else [str(folder)]
    return clean_environment({"PYTHONPATH": os.pathsep.join(path)})


def outcomes(package: Package, report: Path, *, ours: bool) -> dict[str, str]:
    """Runs the tests of a package; what became of each."""
    folder = source(package)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", package.tests, "-q", "--timeout=100", f"--junitxml={report}"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "--continue-on-collection-errors"),
            *(f"--deselect={test}" for test in package.without),
            # None of the settings for our own tests.
            *("-c", os.devnull, f"--rootdir={folder}"),
        ],
        cwd=folder,
        env=environment(folder, ours=ours),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert report.exists(), done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        found[name] = "\n".join(f"{one.tag}: {one.text or one.get('message')}" for one in case) or "passed"
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_the_package_passes_its_own_tests(package: Package, tmp_path: Path) -> None:
    standard = outcomes(package, tmp_path / "standard.xml", ours=False)
    found = outcomes(package, tmp_path / "ours.xml", ours=True)
    passed = [name for name, outcome in standard.items() if outcome == "passed"]
    assert len(passed) >= package.least, standard
    assert {name: found.get(name) for name in passed if found.get(name) != "passed"} == {}


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_the_package_has_our_modules(package: Package) -> None:
    folder = source(package)
    text = f"import sys, {package.module}; print(sys.modules[{package.uses!r}].__file__)"
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=environment(folder, ours=True),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(SITE.parent))


DNS = """
import errno, socketserver, sys
from dnslib import A, QTYPE, RR
from dnslib.server import BaseResolver, DNSLogger, DNSServer

class Resolver(BaseResolver):
    def resolve(self, request, handler):
        reply, name = request.reply(), str(request.q.qname)
        count = 300 if name.startswith("big") else 1
        for number in range(count):
            reply.add_answer(RR(name, QTYPE.A, rdata=A(f"10.0.{number // 250}.{number % 250}"), ttl=60))
        return reply

assert "stdserve" in socketserver.__file__
quiet = DNSLogger("-request,-reply,-truncated,-error,-recv,-send,-data", prefix=False)
while True:
    udp = DNSServer(Resolver(), port=0, address="127.0.0.1", logger=quiet)
    port = udp.server.server_address[1]
    try:
        tcp = DNSServer(Resolver(), port=port, address="127.0.0.1", tcp=True, logger=quiet)
    except OSError as error:
        # What is free for datagrams may be in use for connections.
        if error.errno != errno.EADDRINUSE:
            raise
        udp.server.server_close()
    else:
        break
for server in (udp, tcp):
    server.start_thread()
print(port, flush=True)
sys.stdin.read()
for server in (udp, tcp):
    server.stop()
"""


@pytest.fixture
def dns() -> Iterator[int]:
    """The port of a DNS server made of dnslib's classes, which are made of socketserver's."""
    home = CACHE / "dnslib"
    if not (home / "dnslib").exists():
        fetch(home, "install", "--no-deps", "--target", str(home), "dnslib")
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DNS)],
        env=environment(home, ours=True),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.stdin.close()
        code = server.wait(PATIENCE)
        server.stdout.close()
    assert code == 0


@pytest.mark.skipif(shutil.which("dig") is None, reason="needs dig (bind9-dnsutils)")
def test_dig_is_answered_over_udp_and_tcp(dns: int, tmp_path: Path) -> None:
    def dig(*arguments: str) -> str:
        command = ["dig", "@127.0.0.1", "-p", str(dns), "+short", "+time=5", "+tries=2", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=100).stdout

    assert dig("a.test") == "10.0.0.0\n"
    assert dig("+tcp", "a.test") == "10.0.0.0\n"
    # Too long for a datagram: asked again over TCP.
    assert dig("+noedns", "big.test").count("10.0.") == 300
    batch = tmp_path / "batch"
    batch.write_text("".join(f"h{number}.test A\n" for number in range(200)))
    assert dig("-f", str(batch)).count("10.0.0.0") == 200


def test_a_question_by_hand_is_answered_over_udp_and_tcp(dns: int) -> None:
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(question, ("127.0.0.1", dns))
        answer = client.recv(512)
    assert answer[:2] == b"\x12\x34"
    assert answer.endswith(bytes([10, 0, 0, 0]))
    with socket.create_connection(("127.0.0.1", dns), PATIENCE) as stream, stream.makefile("rb") as reader:
        stream.sendall(len(question).to_bytes(2, "big") + question)
        length = int.from_bytes(reader.read(2), "big")
        assert reader.read(length) == answer
