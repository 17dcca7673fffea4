"""The package ``wsgiref`` of the standard library, with a ``simple_server`` of our own.

``handlers``, ``headers``, ``types``, ``util`` and ``validate`` do no more than compute: they are the
standard library's own modules.
"""
