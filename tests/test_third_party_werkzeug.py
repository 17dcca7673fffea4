"""werkzeug's own tests of its development server, which subclasses `http.server`, with our modules in place.

They come with werkzeug's source archive, which pip downloads once; without a network they are skipped. They
run in a virtual environment of their own, in which every Python has the standard library's servers replaced:
werkzeug starts its servers as processes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import stdserve

VERSION = "3.1.9"
CACHE = Path(__file__).parent / ".envs"
PACKAGE = Path(stdserve.__file__).parent
NEEDS = ("pytest~=9.2", "pytest-timeout~=2.4", "ephemeral-port-reserve~=1.1", "cryptography", "watchdog~=6.0")

#: Read by each Python of the environment at its start.
REPLACE = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("_stdserve_replace", {str(PACKAGE / "_replace.py")!r})
replace = importlib.util.module_from_spec(spec)
spec.loader.exec_module(replace)
replace.install()
"""

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("werkzeug")]


def pip(*arguments: str) -> None:
    """Runs pip, or skips where what it should fetch cannot be had."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pip cannot fetch what werkzeug's tests need: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def werkzeug() -> Path:
    """The folder of werkzeug's source, with its environment beside it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = CACHE / f"werkzeug-{VERSION}-{version}"
    source = home / f"werkzeug-{VERSION}"
    python = home / "env" / "bin" / "python"
    if not (home / "complete").exists():
        home.mkdir(parents=True, exist_ok=True)
        pip("download", "--no-deps", "--no-binary=:all:", "--dest", str(home), f"werkzeug=={VERSION}")
        with tarfile.open(next(home.glob("*.tar.gz"))) as archive:
            archive.extractall(home, filter="data")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "env")], check=True)
        pip("--python", str(python), "install", *NEEDS, str(source))
        (home / "complete").touch()
    packages = next((home / "env" / "lib").glob("python3*/site-packages"))
    (packages / "stdserve_replace.py").write_text(REPLACE)
    (packages / "stdserve.pth").write_text(f"{PACKAGE.parent}\nimport stdserve_replace\n")
    return source


def run(source: Path, tmp_path: Path, *arguments: str) -> dict[str, str]:
    """Runs werkzeug's tests; returns what did not pass, with its message."""
    report = tmp_path / "report.xml"
    python = source.parent / "env" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # The path of a Unix socket has room for 107 bytes (unix(7)), less than pytest's folders may take.
    base = Path(tempfile.mkdtemp(prefix="werkzeug"))
    done = subprocess.run(
        [
            *(str(python), "-m", "pytest", "tests/test_serving.py", "-q", "--timeout=120"),
            *(
                "-p",
                "no:cacheprovider",
                f"--basetemp={base / 'tests'}",
                f"--junitxml={report}",
                *arguments,
            ),
        ],
        cwd=source,
        env=environment | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(base)
    assert report.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(report).getroot().iter("testcase")
    results = {
        case.get("name", ""): "".join((outcome.text or outcome.get("message") or "") for outcome in case)
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    passed = [line for line in done.stdout.splitlines() if " passed" in line]
    assert passed, done.stdout + done.stderr
    return results


def test_werkzeug_passes_its_tests_of_serving(werkzeug: Path, tmp_path: Path) -> None:
    """All of test_serving.py."""
    python = werkzeug.parent / "env" / "bin" / "python"
    told = subprocess.run(
        [
            str(python),
            "-c",
            "import http.server, json, werkzeug.serving as serving; "
            "setup = serving.WSGIRequestHandler.__mro__[1].setup; "
            "print(json.dumps([http.server.__file__, setup.__code__.co_filename]))",
        ],
        env=dict(os.environ, PYTHONPATH=""),
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(file.startswith(str(PACKAGE)) for file in json.loads(told.stdout)), "not replaced"
    assert run(werkzeug, tmp_path) == {}
