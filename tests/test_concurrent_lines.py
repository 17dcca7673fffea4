"""`stdserve.concurrent.matching_lines`: lines of plain and gzip files, found by native threads."""

from __future__ import annotations

import contextlib
import errno
import gzip
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdserve.concurrent import matching_lines

from support.waiting import PATIENCE, until

TASKS = Path("/proc/self/task")


def states() -> list[str]:
    """The states of the native threads of searches that this process has (proc(5))."""
    found = []
    for task in TASKS.iterdir():
        with contextlib.suppress(OSError):  # it has ended
            if (task / "comm").read_text().startswith("stdserve:lines"):
                found.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return found


def readers() -> int:
    """How many such threads there are."""
    return len(states())


def all_end() -> None:
    """Wait for the kernel to be through with the threads: they have come to their end."""
    until(lambda: readers() == 0, "no thread is left")


def simply(files: Iterable[tuple[Path, bytes]], needle: bytes) -> list[tuple[Path, bytes]]:
    """The same, by a loop over lines."""
    found = []
    for path, text in files:
        for line in re.findall(rb"[^\n]*\n|[^\n]+", text):
            content = re.sub(rb"\r?\n\Z", b"", line)
            if needle in content:
                found.append((path, content))
    return found


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of Python, to its end."""
    begun = "from stdserve.concurrent import matching_lines\nimport os, sys, threading\n"
    return subprocess.run(
        [sys.executable, "-c", begun + program, *arguments],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )


TEXTS = st.lists(st.sampled_from([b"a", b"ab", b"\n", b"\r\n", b"\r", b"b" * 40]), max_size=30).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(st.tuples(st.booleans(), st.lists(TEXTS, max_size=3)), max_size=6),
    needle=st.sampled_from([b"", b"a", b"ab", b"aa", b"c"]),
    threads=st.sampled_from([None, 1, 3]),
)
def test_the_lines_are_those_of_a_loop(
    files: list[tuple[bool, list[bytes]]], needle: bytes, threads: int | None
) -> None:
    """Plain and gzip, of several members and none, with all ends of lines; in order and not."""
    with tempfile.TemporaryDirectory() as folder:
        texts = []
        for number, (zipped, parts) in enumerate(files):
            path = Path(folder, str(number))
            path.write_bytes(b"".join(map(gzip.compress, parts)) if zipped else b"".join(parts))
            texts.append((path, b"".join(parts)))
        expected = simply(texts, needle)
        paths = [path for path, _ in texts]
        assert list(matching_lines(paths, needle, threads=threads)) == expected
        found = list(matching_lines(paths, needle, threads=threads, ordered=False))
        assert [one for path in paths for one in found if one[0] == path] == expected
        assert len(found) == len(expected)


@pytest.mark.parametrize("ordered", [True, False])
def test_many_lines_of_files_of_different_sizes(tmp_path: Path, ordered: bool) -> None:
    """More than queues hold, in pieces that lines lie across."""
    source = random.Random(1)
    files = []
    for number, count in enumerate([6_000, 1, 0, 20_000, 1_000]):
        kinds = source.choices([b"yes", b"no", b"yes" * 20], k=count)
        text = b"\n".join(b"%d %s" % line for line in enumerate(kinds))
        path = tmp_path / f"{number}.gz"
        path.write_bytes(gzip.compress(text, 1))
        files.append((path, text))
    paths = [path for path, _ in files]
    expected = simply(files, b"yes")
    found = list(matching_lines(paths, b"yes", ordered=ordered))
    assert found == expected if ordered else sorted(found) == sorted(expected)
    all_end()


def failure(paths: list[Path], max_line: int = 1 << 20) -> tuple[list[bytes], Exception]:
    """The lines before an error, and that."""
    found: list[bytes] = []
    with pytest.raises((OSError, ValueError)) as caught:
        found.extend(line for _, line in matching_lines(paths, b"x", max_line=max_line))
    all_end()
    return found, caught.value


def test_errors_name_file_and_offset(tmp_path: Path) -> None:
    """And come behind the lines that were there."""
    text = b"".join(b"x %d\n" % number for number in range(10_000))
    data = gzip.compress(text)
    first, bad = tmp_path / "first", tmp_path / "bad.gz"
    first.write_bytes(b"x\n")

    bad.write_bytes(data[:-4])
    lines, error = failure([first, bad])
    assert isinstance(error, gzip.BadGzipFile)
    assert str(error) == f"{bad}: gzip data cut off at byte {len(data) - 4}"
    assert lines == [b"x", *text.splitlines()]

    bad.write_bytes(data + b"more")
    lines, error = failure([first, bad])
    assert str(error) == f"{bad}: no gzip after the end of a member at byte {len(data)}"
    assert len(lines) == 10_001

    bad.write_bytes(data[:-8] + b"\0\0\0\0" + data[-4:])
    assert str(failure([first, bad])[1]).startswith(f"{bad}: corrupt gzip data at byte {len(data)}"[:-1])

    half = len(data) // 2
    bad.write_bytes(data[:half] + bytes(byte ^ 0xFF for byte in data[half:]))
    lines, error = failure([first, bad])
    assert isinstance(error, gzip.BadGzipFile)
    place = re.fullmatch(rf"{re.escape(str(bad))}: corrupt gzip data at byte (\d+)", str(error))
    assert place is not None
    assert half <= int(place[1]) <= len(data)
    assert lines == [b"x", *text.splitlines()][: len(lines)]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.write_bytes(b"x\n")
    for wrong, number in ((tmp_path / "nowhere", errno.ENOENT), (tmp_path, errno.EISDIR)):
        lines, error = failure([here, wrong])
        assert lines == [b"x"]
        assert isinstance(error, OSError)
        assert (error.errno, error.filename) == (number, wrong)


def test_a_long_line_is_an_error_only_where_it_would_be_given(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x1\r\n" + b"a" * 300_000 + b"\nx2345678\r\n" + b"b" * 300_000 + b"x\nx3\n")
    lines, error = failure([path], max_line=8)
    assert lines == [b"x1", b"x2345678"]
    assert str(error) == f"{path}: the line at byte {4 + 300_001 + 10} is too long"
    assert len(list(matching_lines([path], b"x", max_line=300_001))) == 4


def test_memory_is_bounded(tmp_path: Path) -> None:
    """For a line of 4 MB, and for lines of 60 MB that are found faster than they are taken."""
    long, many = tmp_path / "long.gz", tmp_path / "many"
    with gzip.open(long, "wb", 1) as file:
        file.write(b"a" * 4_000_000)
        file.write(b"\nx\n")
    many.write_bytes((b"x" * 999 + b"\n") * 20_000)
    done = run(
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "assert [line for _, line in matching_lines(sys.argv[1:2], b'x', max_line=1000)] == [b'x']\n"
        "search = matching_lines(sys.argv[2:], b'x', threads=3)\n"
        "print(sum(1 for _ in search), peak() - before)\n",
        *map(str, [long, many, many, many]),
    )
    count, grown = map(int, done.stdout.split())
    assert count == 60_000
    assert grown < 8_000, "kB"


def test_without_descriptors_the_error_has_its_number(tmp_path: Path) -> None:
    """Also that of a TaskScheduler, which is made natively in the same way."""
    done = run(
        "import resource\n"
        "from stdserve.concurrent import TaskScheduler\n"
        "scheduler, search = TaskScheduler(), matching_lines(sys.argv[1:], b'x')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "for call in scheduler.fileno, search.__next__:\n"
        "    try:\n"
        "        call()\n"
        "    except OSError as error:\n"
        "        print(error.errno)\n",
        str(tmp_path / "file"),
    )
    assert done.stdout == "24\n24\n", done


def test_no_file_is_begun_far_ahead_of_the_caller(tmp_path: Path) -> None:
    """Two whose lines are not taken are enough for a thread: however many there are, memory is bounded."""
    plain, pipe = tmp_path / "plain", tmp_path / "pipe"
    plain.write_bytes(b"x\n")
    os.mkfifo(pipe)
    search = matching_lines([plain, plain, plain, pipe], b"x", threads=1)
    next(search)
    until(lambda: states() == ["S"], "the thread waits")
    with pytest.raises(OSError, match="No such device or address"):  # nobody has it open
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    next(search)
    writer = pipe.open("wb")  # waits for the reader
    writer.close()
    assert list(search) == [(plain, b"x")]


def test_threads_begin_with_the_first_line_and_end_with_the_search(tmp_path: Path) -> None:
    """When it is closed or dropped, and after an error; no more than allowed, or than files."""
    path = tmp_path / "log"
    path.write_bytes(b"x\n" * 100_000)
    search = matching_lines([path] * 5, b"x", threads=3)
    assert readers() == 0
    assert next(search) == (path, b"x")
    until(lambda: readers() == 3, "three threads")
    search.close()
    all_end()
    assert list(search) == []

    search = matching_lines([path] * 2, b"x", threads=3)
    next(search)
    until(lambda: readers() == 2, "a thread for each file")
    del search
    all_end()

    search = matching_lines([path, tmp_path / "nowhere"], b"x", threads=3)
    with pytest.raises(FileNotFoundError):
        list(search)
    all_end()
    assert list(matching_lines([], b"x")) == []


def test_lines_of_a_pipe_come_as_they_are_written(tmp_path: Path) -> None:
    """Unordered, the files behind it are not held up; the closing does not wait for it for ever."""
    pipe, plain = tmp_path / "pipe", tmp_path / "plain"
    os.mkfifo(pipe)
    plain.write_bytes(b"x plain\n")
    search = matching_lines([pipe, plain], b"x", threads=2, ordered=False)
    assert next(search) == (plain, b"x plain")
    with pipe.open("wb", buffering=0) as writer:
        writer.write(b"no\nx one\nx t")
        assert next(search) == (pipe, b"x one")
        writer.write(b"wo\n")
        assert next(search) == (pipe, b"x two")
        writer.write(gzip.compress(b"x"))  # no gzip at the beginning: text
        writer.write(b"\nx")
        closer = threading.Thread(target=search.close)
        closer.start()
        closer.join(PATIENCE)
        assert not closer.is_alive()
    all_end()


def test_a_search_may_go_from_thread_to_thread(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"x %d\n" % number for number in range(100)))
    search = matching_lines([path], b"x")
    found: list[tuple[Path, bytes]] = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: found.extend(itertools.islice(search, 20)))
        thread.start()
        thread.join()
    assert [line for _, line in found] == path.read_bytes().splitlines()


def test_arguments_that_cannot_be_meant() -> None:
    """Are refused at the call, not at the first line."""
    with pytest.raises(TypeError, match="put it into a list"):
        matching_lines("access.log", b"x")
    with pytest.raises(TypeError, match="needle is no bytes but str"):
        matching_lines(["access.log"], "x")  # type: ignore[arg-type]
    for needle in (b"a\n", b"\rb"):
        with pytest.raises(ValueError, match="a line end in the needle"):
            matching_lines(["access.log"], needle)
    with pytest.raises(ValueError, match="threads is 0"):
        matching_lines(["access.log"], b"x", threads=0)
    with pytest.raises(ValueError, match="max_line is 0"):
        matching_lines(["access.log"], b"x", max_line=0)
    with pytest.raises(ValueError, match="NUL in the path"):
        matching_lines(["access\0log"], b"x")


def test_a_forked_child_has_searches_of_its_own(tmp_path: Path) -> None:
    """One that the parent has begun raises in the child, and goes on in the parent; others begin there."""
    path = tmp_path / "log"
    path.write_bytes(b"x\n" * 20_000)
    done = run(
        "begun, fresh = (matching_lines(sys.argv[1:] * 2, b'x', threads=2) for _ in range(2))\n"
        "next(begun)\n"
        "children = []\n"
        "for _ in range(20):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try: list(begun)\n"
        "        except RuntimeError as error: assert 'forked child' in str(error)\n"
        "        else: os._exit(3)\n"
        "        begun = None\n"
        "        os._exit(sum(1 for _ in fresh) != 40_000)\n"
        "    children.append(child)\n"
        "    next(begun)\n"
        "codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}\n"
        "print(codes, sum(1 for _ in begun))\n",
        str(path),
    )
    assert (done.stdout, done.returncode) == ("{0} 39979\n", 0), done.stderr


def test_the_interpreter_ends_beside_searches(tmp_path: Path) -> None:
    """50 times: with a daemon thread that waits, one that takes lines, and one search that is half read."""
    pipe, path = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    path.write_bytes(b"x\n" * 100_000)
    program = (
        "from stdserve.concurrent import matching_lines\nimport sys, threading\n"
        "pipe, path = sys.argv[1:]\n"
        "started = threading.Barrier(3)\n"
        "def use(paths):\n"
        "    started.wait()\n"
        "    for _ in matching_lines(paths, b'x'): pass\n"
        "for paths in ([pipe], [path] * 100):\n"
        "    threading.Thread(target=use, args=(paths,), daemon=True).start()\n"
        "half = matching_lines([path] * 5, b'x', threads=3)\n"
        "next(half)\n"
        "started.wait()\n"
    )
    command = [sys.executable, "-c", program, str(pipe), str(path)]
    for _ in range(10):
        five = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(5)]
        for process in five:
            _, errors = process.communicate(timeout=4 * PATIENCE)
            assert (process.returncode, errors) == (0, "")


def test_ctrl_c_interrupts_the_waiting(tmp_path: Path) -> None:
    """Signals are for the program's threads, never for those that read."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = (
        "from stdserve.concurrent import matching_lines\nimport sys\n"
        "for _, line in matching_lines(sys.argv[1:], b'x'): print(line, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(pipe)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    with pipe.open("wb", buffering=0) as writer:
        writer.write(b"x\n")
        assert process.stdout.readline() == b"b'x'\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
