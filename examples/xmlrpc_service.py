"""Names and values that clients keep in a server, called by XML-RPC.

    python examples/xmlrpc_service.py                  # on http://127.0.0.1:7002
    python examples/xmlrpc_service.py --bind :7002     # on all addresses

It prints where it listens. Call it from another terminal:

    $ python
    >>> from xmlrpc.client import ServerProxy
    >>> store = ServerProxy("http://127.0.0.1:7002", allow_none=True)
    >>> store.set("spam", [1, 2, {"eggs": True}])
    >>> store.get("spam")
    [1, 2, {'eggs': True}]
    >>> store.system.listMethods()

Each call is a line in the terminal of the server. Ctrl-C ends it.

The command serves the same object by JSON-RPC too, with a page of documentation at / and an orderly end.
The store is in the memory of one process, so it may have one worker only:

    cd examples && stdserve rpc 'xmlrpc_service:Store()' --workers 1 --bind 127.0.0.1:7002
"""

from __future__ import annotations

import argparse
import sys
import threading
from xmlrpc.client import Fault

from stdserve.socketserver import ThreadingMixIn
from stdserve.xmlrpc.server import SimpleXMLRPCServer

#: Codes of faults.
NO_NUMBER, NOT_THERE = 400, 404


class Store:
    """What is called. Calls come from several threads at once, hence the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, object] = {}

    def set(self, name: str, value: object) -> None:
        """Keeps a value, in the place of another one of that name."""
        with self._lock:
            self._values[name] = value

    def get(self, name: str) -> object:
        """The value of a name. Fault 404: there is none."""
        with self._lock:
            if name not in self._values:
                raise Fault(NOT_THERE, f"nothing is kept under {name!r}")
            return self._values[name]

    def delete(self, name: str) -> bool:
        """Forgets a name; whether it was there."""
        with self._lock:
            return self._values.pop(name, self) is not self

    def add(self, name: str, number: int) -> int:
        """Adds to a number, which is 0 at first; the sum. No other call comes between."""
        with self._lock:
            value = self._values.get(name, 0)
            if not isinstance(value, int):
                raise Fault(NO_NUMBER, f"what is kept under {name!r} is no number")
            self._values[name] = value + number
            return value + number

    def names(self) -> list[str]:
        """All names, sorted."""
        with self._lock:
            return sorted(self._values)


class Server(ThreadingMixIn, SimpleXMLRPCServer):
    """Each connection in a thread."""

    daemon_threads = True  # Ctrl-C does not wait for clients that stay


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves names and values by XML-RPC.")
    parser.add_argument("--bind", metavar="HOST:PORT", default="127.0.0.1:7002", help="default: %(default)s")
    bind = parser.parse_args().bind
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdigit():
        parser.error(f"{bind} is no HOST:PORT")
    try:
        server = Server((host, int(port)), allow_none=True)
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {bind}: {error}")
    with server:
        server.register_introspection_functions()
        server.register_instance(Store())
        host, port = server.server_address[:2]
        print(f"listening on http://{host}:{port}; try:", flush=True)
        print(
            f"""  python -c 'from xmlrpc.client import ServerProxy as S; print(S("http://{host}:{port}").names())'"""
        )
        print("Ctrl-C ends it.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended")


if __name__ == "__main__":
    main()
