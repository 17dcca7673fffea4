"""The package ``http`` of the standard library, with a ``server`` of our own.

Only ``http.server`` is rebuilt; the names of the package itself are the standard library's.
"""

from http import HTTPMethod, HTTPStatus

__all__ = ["HTTPMethod", "HTTPStatus"]
