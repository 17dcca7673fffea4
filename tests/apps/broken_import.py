"""Fails at import, in its own way."""


def helper() -> float:
    """Divides by zero."""
    return 1 / 0


helper()
