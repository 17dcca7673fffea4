"""How the toolkit tells of what nobody else can be told of."""

from __future__ import annotations

import sys
import threading


def report(error: BaseException) -> None:
    """Tells of an exception as of what ends a thread, by `threading.excepthook`. SystemExit is no news.

    What the application's hook raises goes to `sys.excepthook`, as with threads that end: whoever reports has
    others to serve.
    """
    details = (type(error), error, error.__traceback__, threading.current_thread())
    try:
        threading.excepthook(threading.ExceptHookArgs(details))
    except Exception:
        sys.excepthook(*sys.exc_info())
