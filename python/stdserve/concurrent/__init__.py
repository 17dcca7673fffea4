"""What servers need beside them, across threads, workers and machines.

Each part is small, stands alone and can be used without a server. docs/concurrent.md has a recipe for each.
"""

from __future__ import annotations

__all__: list[str] = []
