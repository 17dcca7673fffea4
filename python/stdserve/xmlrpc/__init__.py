"""Remote calls: :mod:`stdserve.xmlrpc.server` stands in for the standard library's ``xmlrpc.server``.

Clients need no replacement: ``xmlrpc.client`` is used as it is.
"""
