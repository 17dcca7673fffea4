"""What a CGI request costs beside starting its program: `stdserve cgi` against posix_spawn(3) in a loop.

python bench/cgi_spawn.py [--stdserve COMMAND] [--count 500] [--rounds 7]

Processor time of the whole tree, user and system, for each request; bursts of both in turn, on one core, the
client on another. The aim is a ratio of 1.2.
"""

import argparse
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from processes import spent

HERE = Path(__file__).resolve().parent
AIM = 1.2
#: The server's core, and the client's.
CORES = (0, 1)


def compile_programs(folder: Path) -> None:
    """Build the floor, and the scripts: one in C, one in sh, one in Python."""
    for name in ("hello", "floor"):
        source = HERE / "cgi" / f"{name}.c"
        subprocess.run(["cc", "-O2", "-o", str(folder / name), str(source)], check=True)
    (folder / "bin").mkdir()
    (folder / "hello").rename(folder / "bin" / "c")
    answer = "Content-Type: text/plain\\n\\nHello, world!\\n"
    scripts = {"sh": f"#!/bin/sh\nprintf '{answer}'\n"}
    scripts["python"] = f'#!{os.path.realpath(sys.executable)} -IS\nprint("{answer}", end="")\n'
    for name, text in scripts.items():
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)


def start(command: str, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start the server on its core; the process and its port."""
    process = subprocess.Popen(
        [command, "cgi", str(folder), "--bind", "127.0.0.1:0", "--workers", "1"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {CORES[0]}),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "127.0.0.1:" in line:
            return process, int(line.rsplit(":", 1)[1].split()[0])
    raise SystemExit("the server did not start")


def burst(port: int, script: str, count: int) -> None:
    """So many requests on one connection, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(count):
        connection.request("GET", f"/{script}")
        response = connection.getresponse()
        if response.read() != b"Hello, world!\n":
            raise SystemExit(f"{script}: {response.status}")
    connection.close()


def floor(folder: Path, script: str, count: int) -> float:
    """Microseconds for each start of the program by itself."""
    command = [str(folder / "floor"), str(count), str(folder / "bin" / script)]
    return float(subprocess.check_output(["taskset", "-c", str(CORES[0]), *command]))


def main() -> None:
    """Measure, and print a line for each script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--stdserve", default=shutil.which("stdserve") or "stdserve")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="c,sh,python")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {CORES[1]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_programs(folder)
        process, port = start(chosen.stdserve, folder / "bin")
        try:
            for script in chosen.only.split(","):
                burst(port, script, 20)
                rows = []
                for _ in range(chosen.rounds):
                    alone = floor(folder, script, chosen.count)
                    before = spent(process.pid)
                    burst(port, script, chosen.count)
                    time.sleep(0.05)  # the last script is waited for a moment after its answer
                    served = spent(process.pid).since(before).cpu / chosen.count * 1e6
                    rows.append((served, alone, served / alone))
                served, alone, ratio = (statistics.median(column) for column in zip(*rows, strict=True))
                verdict = "reached" if ratio <= AIM else "missed"
                print(
                    f"{script:8} {served:7.0f} us  alone {alone:7.0f} us  ratio {ratio:.2f} ({verdict})",
                    flush=True,
                )
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
