"""How messages become bytes, so that every process gets what was sent, or the sender is told why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Dumps = Callable[[Any], bytes]
Loads = Callable[[bytes], Any]

# The first byte of a message says what the rest is.
_BYTES, _TEXT, _JSON, _OWN = b"b", b"s", b"j", b"x"


def _refuse(value: object) -> object:
    raise TypeError(type(value).__name__)


# Lone surrogates stay what they are (a pair of them written as escapes would be read as one character).
_to_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse
).encode
_from_json = json.JSONDecoder().decode


class Codec:
    """Messages to bytes and back: bytes, str and what JSON says exactly, or by the caller's own functions.

    `dumps` makes bytes of a message, `loads` a message of bytes; one is not given without the other.
    """

    def __init__(self, dumps: Dumps | None, loads: Loads | None) -> None:
        if (dumps is None) != (loads is None):
            raise TypeError("dumps and loads are given together")
        self._dumps = dumps
        self._loads = loads

    def encode(self, message: object) -> bytes:
        """The message as bytes. TypeError where a subscriber would not get the same."""
        if self._dumps is not None:
            data = self._dumps(message)
            if not isinstance(data, bytes):
                raise TypeError(f"dumps returned {type(data).__name__}, not bytes")
            return _OWN + data
        if isinstance(message, bytes):
            return _BYTES + message
        if isinstance(message, str):
            return _TEXT + message.encode("utf-8", "surrogatepass")
        try:
            text = _to_json(message)
        except (TypeError, ValueError):
            fault = _fault(message)
            if fault is None:
                raise
            raise TypeError(fault) from None
        # Keys that are no texts, JSON's encoder turns into texts without a word.
        if not _has_plain_keys(message):
            raise TypeError(_fault(message) or "a key is not a str")
        return _JSON + text.encode("utf-8", "surrogatepass")

    def decode(self, data: bytes) -> Any:
        """The message. ValueError: the bytes were not made by the same codec. Else what `loads` raises."""
        kind, rest = data[:1], data[1:]
        if self._loads is not None:
            if kind != _OWN:
                raise ValueError("a message that was sent without the dumps of this exchange")
            return self._loads(rest)
        if kind == _JSON:
            return _from_json(rest.decode("utf-8", "surrogatepass"))
        if kind == _TEXT:
            return rest.decode("utf-8", "surrogatepass")
        if kind == _BYTES:
            return rest
        if kind == _OWN:
            raise ValueError("a message that was sent with dumps, and there is no loads here")
        raise ValueError(f"a message that no exchange has sent: {data[:20]!r}")


def _has_plain_keys(message: object) -> bool:
    """Whether all keys are texts. For what JSON's encoder has taken: there are no cycles."""
    left = [message]
    for value in left:
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    return False
                if isinstance(item, dict | list | tuple):
                    left.append(item)
        elif isinstance(value, list | tuple):
            left += [item for item in value if isinstance(item, dict | list | tuple)]
    return True


def _fault(message: object) -> str | None:
    """What JSON does not say exactly, and where it stands."""
    # Each with its path, and the containers around it: one that contains itself is a cycle.
    left: list[tuple[object, str, tuple[int, ...]]] = [(message, "message", ())]
    for value, path, around in left:
        if isinstance(value, dict | list | tuple):
            if id(value) in around:
                return f"{path} contains itself"
            inside = (*around, id(value))
            if isinstance(value, dict):
                for key, item in value.items():
                    if not isinstance(key, str):
                        return f"{path} has the key {key!r}: keys are str, not {type(key).__name__}"
                    left.append((item, f"{path}[{key!r}]", inside))
            else:
                left += [(item, f"{path}[{place}]", inside) for place, item in enumerate(value)]
        elif isinstance(value, float):
            if value != value or value in (float("inf"), float("-inf")):
                return f"{path} is {value!r}, which JSON does not say"
        elif value is not None and not isinstance(value, str | int):
            kind = type(value).__name__
            hint = "" if path != "message" else "; give dumps and loads for other objects"
            return f"{path} is of the type {kind}: bytes, str and what JSON says can be sent{hint}"
    return None
