"""Finding and importing the application: what is accepted, and what each failure says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stdserve

from support.wire import Client

WSGI = """
def {name}(environ, start_response):
    start_response("200 OK", [])
    return [{body!r}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """A folder that is the current one, and a function that puts files there; imports are undone."""
    modules, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def put(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield put
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def body(spec: str) -> bytes:
    """What the application of that name answers."""
    with stdserve.Server(spec, bind="127.0.0.1:0") as server, Client(server.address) as client:
        return client.ask().body


def complaint(spec: str) -> str:
    """Why it is refused."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011, the text is what the test looks at
        stdserve.Server(spec, bind="127.0.0.1:0")
    return str(refused.value)


Put = Callable[[str, str], Path]


def test_module_and_callable(project: Put) -> None:
    """From the current directory."""
    project("wsgi_one.py", WSGI.format(name="mine", body=b"one"))
    assert body("wsgi_one:mine") == b"one"


def test_dotted_module_and_dotted_attribute(project: Put) -> None:
    """Packages, and names within names."""
    project("pack/__init__.py", "")
    project(
        "pack/sub.py",
        "from types import SimpleNamespace\n"
        + WSGI.format(name="f", body=b"deep")
        + "a=SimpleNamespace(b=f)",
    )
    assert body("pack.sub:a.b") == b"deep"


@pytest.mark.parametrize("name", ["application", "app"])
def test_usual_names(project: Put, name: str) -> None:
    """Tried in this order."""
    project("usual.py", WSGI.format(name=name, body=name.encode()))
    assert body("usual") == name.encode()


def test_application_comes_before_app(project: Put) -> None:
    """As the specification's own examples name it."""
    project("both.py", WSGI.format(name="app", body=b"2") + WSGI.format(name="application", body=b"1"))
    assert body("both") == b"1"


def test_usual_factory(project: Put) -> None:
    """create_app() is called where there is neither."""
    project("made.py", WSGI.format(name="_inner", body=b"made") + "def create_app(): return _inner")
    assert body("made") == b"made"


def test_factory_with_arguments(project: Put) -> None:
    """Literals, positional and by name."""
    project(
        "factory.py",
        """
def make(*positional, **named):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [repr((positional, named)).encode()]
    return app
""",
    )
    assert body("factory:make()") == b"((), {})"
    assert body("factory:make('a', 1, key=[2, None])") == b"(('a', 1), {'key': [2, None]})"
    assert "literals" in complaint("factory:make(open('x'))")
    assert "literals" in complaint("factory:make(1 2)")


def test_file(project: Put) -> None:
    """By path, wherever it lies; modules beside it can be imported."""
    project("far/away/beside.py", "BODY = b'beside'")
    project(
        "far/away/start.py",
        "from beside import BODY\n" + WSGI.format(name="app", body=b"").replace("b''", "BODY"),
    )
    assert body("far/away/start.py") == b"beside"
    assert body("far/away/start.py:app") == b"beside"


def test_file_in_a_package(project: Put) -> None:
    """It is imported under its dotted name, so that relative imports work."""
    project("root/inner/__init__.py", "")
    project("root/inner/other.py", "BODY = b'relative'")
    project(
        "root/inner/start.py",
        "from .other import BODY\n" + WSGI.format(name="app", body=b"").replace("b''", "BODY"),
    )
    assert body("root/inner/start.py") == b"relative"


def test_file_named_like_a_module_of_the_standard_library(project: Put) -> None:
    """site.py and code.py are common names."""
    project("code.py", WSGI.format(name="app", body=b"mine"))
    assert body("./code.py") == b"mine"
    import code

    assert hasattr(code, "InteractiveConsole")


def test_no_such_module(project: Put) -> None:
    """With what is near, or where to start."""
    project("mysite.py", "")
    text = complaint("mysit:app")
    assert "no module `mysit`" in text
    assert "did you mean `mysite`?" in text
    text = complaint("completely_other")
    assert "no module `completely_other`" in text
    assert str(Path.cwd()) in text
    assert "hint" in text


def test_no_such_submodule(project: Put) -> None:
    """The part that is missing is named."""
    project("parent/__init__.py", "")
    project("parent/views.py", "")
    text = complaint("parent.view:app")
    assert "no module `parent.view`" in text
    assert "`parent.views`" in text


def test_no_such_file(project: Put) -> None:
    """With the directory that it was looked for in."""
    text = complaint("gone/app.py")
    assert "no file gone/app.py" in text
    assert str(Path.cwd()) in text


def test_a_missing_import_within_the_application_is_its_own_failure(project: Put) -> None:
    """Not to be taken for a missing application."""
    project("needs.py", "import something_that_is_not_installed\n")
    text = complaint("needs:app")
    assert "`needs` failed while it was imported" in text
    assert "No module named 'something_that_is_not_installed'" in text


@pytest.mark.parametrize("spec", ["fails:app", "fails.py"])
def test_a_failing_import_shows_the_applications_own_traceback(project: Put, spec: str) -> None:
    """And no frames of ours or of the import machinery."""
    project("fails.py", "def inner():\n    1 / 0\n\ninner()\n")
    text = complaint(spec)
    assert "ZeroDivisionError" in text
    assert "in inner" in text
    assert text.count("File ") == 2
    assert "importlib" not in text


def test_a_syntax_error_shows_its_line(project: Put) -> None:
    """As Python shows it."""
    project("syntax.py", "x = 1\ndef broken(:\n")
    text = complaint("syntax")
    assert "SyntaxError" in text
    assert "line 2" in text


def test_sys_exit_on_import(project: Put) -> None:
    """Is named as such and ends nothing."""
    project("exits.py", "import sys\nsys.exit(3)\n")
    assert "called sys.exit(3)" in complaint("exits")


def test_no_such_attribute(project: Put) -> None:
    """With the near name, or all that can be called."""
    file = project(
        "attributes.py", "from os import getcwd\n" + WSGI.format(name="website", body=b"") + "number = 1\n"
    )
    text = complaint("attributes:webste")
    assert f"the module `attributes` ({file}) has no `webste`" in text
    assert "did you mean `website`?" in text
    text = complaint("attributes:zzz")
    assert "`website`, `getcwd`" in text
    assert "number" not in text
    text = complaint("attributes")
    assert "none of the usual names" in text
    assert "`website`" in text


def test_a_dot_in_the_place_of_the_colon(project: Put) -> None:
    """What stands behind the dot is no module, and what its module has."""
    project("dotted/__init__.py", "")
    project("dotted/site.py", WSGI.format(name="application", body=b""))
    assert "did you mean `dotted.site:application`?" in complaint("dotted.site.application")
    assert "did you mean" not in complaint("dotted.site.zzz")


def test_not_callable(project: Put) -> None:
    """With its type."""
    project("values.py", "app = 'text'\ndef make():\n    return 42\n")
    assert "`values:app` is str" in complaint("values:app")
    assert "`values:make()` returned int" in complaint("values:make()")


def test_a_factory_without_its_parentheses(project: Put) -> None:
    """A common slip."""
    project("slip.py", "def make():\n    return print\n")
    text = complaint("slip:make")
    assert "takes no arguments" in text
    assert "`slip:make()`" in text


def test_a_class_without_its_parentheses(project: Put) -> None:
    """Its objects are applications, and it takes none of what it would be called with."""
    project(
        "app_class.py", "class Site:\n    def __call__(self, environ, start_response):\n        return []\n"
    )
    assert "`app_class:Site()`" in complaint("app_class:Site")


@pytest.mark.parametrize(
    "parameters", ["request", "self, environ, start_response", "*, environ, start_response"]
)
def test_what_cannot_take_two_arguments(project: Put, parameters: str) -> None:
    """It would answer every request with 500."""
    project("takes.py", f"def app({parameters}):\n    return []\n")
    assert "with two arguments: environ and start_response" in complaint("takes:app")


@pytest.mark.parametrize("parameters", ["", "request"])
def test_a_decorator_that_makes_an_application_is_asked_itself(project: Put, parameters: str) -> None:
    """functools.wraps shows the signature of what is wrapped, which is another."""
    project(
        "decorated.py",
        "import functools\n"
        "def wsgi(view):\n"
        "    @functools.wraps(view)\n"
        "    def app(environ, start_response):\n"
        "        start_response('200 OK', [])\n"
        "        return [b'made']\n"
        "    return app\n"
        "@wsgi\n"
        f"def page({parameters}):\n"
        "    pass\n",
    )
    assert body("decorated:page") == b"made"


def test_a_failing_factory(project: Put) -> None:
    """Its own traceback."""
    project("failing.py", "def create_app():\n    raise LookupError('no database')\n")
    text = complaint("failing:create_app()")
    assert "`create_app()` failed" in text
    assert "LookupError: no database" in text


@pytest.mark.parametrize(
    "text",
    [
        "async def app(scope, receive, send): pass",
        "class App:\n    async def __call__(self, scope, receive, send): pass\napp = App()",
    ],
)
def test_an_asynchronous_application_is_named(project: Put, text: str) -> None:
    """ASGI is another protocol."""
    project("asynchronous.py", text)
    assert "ASGI" in complaint("asynchronous:app")


def test_classes_and_instances_may_be_applications(project: Put) -> None:
    """PEP 3333's AppClass, and objects with __call__."""
    project(
        "classes.py",
        """
class App:
    def __init__(self, environ, start_response):
        self.start = start_response
    def __iter__(self):
        self.start("200 OK", [])
        yield b"class"

class Callable:
    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return [b"instance"]

instance = Callable()
method = instance.__call__
""",
    )
    assert body("classes:App") == b"class"
    assert body("classes:instance") == b"instance"
    assert body("classes:method") == b"instance"


def test_what_is_no_name_at_all(project: Put) -> None:
    """Is refused before anything is imported."""
    for spec in ("", ":app", "a b:app", "a:b-c", "a:b("):
        assert complaint(spec)


def test_an_object_is_taken_as_it_is() -> None:
    """And what cannot be called is a TypeError."""
    wrong: Any = 42
    with pytest.raises(TypeError):
        stdserve.Server(wrong, bind="127.0.0.1:0")
