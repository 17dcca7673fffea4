"""Configures Python's `logging` as `--log-config` and `--log-config-dict` say."""

from __future__ import annotations

import json
import logging.config
import os

__all__ = ["configure"]


def configure(path: os.PathLike[str] | None, dictionary: str | None) -> None:
    """Apply the dict, a JSON text, else the file: JSON where its name ends so, else the INI form."""
    file = None if path is None else os.path.abspath(path)
    if dictionary is not None:
        logging.config.dictConfig(json.loads(dictionary))
    elif file is not None and file.endswith(".json"):
        with open(file, "rb") as source:
            logging.config.dictConfig(json.load(source))
    elif file is not None:
        if not os.path.exists(file):
            # `fileConfig` of Python 3.11 raises KeyError.
            raise FileNotFoundError(f"{file}: there is no such file")
        # What gunicorn lets such a file refer to.
        known = {"__file__": file, "here": os.path.dirname(file)}
        logging.config.fileConfig(file, defaults=known, disable_existing_loggers=False)
