"""The import waits at the gate."""

import gate
from shapes import app

__all__ = ["app"]

gate.arrive("import")
