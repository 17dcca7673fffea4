"""Run as a program: one of CPython's own test suites, with or without our modules in the place of its own.

    python cpython_suites.py SUITE {standard|ours}

Prints one line of JSON last: the outcome of each test by its id, or `missing` where this Python was installed
without its tests. Children that the tests start have the same modules.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import unittest
from types import TracebackType

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Outcomes(unittest.TestResult):
    """Keeps one word for each test, and the traceback of those that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, str] = {}
        self.reports: dict[str, str] = {}

    def _note(self, test: unittest.TestCase, word: str, error: ExcInfo | None = None) -> None:
        # The parts of a test (subTest) count for the whole: the first that fails decides.
        if self.words.get(test.id()) in (None, "passed"):
            self.words[test.id()] = word
        if error is not None:
            self.reports[test.id()] = self._exc_info_to_string(error, test)  # type: ignore[attr-defined]

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "passed")

    def addFailure(self, test: unittest.TestCase, err: ExcInfo) -> None:
        self._note(test, "failed", err)

    def addError(self, test: unittest.TestCase, err: ExcInfo) -> None:
        self._note(test, "failed", err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: ExcInfo | None) -> None:
        if err is not None:
            self._note(test, "failed", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped")

    def addExpectedFailure(self, test: unittest.TestCase, err: ExcInfo) -> None:
        self._note(test, "expected failure")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "unexpected success")


def replace() -> list[str]:
    """Puts our modules in the place of the standard library's; the names of those that were replaced."""
    from stdserve import _replace, _run

    _replace.install()
    _run._replace_in_children()
    imported = {name: importlib.import_module(name) for name in _replace.NAMES}
    return [name for name, module in imported.items() if module is sys.modules.get("stdserve." + name)]


def main() -> None:
    """See above."""
    suite, modules = sys.argv[1:]
    answer: dict[str, object] = {}
    if modules == "ours":
        answer["replaced"] = replace()
    try:
        # Debian has the package, but most of what is in it apart.
        importlib.import_module("test.support.threading_helper")
        module = importlib.import_module(f"test.{suite}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("test"):
            raise
        print(json.dumps({"missing": str(error)}))
        return
    outcomes = Outcomes()
    out, sys.stdout = sys.stdout, io.StringIO()
    try:
        unittest.defaultTestLoader.loadTestsFromModule(module).run(outcomes)
    finally:
        sys.stdout = out
    answer.update(outcomes=outcomes.words, reports=outcomes.reports)
    print(json.dumps(answer), flush=True)
    # A test may leave a thread behind that waits for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
