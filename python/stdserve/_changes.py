"""The files of imported modules, for those who wait for changes (`--reload`)."""

from __future__ import annotations

import os
import sys
import sysconfig

__all__ = ["files"]

#: Where what is installed lies: it changes by being installed.
_INSTALLED = tuple(
    {
        os.path.join(path, "")
        for name, path in sysconfig.get_paths().items()
        if name.endswith(("lib", "stdlib"))
    }
)


def files() -> list[str]:
    """The absolute paths, but for those of the standard library and of installed packages."""
    found = []
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and not path.startswith(_INSTALLED) and "site-packages" not in path:
            found.append(os.path.abspath(path))
    return found
