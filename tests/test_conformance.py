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

#: The request says 17,914 bytes of body, brings 8,599 and ends. gunicorn hands that on; here an incomplete
#: body never reaches the application. All others pass.
GUNICORN = {"valid/099": "the body is shorter than its Content-Length"}

TOKEN = "a method may be any token (RFC 9110 section 9.1)"
OTHER = "another protocol, which llhttp parses besides HTTP"

#: llhttp takes these, or refuses them, otherwise than we do.
LLHTTP = {
    "invalid: HTTP protocol and ANNOUNCE method": TOKEN,
    "invalid: Invalid method": TOKEN,
    "method: M-SEARCH request": "only OPTIONS may have * as its target (RFC 9112 section 3.2.4)",
    "method: SOURCE request with ICE": OTHER,
    "method: OPTIONS request with RTSP": OTHER,
    "method: ANNOUNCE request with RTSP": OTHER,
    "sample: No HTTP version": "HTTP/0.9",
}

SERVER = "wants `Server: waitress`"
WORDS = "wants waitress's own words in the body"
CASE = "wants `Connection: Keep-Alive` in these very letters"
CLOSES = "wants the connection to end where we keep it, though the response is whole"
SURPLUS = "wants the connection kept when the application sent more than its Content-Length; we close it"
EARLY = "wants a 200 that is cut, where nothing was sent yet and we can still say 500"
LENGTH = "wants chunks, or the end of the connection, for a list whose length we add up"
LIMIT = "wants 431 for a next request that is no HTTP; we find that out first, and say 400"

#: Cases of waitress that ask for waitress's own texts, limits or policies.
WAITRESS = {
    "TcpBadContentLengthTests.test_long_body": SURPLUS,
    "TcpEchoTests.test_bad_host_header": SERVER,
    "TcpEchoTests.test_broken_chunked_encoding_invalid_extension": WORDS,
    "TcpEchoTests.test_broken_chunked_encoding_invalid_hex": WORDS,
    "TcpEchoTests.test_broken_chunked_encoding_missing_chunk_end": WORDS,
    "TcpEchoTests.test_date_and_server": SERVER,
    "TcpEchoTests.test_keepalive_http10_explicit": CASE,
    "TcpEchoTests.test_proxy_headers": SERVER,
    "TcpExpectContinueTests.test_expect_continue": "wants 100 though the body is there",
    "TcpFileWrapperTests.test_filelike_longcl_http11": "wants the application's Content-Length put right",
    "TcpFileWrapperTests.test_notfilelike_shortcl_http11": SURPLUS,
    "TcpInternalServerErrorTests.test_after_start_response_http11": CLOSES,
    "TcpInternalServerErrorTests.test_after_write_cb": EARLY,
    "TcpInternalServerErrorTests.test_before_start_response_http_11": CLOSES,
    "TcpInternalServerErrorTests.test_in_generator": EARLY,
    "TcpInternalServerErrorTestsWithTraceback.test_expose_tracebacks_http_11": CLOSES,
    "TcpNoContentLengthTests.test_http10_list": CASE,
    "TcpNoContentLengthTests.test_http10_listlentwo": LENGTH,
    "TcpNoContentLengthTests.test_http11_generator": "wants chunk sizes in capital letters",
    "TcpNoContentLengthTests.test_http11_listlentwo": LENGTH,
    "TcpTooLargeTests.test_request_body_too_large_chunked_encoding": "sends `20;`, no extension",
    "TcpTooLargeTests.test_request_body_too_large_with_no_cl_http10_keepalive": LIMIT,
    "TcpTooLargeTests.test_request_body_too_large_with_no_cl_http11": LIMIT,
    "TcpTooLargeTests.test_request_body_too_large_with_wrong_cl_http10_keepalive": LIMIT,
    "TcpTooLargeTests.test_request_body_too_large_with_wrong_cl_http11": LIMIT,
    "TcpWriteCallbackTests.test_long_body": SURPLUS,
}


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
    """All but one of 117, and what the application saw is what gunicorn's parser says."""
    verdicts = judged("gunicorn", tmp_path, split)
    assert len(verdicts) == 117
    assert {one["name"] for one in verdicts if one["verdict"] != "pass"} == set(GUNICORN)
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
    support = Path(__file__).parent / "support"
    ours = [sys.executable, str(support / "waitress_command.py"), "{port}", "{app}"]
    run = [sys.executable, str(support / "waitress_run.py"), str(FOLDER / "waitress" / "run.py")]
    asked = [*run, "--src", str(waitress)]
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
