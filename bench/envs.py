"""Makes what the bench needs: an environment for each peer, the applications' packages, the floor."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from servers import BENCH, ENVS, FILES, STDSERVE, Server

APPLICATIONS = ENVS / "applications"
_BUILT_FROM_SOURCE = {"bjoern": "ev.h", "uwsgi": ""}


class Missing(Exception):
    """Something must be installed first; says what."""


def prepare(servers: Iterable[Server]) -> dict[str, str]:
    """Make what is missing; return the servers that cannot run, and why."""
    if shutil.which("wrk") is None:
        raise Missing("wrk is missing: apt-get install wrk")
    # One copy of Flask and Django for all servers, by PYTHONPATH: the same versions everywhere.
    requirements = BENCH / "requirements" / "applications.txt"
    _once(APPLICATIONS, requirements, [[*_pip(sys.executable), "--target", str(APPLICATIONS)]])
    _make_files()
    absent = {}
    for server in servers:
        if server.role == "floor":
            _build_floor()
        elif server.name == "nginx":
            if shutil.which("nginx") is None:
                absent[server.name] = "apt-get install nginx-light"
        elif server.role == "peer":
            _prepare_peer(server.name)
        elif not STDSERVE.exists():
            absent[server.name] = f"{STDSERVE} is not there yet: make build"
    return absent


def _make_files() -> None:
    """Make the files that are served: of bytes that nothing can compress, and not changed just now."""
    FILES.mkdir(parents=True, exist_ok=True)
    for name, size in (("1k.bin", 1 << 10), ("1m.bin", 1 << 20)):
        if not (FILES / name).exists():
            (FILES / name).write_bytes(os.urandom(size))
            os.utime(FILES / name, (0, 0))


def _pip(python: str) -> list[str]:
    return [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-warn-script-location",
    ]


def _prepare_peer(name: str) -> None:
    env = ENVS / name
    requirements = BENCH / "requirements" / f"{name}.txt"
    if name in _BUILT_FROM_SOURCE and not _stamped(env, requirements):
        _need_compiler(name, _BUILT_FROM_SOURCE[name])
    make = [sys.executable, "-m", "venv", "--clear", str(env)]
    _once(env, requirements, [make, _pip(str(env / "bin" / "python"))])


def _stamp(requirements: Path) -> str:
    return f"{sys.version}\n{requirements.read_text()}"


def _stamped(target: Path, requirements: Path) -> bool:
    stamp = target / "made-from.txt"
    return stamp.exists() and stamp.read_text() == _stamp(requirements)


def _once(target: Path, requirements: Path, commands: list[list[str]]) -> None:
    """Run the commands (the last one a pip that is given the requirements), unless they were run before."""
    if _stamped(target, requirements):
        return
    print(f"making {target.relative_to(BENCH.parent)}", file=sys.stderr, flush=True)
    shutil.rmtree(target, ignore_errors=True)
    commands[-1] += ["--requirement", str(requirements)]
    for command in commands:
        subprocess.run(command, check=True)
    (target / "made-from.txt").write_text(_stamp(requirements))


def _need_compiler(name: str, header: str) -> None:
    if shutil.which("cc") is None:
        raise Missing(
            f"{name} is built from source and there is no C compiler: apt-get install gcc libc6-dev"
        )
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        raise Missing(
            f"{name} is built from source and {include}/Python.h is missing: apt-get install python3-dev"
        )
    if header:
        command = ["cc", "-E", "-include", header, "-x", "c", os.devnull]
        if subprocess.run(command, capture_output=True).returncode:
            raise Missing(f"{name} needs libev's header ({header}): apt-get install libev-dev")


def _build_floor() -> None:
    if shutil.which("cargo") is None:
        raise Missing("cargo is missing: the floor is a Rust program (https://rustup.rs)")
    manifest, target = BENCH / "floor" / "Cargo.toml", ENVS / "floor"
    command = ["cargo", "build", "--quiet", "--release", "--locked"]
    subprocess.run([*command, "--manifest-path", str(manifest), "--target-dir", str(target)], check=True)
