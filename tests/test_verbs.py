"""The verbs from the outside: what each prints, refuses and serves; completions as a shell runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.serving import Serve, run_command

VERBS = ["serve", "files", "cgi", "rpc", "tcp", "udp", "up", "run"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_of_its_own(verb: str) -> None:
    """It is printed on standard output, and begins with how the verb is used."""
    ended = run_command(verb, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"Usage: stdserve {'[serve]' if verb == 'serve' else verb}" in ended.stdout
    assert ("--spa" in ended.stdout) == (verb == "files")


def test_usage_errors_are_2_and_say_what_to_do() -> None:
    """An option of another verb, one misspelt, and a target that is missing."""
    for arguments, message in [
        (
            ["files", "--factory"],
            "error: --factory: is no option of stdserve files\n  It is one of stdserve serve.",
        ),
        (["cgi", "x", "--cgi-time", "3"], "error: there is no option --cgi-time\n"),
        (["rpc"], "error: no object is named\n  Write stdserve rpc MODULE:OBJECT"),
        (["udp", "a:H", "-b", "tcp://:1"], "error: --bind: `tcp://0.0.0.0:1` is for connections"),
        (["up"], "error: there is no stdserve.toml"),
    ]:
        ended = run_command(*arguments)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(message), ended.stderr


@pytest.mark.parametrize("verb", ["files", "cgi"])
@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_a_folder_that_is_not_there_is_refused_at_the_start(
    verb: str, check: list[str], tmp_path: Path
) -> None:
    """No worker is started for it: one line, and the exit code of a usage error."""
    ended = run_command(verb, "missing", "--bind=127.0.0.1:0", *check, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "missing" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_folder_is_named_by_its_place_or_in_the_file(serve: Serve, tmp_path: Path) -> None:
    """The command line counts more than the file; options of other verbs in the file do not disturb."""
    for folder in ("public", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name.txt").write_text(folder)
    toml = 'app = "shapes:app"\nfiles = "public"\nfactory = true\nheader = { X-From = "file" }\n'
    (tmp_path / "stdserve.toml").write_text(toml)
    server = serve(None, "files", cwd=tmp_path)
    response = server.get("/name.txt")
    assert (response.status, response.body, response.all("x-from")) == (200, b"public", ["file"])
    other = serve("other", "files", "--header=X-From: command, line", cwd=tmp_path)
    response = other.get("/name.txt")
    assert (response.body, response.all("x-from")) == (b"other", ["command, line"])


def test_passwords_stay_out_of_what_is_printed(tmp_path: Path) -> None:
    """Neither --print-config nor an error shows one."""
    shown = run_command("files", "--auth", "ann:hunter2", "--print-config", cwd=tmp_path)
    wrong = run_command("files", "--auth", "hunter2", cwd=tmp_path)
    assert (shown.returncode, wrong.returncode) == (0, 2)
    assert "hunter2" not in shown.stdout + wrong.stderr


def test_pairs_are_a_mapping_in_python(serve: Serve, tmp_path: Path) -> None:
    """`stdserve.run(app, static={path: folder})`; options of other verbs and odd values are refused."""
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "name.txt").write_text("from a file")
    code = """
        import shapes, stdserve
        for wrong in ({"static": {"/s": 3}}, {"static": {"s": "public"}}, {"listing": True}):
            try:
                stdserve.run(shapes.app, **wrong)
            except (TypeError, ValueError) as error:
                print(type(error).__name__, error, flush=True)
        stdserve.run(shapes.app, bind="127.0.0.1:0", workers=1, static={"/s": "public"})
    """
    program = [sys.executable, "-c", textwrap.dedent(code)]
    server = serve(None, bind=None, cwd=tmp_path, program=program, workers=None)
    assert server.get("/s/name.txt").text == "from a file"
    assert server.get("/hello").text == "hello "
    told = server.log.text.splitlines()
    assert told[:3] == [
        "TypeError a mapping that is an option has texts for its keys and values",
        "ValueError static=: {s = public} does not start with `/`; write /s",
        "ValueError listing=: stdserve.run serves an application, which has no use for it",
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("stdserve files --sp", "--spa"),
        ("stdserve cgi --cgi-rlimit-c", "--cgi-rlimit-core --cgi-rlimit-cpu"),
        ("stdserve udp --max-p", "--max-packet-size"),
        ("stdserve files --fact", ""),
        ("stdserve u", "up udp"),
    ],
)
def test_completions_offer_what_the_verb_takes(words: str, offered: str, tmp_path: Path) -> None:
    """The script for bash, run by bash."""
    script = tmp_path / "completions.bash"
    script.write_text(run_command("completions", "bash").stdout)
    last = len(words.split()) - 1
    program = f"""
        . {script}
        COMP_WORDS=({words}); COMP_CWORD={last}
        _stdserve stdserve "${{COMP_WORDS[{last}]}}" "${{COMP_WORDS[{last - 1}]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}" | sort
    """
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(ended.stdout.split()) == sorted(offered.split())
