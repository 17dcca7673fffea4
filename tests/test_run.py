"""`stdserve run`: programs that know nothing of stdserve, with the standard servers replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.serving import clean_environment, command
from support.waiting import PATIENCE

#: Prints where the modules come from.
WHENCE = """
import json, socketserver, selectors, http.server, wsgiref.simple_server, xmlrpc.server, sys
def whence():
    names = "socketserver", "selectors", "http.server", "wsgiref.simple_server"
    return {name: "stdserve" in sys.modules[name].__file__ and sys.modules[name].__name__ for name in names}
"""
OURS = {name: name for name in ("socketserver", "selectors", "http.server", "wsgiref.simple_server")}


def run(
    *arguments: str, stdin: str = "", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(), "run", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 5,
        cwd=cwd,
        env=clean_environment(env),
    )


def write(path: Path, text: str) -> str:
    path.write_text(textwrap.dedent(text))
    return str(path)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_way_to_name_a_program_replaces_the_modules(tmp_path: Path) -> None:
    text = WHENCE + "print(json.dumps([whence(), __name__, sys.argv[1:]]))"
    script = write(tmp_path / "script.py", text)
    with zipfile.ZipFile(tmp_path / "archive.pyz", "w") as archive:
        archive.writestr("__main__.py", text)
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "__main__.py", text)
    expected = [OURS, "__main__", ["one", "-m"]]
    assert answer(run(script, "one", "-m")) == expected
    assert answer(run(str(tmp_path / "archive.pyz"), "one", "-m")) == expected
    assert answer(run(str(folder), "one", "-m")) == expected
    assert answer(run("-m", "script", "one", "-m", cwd=tmp_path)) == expected
    assert answer(run("-c", text, "one", "-m")) == expected
    assert answer(run("-", "one", "-m", stdin=text)) == expected


def test_a_program_finds_what_python_would_give_it(tmp_path: Path) -> None:
    text = """
        import json, sys
        main = sys.modules["__main__"]
        print(json.dumps([sys.argv, sys.path, globals().get("__file__"), main.__dict__ is globals(),
            __package__, getattr(__spec__, "name", None), type(__loader__).__name__]))
    """
    (tmp_path / "inner").mkdir()
    write(tmp_path / "inner" / "script.py", text)
    code = textwrap.dedent(text)
    for arguments in (["inner/script.py", "a"], ["-m", "inner.script", "a"], ["-c", code, "a"]):
        plain = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=clean_environment(),
            check=True,
        )
        theirs, ours = json.loads(plain.stdout), answer(run(*arguments, cwd=tmp_path))
        if arguments[0] == "-c":
            theirs.pop(), ours.pop()  # the loader, which differs between versions
        assert ours == theirs, arguments


def test_children_of_every_kind_have_the_modules_replaced(tmp_path: Path) -> None:
    text = WHENCE + textwrap.dedent(
        """
        import multiprocessing, os, subprocess

        def tell(queue):
            queue.put(whence())

        def main():
            program = open(__file__).read().partition("import multiprocessing")[0]
            child = [sys.executable, "-c", program + "print(json.dumps(whence()))"]
            shell = ["sh", "-c", '"$0" "$@"', *child]
            found = {}
            for name, command in (("subprocess", child), ("grandchild", shell)):
                found[name] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            for method in ("fork", "spawn", "forkserver"):
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                process = context.Process(target=tell, args=(queue,))
                process.start()
                found[method] = queue.get(timeout=60)
                process.join()
            print(json.dumps(found))

        if __name__ == "__main__":
            main()
        """
    )
    found = answer(run(write(tmp_path / "script.py", text)))
    assert found == dict.fromkeys(["subprocess", "grandchild", "fork", "spawn", "forkserver"], OURS)


def test_a_child_keeps_its_own_sitecustomize_and_path(tmp_path: Path) -> None:
    write(tmp_path / "sitecustomize.py", "import builtins\nbuiltins.customized = __name__")
    text = """
        import json, os, subprocess, sys
        child = "import json, sys; import sitecustomize as own; "
        child += "print(json.dumps([sys.path, customized, own.__file__]))"
        print(subprocess.run([sys.executable, "-c", child], capture_output=True, check=True).stdout.decode())
    """
    script = write(tmp_path / "script.py", text)
    env = {"PYTHONPATH": str(tmp_path)}
    path, customized, file = answer(run(script, env=env))
    assert customized == "sitecustomize"
    assert file == str(tmp_path / "sitecustomize.py")
    plain = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=clean_environment(env), check=True
    )
    assert path == json.loads(plain.stdout)[0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import sys; sys.exit(7)", 7),
        ("raise SystemExit", 0),
        ("raise SystemExit('gone')", 1),
        ("pass", 0),
        ("1 / 0", 1),
        ("import os; os._exit(9)", 9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("(", 1),
    ],
)
def test_a_program_ends_as_it_would_under_python(text: str, code: int) -> None:
    done = run("-c", text)
    assert done.returncode == code, done.stderr
    plain = subprocess.run([sys.executable, "-c", text], capture_output=True, env=clean_environment())
    assert plain.returncode == code


def test_a_traceback_shows_the_program_alone(tmp_path: Path) -> None:
    script = write(tmp_path / "script.py", "def fail():\n    raise ValueError('why')\n\nfail()\n")
    done = run(script)
    plain = subprocess.run([sys.executable, script], capture_output=True, text=True, env=clean_environment())
    assert done.stderr == plain.stderr


def test_a_traceback_of_ctrl_c_shows_the_program_alone(tmp_path: Path) -> None:
    """It goes past the command to the interpreter, which adds the frames of the command."""
    program = "def wait():\n    raise KeyboardInterrupt\n\nwait()\n"
    script = write(tmp_path / "script.py", program)
    done = run(script)
    plain = subprocess.run([sys.executable, script], capture_output=True, text=True, env=clean_environment())
    assert done.stderr == plain.stderr
    own = "import sys\nsys.excepthook = lambda kind, error, frames: print(kind.__name__, frames.tb_lineno)\n"
    done = run(write(tmp_path / "own.py", own + program))
    assert done.stdout == "KeyboardInterrupt 6\n"


def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    done = run(str(tmp_path / "absent.py"))
    assert done.returncode == 2
    assert "absent.py: No such file or directory" in done.stderr
    done = run("-m", "absent_module")
    assert done.returncode == 1
    assert "No module named absent_module" in done.stderr


def test_a_standard_module_can_be_the_program() -> None:
    done = run("-m", "http.server", "--help")
    assert done.returncode == 0
    assert "usage: server.py" in done.stdout


def test_an_http_server_of_the_usual_kind(tmp_path: Path) -> None:
    """Threads, a mix-in from socketserver, a client from the standard library, and an end by Ctrl-C."""
    script = write(
        tmp_path / "script.py",
        """
        import http.server, os, signal, socketserver, threading, urllib.request

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.path.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        def ask(server):
            for number in range(3):
                with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{number}") as answer:
                    print(answer.read().decode(), flush=True)
            os.kill(os.getpid(), signal.SIGINT)

        # What a shell starts in the background ignores it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with Server(("127.0.0.1", 0), Handler) as server:
            assert isinstance(server, socketserver.TCPServer)
            threading.Thread(target=ask, args=(server,), daemon=True).start()
            try:
                server.serve_forever(poll_interval=3600)
            except KeyboardInterrupt:
                print("interrupted")
        """,
    )
    done = run(script)
    assert (done.stdout, done.returncode) == ("/0\n/1\n/2\ninterrupted\n", 0), done.stderr


def test_asyncio_waits_with_our_selector() -> None:
    text = (
        "import asyncio; loop = asyncio.new_event_loop(); loop.run_until_complete(asyncio.sleep(0.001)); "
        "print(type(loop._selector).__module__); loop.close()"
    )
    assert run("-c", text).stdout == "stdserve.selectors\n"


def test_another_python_without_stdserve_is_left_alone(tmp_path: Path) -> None:
    """A child in which stdserve cannot be imported keeps the standard library's modules."""
    text = f"""
        import os, subprocess, sys
        child = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; "
        child += "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
        child += "import socketserver; print('stdserve' in socketserver.__file__)"
        site = os.environ["PYTHONPATH"].split(os.pathsep)[0]
        command = [{os.path.realpath(sys.executable)!r}, "-S", "-c", "import sitecustomize; " + child]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")
    """
    done = run(write(tmp_path / "script.py", text), cwd=tmp_path)
    assert done.stdout == "False\n", done.stderr
