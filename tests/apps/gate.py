"""The application's side of tests/support/gate.py."""

from __future__ import annotations

import ctypes
import os
import socket


def _connect(name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["GATE"])
    connection.sendall(f"{os.getpid()} {name}\n".encode())
    return connection


def arrive(name: str) -> str:
    """Say that we are here and wait (without the GIL) until the test says go on."""
    with _connect(name) as connection:
        word = b""
        while data := connection.recv(4096):
            word += data
    return word.decode().rstrip("\n")


def arrive_with_the_gil(name: str) -> None:
    """The same, in C that keeps the GIL: a PyDLL function does not give it back."""
    with _connect(name) as connection:
        ctypes.PyDLL(None).recv(connection.fileno(), ctypes.create_string_buffer(1), ctypes.c_size_t(1), 0)


def tell(name: str) -> None:
    """Say that we were here; do not wait."""
    _connect(name).close()
