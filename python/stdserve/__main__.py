"""The command ``stdserve``; also ``python -m stdserve``."""

from __future__ import annotations

import sys

from stdserve import _stdserve


def main() -> int:
    """Runs the command with the arguments of this process and returns its exit code."""
    return _stdserve.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
