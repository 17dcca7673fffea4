"""How the toolkit tells of what nobody else can be told of."""

from __future__ import annotations

import threading


def report(error: BaseException) -> None:
    """Tells of an exception as of what ends a thread, by `threading.excepthook`. SystemExit is no news."""
    details = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(details))
