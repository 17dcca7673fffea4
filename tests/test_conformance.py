"""The outside tests: what gunicorn, llhttp, waitress and three WSGI validators ask of a server.

They live in ../shared/conformance beside the repository, where continuous integration has them; a user's
clone does not. What we do not pass on purpose is listed here, each with its reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.serving import clean_environment, command

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("STDSERVE_CONFORMANCE", REPOSITORY.parent / "shared" / "conformance"))
CACHE = Path(__file__).parent / ".envs"

pytestmark = [
    pytest.mark.skipif(not (FOLDER / "judge.py").exists(), reason=f"{FOLDER} is not there (CI has it)"),
    pytest.mark.timeout(600),
]

#: llhttp takes these, or refuses them, otherwise than we do.
LLHTTP: dict[str, str] = {}

#: Cases of waitress that ask for waitress's own texts, limits or option names.
WAITRESS: dict[str, str] = {}


def served(app: str, *check: str, port: str = "{port}") -> subprocess.CompletedProcess[str]:
    """Run a check of the folder against a server of its own."""
    asked = [sys.executable, *check, *([port] if port else [])]
    return subprocess.run(
        [sys.executable, "servers.py", "--with", "stdserve", app, "--", *asked],
        cwd=FOLDER,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=580,
    )


def environment() -> dict[str, str]:
    """How the folder's servers.py is told about us."""
    ours = [*command(), "--workers", "1", "--bind", "127.0.0.1:{port}", "{app}"]
    # servers.py splits it at blanks.
    env = {**clean_environment(), "SERVER_ARGV_STDSERVE": " ".join(ours)}
    env["PYTHONPATH"] = str(FOLDER)
    return env


def judged(corpus: str, tmp_path: Path, split: int) -> list[dict[str, Any]]:
    """The verdicts on every case of a corpus."""
    out = tmp_path / "verdicts.json"
    more = ["--split", str(split)] if split else []
    ended = served(
        "echoapp:app",
        *["judge.py", "--corpus", corpus, "--json", str(out), *more, "--target"],
        port="127.0.0.1:{port}",
    )
    assert out.exists(), ended.stdout
    verdicts: list[dict[str, Any]] = json.loads(out.read_text())
    return [one for one in verdicts if one["verdict"] != "info"]


@pytest.mark.parametrize("split", [0, 1], ids=["whole", "bytewise"])
def test_gunicorns_corpus(tmp_path: Path, split: int) -> None:
    """117 of 117, and what the application saw is what gunicorn's parser says."""
    verdicts = judged("gunicorn", tmp_path, split)
    assert len(verdicts) == 117
    assert [one for one in verdicts if one["verdict"] != "pass"] == []
    assert [one for one in verdicts if one["fidelity"]] == []


@pytest.mark.parametrize("split", [0, 1], ids=["whole", "bytewise"])
def test_llhttps_corpus(tmp_path: Path, split: int) -> None:
    """At least 104 of 111; the rest by name and reason."""
    verdicts = judged("llhttp", tmp_path, split)
    assert len(verdicts) == 111
    failed = {one["name"] for one in verdicts if one["verdict"] != "pass"}
    assert failed == set(LLHTTP)
    assert len(failed) <= 7


def test_wsgi_validators() -> None:
    """wsgiref.validate, webtest.lint and werkzeug's LintMiddleware round sixteen shapes of application."""
    ended = served("lintapp:app", "wsgi_lint.py")
    assert "89 passed, 0 failed" in ended.stdout, ended.stdout


@pytest.fixture(scope="module")
def waitress() -> Path:
    """The source of waitress 3.0.2, from PyPI, kept for later runs."""
    source = CACHE / "waitress-3.0.2"
    if not source.is_dir():
        CACHE.mkdir(exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run(
            [*pip, "--use-pep517", "--dest", str(CACHE), "waitress==3.0.2"], check=True, timeout=300
        )
        shutil.unpack_archive(CACHE / "waitress-3.0.2.tar.gz", CACHE)
    return source


def test_waitress_functional(waitress: Path, tmp_path: Path) -> None:
    """Everything but what asks for waitress's own texts, limits or option names."""
    out = tmp_path / "waitress.json"
    # run.py knows the names in its table only; ours goes under one of them.
    ours = [
        sys.executable,
        str(Path(__file__).with_name("support") / "waitress_command.py"),
        "{port}",
        "{app}",
    ]
    asked = [sys.executable, str(FOLDER / "waitress" / "run.py"), "--src", str(waitress)]
    ended = subprocess.run(
        [*asked, "--server", "gunicorn", "--json", str(out)],
        env={**environment(), "SERVER_ARGV_GUNICORN": " ".join(ours)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=580,
    )
    assert out.exists(), ended.stdout
    result = json.loads(out.read_text())
    failed = {name.removeprefix("tests.test_functional."): why for name, why in result["failed"]}
    surprising = {name: why for name, why in failed.items() if name not in WAITRESS}
    assert surprising == {}
    assert sorted(set(WAITRESS) - set(failed)) == [], "listed, and passed"
