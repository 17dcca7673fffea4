"""Run as a program: our command with the settings that a case of waitress asks for.

    python waitress_command.py PORT APP

The settings are waitress's keyword arguments, in $WAITRESS_ANY_KW as JSON; those that we have become options.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.serving import command


def main() -> None:
    """See above."""
    port, app = sys.argv[1:]
    asked = json.loads(os.environ["WAITRESS_ANY_KW"])
    options = ["--workers=1", f"--bind=127.0.0.1:{port}"]
    if size := asked.get("max_request_header_size"):
        # 1 KiB is the least that the option takes; the case sends much more than what it asks for.
        options += [f"--limit-request-head={max(size, 1024)}", f"--limit-request-line={min(size, 4094)}"]
    if size := asked.get("max_request_body_size"):
        options.append(f"--max-body={size}")
    if peer := asked.get("trusted_proxy"):
        options.append(f"--forwarded-allow-ips={peer}")
    ours = command()
    os.execvp(ours[0], [*ours, *options, app])


if __name__ == "__main__":
    main()
