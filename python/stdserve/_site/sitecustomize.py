"""Read by each Python that a program under `stdserve run` starts: its folder stands first in PYTHONPATH.

It replaces the modules there too, takes the folder out of the path again, and runs the `sitecustomize` that
would have been run without it. It must do on every Python, whether stdserve is installed for it or not.
"""

import importlib.machinery
import importlib.util
import os
import sys

_folder = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != _folder]

if sys.version_info >= (3, 11):  # noqa: UP036 (a program may start an older one)
    _spec = importlib.util.spec_from_file_location(
        "_stdserve_replace", os.path.join(os.path.dirname(_folder), "_replace.py")
    )
    if _spec is not None and _spec.loader is not None:
        _replace = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_replace)
        _replace.install()

_next = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if _next is not None and _next.loader is not None:
    _module = importlib.util.module_from_spec(_next)
    sys.modules["sitecustomize"] = _module
    _next.loader.exec_module(_module)
