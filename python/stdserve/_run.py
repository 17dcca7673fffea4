"""`stdserve run`: an unchanged program, with the standard library's servers replaced by ours.

The program gets what Python itself would give it: `sys.argv`, `sys.path`, `__main__`. Each Python that it
starts replaces the modules too, by way of PYTHONPATH; so does each process of `multiprocessing`, however it
is started.
"""

from __future__ import annotations

import io
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Literal

from stdserve import _replace

_SITE = str(Path(__file__).resolve().parent / "_site")

# The __main__ that the program's takes the place of: its end would take away what is still needed of it.
_former_main: ModuleType | None = None


def run(kind: Literal["script", "module", "code"], program: str, arguments: Sequence[str]) -> int:
    """Runs a program as `__main__` and returns its exit code; SystemExit and KeyboardInterrupt pass through.

    `program` is the path of a script, of a folder or archive with a `__main__`, or `-` for standard input;
    or the name of a module (as for `python -m`); or the text of a program (`python -c`). `arguments` are
    its own.
    """
    _replace.install()
    _replace_in_children()
    main = _new_main()
    try:
        if kind == "module":
            sys.argv[:] = ["-m", *arguments]
            _set_first_path(os.getcwd())
            runpy._run_module_as_main(program)  # type: ignore[attr-defined]
        elif kind == "code":
            sys.argv[:] = ["-c", *arguments]
            _set_first_path("")
            exec(compile(program, "<string>", "exec"), main.__dict__)
        elif program == "-":
            sys.argv[:] = ["-", *arguments]
            _set_first_path("")
            exec(compile(sys.stdin.read(), "<stdin>", "exec"), main.__dict__)
        else:
            _run_script(main, program, arguments)
    except SystemExit:
        raise
    except KeyboardInterrupt as interrupt:
        _show_alone(interrupt)
        raise
    except BaseException as error:
        theirs = _without_ours(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(theirs), theirs)
        return 1
    return 0


def _run_script(main: ModuleType, program: str, arguments: Sequence[str]) -> None:
    sys.argv[:] = [program, *arguments]
    # A folder or an archive: what can be imported from.
    if any(_imports_from(hook, program) for hook in sys.path_hooks):
        sys.path.insert(0, program) if sys.flags.safe_path else _set_first_path(program)
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    path = os.path.abspath(program)
    try:
        with io.open_code(path) as file:
            text = file.read()
    except OSError as error:
        print(f"stdserve run: {program}: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    _set_first_path(os.path.dirname(os.path.realpath(program)))
    main.__file__ = path
    main.__loader__ = SourceFileLoader("__main__", path)
    code: CodeType = compile(text, path, "exec", dont_inherit=True)
    exec(code, main.__dict__)


def _imports_from(hook: object, path: str) -> bool:
    try:
        return callable(hook) and hook(path) is not None
    except ImportError:
        return False


def _new_main() -> ModuleType:
    global _former_main
    _former_main = sys.modules["__main__"]
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main
    return main


def _set_first_path(entry: str) -> None:
    """What Python itself puts in front of the path, in place of what it put there for us."""
    if not sys.flags.safe_path:
        sys.path[:1] = [entry]


def _replace_in_children() -> None:
    others = os.environ.get("PYTHONPATH")
    entries = [entry for entry in others.split(os.pathsep) if entry != _SITE] if others else []
    os.environ["PYTHONPATH"] = os.pathsep.join([_SITE, *entries])


def _show_alone(interrupt: KeyboardInterrupt) -> None:
    """Has the interpreter, which shows it and ends by SIGINT, leave out the frames of the command."""
    theirs = _without_ours(interrupt.__traceback__)
    show = sys.excepthook

    def show_theirs(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if error is interrupt:
            error, traceback = error.with_traceback(theirs), theirs
        show(kind, error, traceback)

    sys.excepthook = show_theirs


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the program's own."""
    ours = (__file__, runpy.__file__, "<frozen runpy>")
    while traceback is not None and traceback.tb_frame.f_code.co_filename in ours:
        traceback = traceback.tb_next
    return traceback
