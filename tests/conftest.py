"""Fixtures: `serve` starts the real command, `gate` meets the application that it runs.

    def test_it(serve, gate):
        server = serve("shapes:app", threads=2, keep_alive="1s")
        with server.client() as client:
            assert client.ask("/hello").status == 200

Applications are the modules of tests/apps. Keyword arguments of `serve` are options of the command; `env`,
`cwd`, `wrapper`, `bind`, `terminal`, `limits` and `program` say how it is started. A server ends with its
test, and the test fails if a process of it is left or its log shows a panic.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stdserve.concurrent import TaskScheduler

from support.disks import small_file_system
from support.dropin import make_certificate
from support.gate import Gate
from support.hosting import Host
from support.serving import Serve, Served, starter


# Not known where pytest runs without xdist, as it does for the tests of other packages.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two tests for each CPU at a time: most of them wait for processes, sockets and time-outs."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="stdserve-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for two MiB."""
    try:
        with small_file_system(tmp_path / "small") as folder:
            yield folder
    except PermissionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, with its key in the same file."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets that are connected."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def scheduler() -> Iterator[TaskScheduler]:
    """A scheduler of generators, closed in the end."""
    with TaskScheduler() as made:
        yield made


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A server in this process, which all tests of a module share: none may harm it."""
    made = Host()
    yield made
    made.server.stop()


@pytest.fixture
def gate(short_path: Path) -> Iterator[Gate]:
    """Where the test meets the application; `serve` tells the application about it."""
    meeting = Gate(short_path / "gate")
    yield meeting
    meeting.close()


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Start the command; one worker, unless the test says otherwise."""
    started: list[Served] = []
    meeting = request.getfixturevalue("gate") if "gate" in request.fixturenames else None

    yield starter(started, {"GATE": str(meeting.path)} if meeting else {})
    if meeting:
        meeting.close()
    wrong = []
    for server in reversed(started):
        try:
            server.clean_up()
        except AssertionError as complaint:
            wrong.append(str(complaint))
    assert not wrong, "\n\n".join(wrong)


ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def binary() -> str:
    """The command without Python: $STDSERVE_TEST_BINARY, else it is built."""
    chosen = os.environ.get("STDSERVE_TEST_BINARY")
    if chosen:
        return chosen
    if not shutil.which("cargo"):
        pytest.skip("needs cargo, or $STDSERVE_TEST_BINARY")
    build = ["cargo", "build", "--quiet", "--locked", "--package", "stdserve-cli"]
    subprocess.run(build, cwd=ROOT, check=True, timeout=900)
    return str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "stdserve")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Find a port that nobody listens on, and that the kernel gives to nobody who asks for any (ip(7))."""
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = range(1024, 1 << 16)
    chosen = [port for port in ports if not lowest <= port <= highest] or list(ports)

    def find() -> int:
        # By chance: other tests look for theirs at the same time.
        while True:
            port = random.choice(chosen)
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port

    return find
