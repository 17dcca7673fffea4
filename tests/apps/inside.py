"""What a worker finds itself to be, and what it does when it wants more than it may have."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Callable, Iterable
from typing import Any

kept: list[object] = []


def facts() -> dict[str, object]:
    """Of this process."""
    umask = os.umask(0)
    os.umask(umask)
    limits = {
        name: resource.getrlimit(getattr(resource, name))
        for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_CORE")
    }
    return {
        "pid": os.getpid(),
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": sorted(os.getgroups()),
        "umask": umask,
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "limits": limits,
    }


def spin() -> None:
    """Use processor time until the kernel says that it was enough."""
    soft, _ = resource.getrlimit(resource.RLIMIT_CPU)
    while sum(os.times()[:2]) < soft + 0.2:
        sum(range(10_000))


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Facts as JSON; `/spin` and `/memory` want too much."""
    match environ["PATH_INFO"]:
        case "/spin":
            spin()
        case "/memory":
            kept.append(bytearray(1 << 34))
        case "/files":
            kept.extend(socket.socket() for _ in range(int(environ["QUERY_STRING"])))
        case "/close":
            kept.clear()
    body = json.dumps(facts()).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
