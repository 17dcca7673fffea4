"""The servers: one entry each. Peers stand as their authors would run one worker; see README.md."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ENVS = BENCH / ".envs"
FLOOR = ENVS / "floor" / "release" / "floor"
FILES = ENVS / "files"
# Another build can be named: a release before, a branch beside.
STDSERVE = Path(os.environ.get("BENCH_STDSERVE", BENCH.parent / ".venv" / "bin" / "stdserve"))


@dataclass(frozen=True)
class Server:
    """How a server is started."""

    name: str
    line: str
    """Command; {port}, {app}, {threads} and {bin} (the programs of its environment) are filled in."""
    threads_option: str = ""
    """What says the number of threads; empty: the line says it, or the server has one."""
    threads: int | None = None
    """Threads where the application does not block; None: the option is left out."""
    env: dict[str, str] = field(default_factory=dict)
    role: str = "peer"
    """`peer`, `ours` or `floor`."""
    kind: str = "wsgi"
    """What it serves; it takes part in the workloads of that kind."""
    usual: bool = True
    """Takes part unless --servers names others."""

    def command(self, port: int, app: str, threads: int | None) -> list[str]:
        """Return the command line; `threads` is what the workload asks for."""
        count = max(threads or 0, self.threads or 0)
        program, *rest = self.line.split()
        option = self.threads_option.split() if count else []
        places = {"port": port, "app": app, "threads": count, "bin": ENVS / self.name / "bin"}
        places |= {"floor": FLOOR, "stdserve": STDSERVE, "launch": BENCH / "launch"}
        places |= {"logs": BENCH / "results" / "logs"}
        return [word.format(**places) for word in (program, *option, *rest)]


def _ours(name: str, env: dict[str, str] | None = None, more: str = "") -> Server:
    line = f"{{stdserve}} --bind 127.0.0.1:{{port}} --workers 1 --threads {{threads}} {more} {{app}}"
    return Server(name, line, threads=16, env=env or {}, role="ours", usual=env is None)


# What is written and watched for an operator; the address of the plane is one that no other server has.
_WATCHED = (
    "--access-logfile {logs}/stdserve-all.access --timeout 30s --slow-request 10s --deadlock-timeout 30s"
)


SERVERS = (
    _ours("stdserve"),
    # What does it cost to have everything on, and what to have even the defaults off?
    _ours("stdserve-all", {}, f"{_WATCHED} --queue-timeout 20s --queue-size 1000 --max-requests 100000000"),
    _ours("stdserve-bare", {}, "--admin none --slow-request 0 --deadlock-timeout 0"),
    # The same at other bounds of the cohort: what does it bring to run requests back to back?
    _ours("stdserve-cohort1", {"STDSERVE_COHORT": "1"}),
    _ours("stdserve-cohort8", {"STDSERVE_COHORT": "8"}),
    _ours("stdserve-cohort64", {"STDSERVE_COHORT": "64"}),
    Server("bjoern", "{bin}/python {launch}/run_bjoern.py {app} {port}"),
    Server("fastwsgi", "{bin}/fastwsgi {app} --host 127.0.0.1 --port {port}"),
    Server(
        "granian",
        "{bin}/granian --interface wsgi --http 1 --no-ws --no-log --workers 1 --backlog 2048"
        " --host 127.0.0.1 --port {port} {app}",
        "--blocking-threads {threads}",
        4,
    ),
    # A kept-alive connection holds a thread: fewer than 64 would leave connections unserved.
    Server(
        "uwsgi",
        "{bin}/uwsgi --http11-socket 127.0.0.1:{port} --module {app} --listen 1024"
        " --single-interpreter --die-on-term --disable-logging",
        "--threads {threads}",
        64,
    ),
    Server(
        "gunicorn",
        "{bin}/gunicorn --worker-class gthread --workers 1 --worker-connections 2000 --no-control-socket"
        " --bind 127.0.0.1:{port} {app}",
        "--threads {threads}",
        4,
    ),
    Server(
        "waitress",
        "{bin}/waitress-serve --listen 127.0.0.1:{port} --connection-limit 2000 --asyncore-use-poll {app}",
        "--threads {threads}",
        4,
    ),
    Server("floor", "{floor} {port}", role="floor"),
    Server(
        "stdserve-files",
        "{stdserve} files --bind 127.0.0.1:{port} --workers 1 {app}",
        role="ours",
        kind="files",
    ),
    Server("nginx", f"{sys.executable} {{launch}}/run_nginx.py {{port}} {{app}}", kind="files"),
)
