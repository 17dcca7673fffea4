"""CPython's own suites, with our modules in the place of the standard library's.

The standard library runs beside them: whatever passes there must pass here, and nothing may be skipped that
it does not skip. As root, some tests of http.server skip themselves: these run as an ordinary user, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.serving import clean_environment

PROGRAM = Path(__file__).parent / "support" / "cpython_suites.py"

#: What each suite is about, and how many tests it had at least, in any version from 3.11 on.
SUITES = {
    "test_socketserver": ("socketserver", 25),
    "test_selectors": ("selectors", 100),
    "test_httpservers": ("http.server", 70),
    "test_wsgiref": ("wsgiref.simple_server", 30),
    "test_xmlrpc": ("xmlrpc.server", 80),
    "test_docxmlrpc": ("xmlrpc.server", 8),
}
#: An ordinary user who may still read everything: the interpreter may stand in a folder of root's own.
ORDINARY = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
]

pytestmark = pytest.mark.timeout(400)


def run(suite: str, modules: str, folder: Path, wrapper: list[str]) -> dict[str, Any]:
    """One suite in a process of its own; what it printed last."""
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    env = clean_environment({"TMPDIR": str(folder), "HOME": str(folder)})
    del env["PYTHONPATH"]
    done = subprocess.run(
        [*wrapper, sys.executable, str(PROGRAM), suite, modules],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "missing" in answer:
        pytest.skip(f"this Python is installed without its tests: {answer['missing']}")
    return answer


def compare(suite: str, folder: Path, wrapper: list[str]) -> None:
    # Side by side: they mostly wait.
    with ThreadPoolExecutor() as pool:
        theirs, ours = pool.map(
            lambda modules: run(suite, modules, folder / modules, wrapper), ("standard", "ours")
        )
    standard = theirs["outcomes"]
    found, reports = ours["outcomes"], ours["reports"]
    about, least = SUITES[suite]
    assert about in ours["replaced"]
    assert len(found) >= least
    worse = {
        name: f"{word} there, {found.get(name, 'absent')} here\n{reports.get(name, '')}"
        for name, word in standard.items()
        if (word == "passed" and found.get(name) != "passed") or name not in found
    }
    assert not worse, "\n\n".join(f"{name}: {how}" for name, how in worse.items())
    skipped = {name for name, word in found.items() if word == "skipped"}
    assert skipped <= {name for name, word in standard.items() if word == "skipped"}


@pytest.mark.parametrize("suite", SUITES)
def test_suite_passes_as_with_the_standard_library(suite: str, short_path: Path) -> None:
    short_path.chmod(0o755)
    compare(suite, short_path, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_http_suite_passes_as_an_ordinary_user(short_path: Path) -> None:
    short_path.chmod(0o755)
    if subprocess.run([*ORDINARY, "true"], capture_output=True).returncode:
        pytest.skip("this container's root may not become another user who reads everything")
    compare("test_httpservers", short_path, ORDINARY)
