# Derived from CPython's Lib/http/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""`CGIHTTPRequestHandler`, which left CPython in 3.15: runs the scripts in some folders, serves the others'
files.

The standard library gives a script the connection itself. Here a script has pipes: it reads the request's
body and then an end, it can be stopped when it takes too long, and it works over TLS.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.parse
from http import HTTPStatus
from typing import IO, Any, ClassVar

from stdserve.http._files import SimpleHTTPRequestHandler

_COPY = 65536


def _url_collapse_path(path: str) -> str:
    """A URL's path without empty parts, "." and "..", with its query; it starts with one slash.

    The last part, which may be empty, stands behind a slash of its own: "/" becomes "//". IndexError: the
    path leads above the root.
    """
    path, _, query = path.partition("?")
    *folders, tail = urllib.parse.unquote(path).split("/")
    head: list[str] = []
    for part in folders:
        if part == "..":
            head.pop()
        elif part and part != ".":
            head.append(part)
    if tail == "..":
        head.pop()
        tail = ""
    elif tail == ".":
        tail = ""
    if query:
        tail = f"{tail}?{query}"
    return f"/{'/'.join(head)}/{tail}"


nobody: int | None = None


def nobody_uid() -> int:
    """The number of the user nobody; one more than the largest where there is none."""
    global nobody
    if nobody:
        return nobody
    try:
        import pwd
    except ImportError:
        return -1
    try:
        nobody = pwd.getpwnam("nobody")[2]
    except KeyError:
        nobody = 1 + max(entry[2] for entry in pwd.getpwall())
    return nobody


def executable(path: str) -> bool:
    """Whether the file may be executed."""
    return os.access(path, os.X_OK)


class CGIHTTPRequestHandler(SimpleHTTPRequestHandler):
    """Serves GET, HEAD and POST: scripts in `cgi_directories` are run, other files are served (not for POST).

    As documented, status 200 is sent before the script runs, so it cannot choose another one, nor redirect.
    """

    have_fork = hasattr(os, "fork")
    # The script's part of the connection must not be in a buffer of ours.
    rbufsize = 0
    #: Folders whose files are scripts.
    cgi_directories: ClassVar[list[str]] = ["/cgi-bin", "/htbin"]

    #: No limit, since the body is not held in memory: the script reads it as it comes.
    max_body_size = None
    #: Seconds that a script may run; None: no limit. After it the script's process group is killed.
    cgi_timeout: float | None = 60
    #: Leaves a query that begins with a dash out of the script's arguments, where it would be an option of
    #: the program that runs it (CVE-2012-1823). `QUERY_STRING` has it all the same.
    cgi_refuse_options: bool = True
    #: Variables that a script never gets from the server's own environment (CVE-2016-1000111).
    cgi_dropped_variables: ClassVar[tuple[str, ...]] = ("HTTP_PROXY",)

    cgi_info: tuple[str, str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _warn_as_cpython()
        super().__init__(*args, **kwargs)

    def do_POST(self) -> None:
        """Serves a POST request, which only scripts take."""
        if self._runs_script():
            self.run_cgi()
        elif not self._rejected:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED, "Can only POST to CGI scripts")

    def send_head(self) -> Any:
        """Runs a script, or does what the class above does."""
        if self._runs_script():
            return self.run_cgi()
        return None if self._rejected else super().send_head()

    # The path was refused, and an answer has been sent.
    _rejected = False

    def _runs_script(self) -> bool:
        """Whether the path is a script's, with what `is_cgi` leaves to its caller."""
        self._rejected = False
        try:
            if self.is_cgi():
                return True
        except Exception:
            # "If any exception is raised, the caller should assume that self.path was rejected as invalid".
            self._rejected = True
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return False
        if self._is_script_file(self.translate_path(self.path)):
            # Two readings of one path: as a URL it is no script's, as a file it is (CVE-2011-1015). Never
            # its source.
            self._rejected = True
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
        return False

    def _is_script_file(self, path: str) -> bool:
        """Whether a file lies in one of the folders of scripts."""
        root = os.path.abspath(self.directory)
        below = "/" + os.path.relpath(os.path.abspath(path), root).replace(os.sep, "/")
        folders = (folder.rstrip("/") + "/" for folder in self.cgi_directories if folder)
        return (below + "/").startswith(tuple(folders))

    def is_cgi(self) -> bool:
        """Whether `path` is a script's; then `cgi_info` is its folder and the rest.

        Any exception means that the path is invalid. As it stands here: the path, without its dots, begins
        with one of `cgi_directories`.
        """
        collapsed = _url_collapse_path(self.path)
        end = collapsed.find("/", 1)
        while end > 0 and collapsed[:end] not in self.cgi_directories:
            end = collapsed.find("/", end + 1)
        if end > 0:
            self.cgi_info = collapsed[:end], collapsed[end + 1 :]
            return True
        return False

    def is_executable(self, path: str) -> bool:
        """Whether the file may be executed."""
        return executable(path)

    def is_python(self, path: str) -> bool:
        """Whether the file is a Python script, by its name."""
        return os.path.splitext(path)[1].lower() in (".py", ".pyw")

    def run_cgi(self) -> None:
        """Runs the script of `cgi_info`."""
        folder, script, extra, query = self._split_info()
        name = f"{folder}/{script}"
        file = self.translate_path(name)
        problem = self._script_problem(name, file)
        if problem is not None:
            self.send_error(*problem)
            return
        environment = self._script_environment(name, extra, query)
        self.send_response(HTTPStatus.OK, "Script output follows")
        self.flush_headers()
        self.wfile.flush()
        # The script's output has no length, so only the connection's end can end it.
        self.close_connection = True
        arguments = [script] if self.have_fork else self._interpreted(file)
        decoded = query.replace("+", " ")
        is_option = self.cgi_refuse_options and decoded.lstrip().startswith("-")
        if "=" not in decoded and not is_option:
            arguments.append(decoded)
        try:
            process = subprocess.Popen(
                arguments,
                executable=file if self.have_fork else None,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                **_as_nobody(),
            )
        except (OSError, ValueError) as error:
            self.log_error("CGI script cannot be started: %s", error)
            return
        self._converse(process)

    def _split_info(self) -> tuple[str, str, str, str]:
        """Folder, script, what follows it in the path, and the query."""
        folder, rest = self.cgi_info
        path = f"{folder}/{rest}"
        end = path.find("/", len(folder) + 1)
        while end >= 0 and os.path.isdir(self.translate_path(path[:end])):
            folder, rest = path[:end], path[end + 1 :]
            end = path.find("/", len(folder) + 1)
        rest, _, query = rest.partition("?")
        script, slash, extra = rest.partition("/")
        return folder, script, slash + extra, query

    def _script_problem(self, name: str, file: str) -> tuple[HTTPStatus, str] | None:
        """Why a script cannot be run."""
        if not os.path.exists(file):
            return HTTPStatus.NOT_FOUND, f"No such CGI script ({name!r})"
        if not os.path.isfile(file):
            return HTTPStatus.FORBIDDEN, f"CGI script is not a plain file ({name!r})"
        if (self.have_fork or not self.is_python(name)) and not self.is_executable(file):
            return HTTPStatus.FORBIDDEN, f"CGI script is not executable ({name!r})"
        return None

    def _interpreted(self, file: str) -> list[str]:
        """The command for a system that does not know whose script a file is."""
        return [sys.executable, "-u", file] if self.is_python(file) else [file]

    def _script_environment(self, name: str, extra: str, query: str) -> dict[str, str]:
        """The variables of RFC 3875, beside those of the server's own environment."""
        env = dict(os.environ)
        for variable in self.cgi_dropped_variables:
            env.pop(variable, None)
        server: Any = self.server
        extra = urllib.parse.unquote(extra)
        env.update(
            SERVER_SOFTWARE=self.version_string(),
            SERVER_NAME=server.server_name,
            GATEWAY_INTERFACE="CGI/1.1",
            SERVER_PROTOCOL=self.protocol_version,
            SERVER_PORT=str(server.server_port),
            REQUEST_METHOD=self.command or "",
            PATH_INFO=extra,
            PATH_TRANSLATED=self.translate_path(extra),
            SCRIPT_NAME=name,
            QUERY_STRING=query,
            REMOTE_ADDR=self.client_address[0],
            CONTENT_TYPE=self.headers["content-type"] or self.headers.get_content_type(),
            HTTP_ACCEPT=",".join(self.headers.get_all("accept", ())),
        )
        for field in ("content-length", "referer", "user-agent"):
            variable = field.replace("-", "_").upper()
            if self.headers.get(field):
                env[variable if field == "content-length" else f"HTTP_{variable}"] = self.headers[field]
        cookies = ", ".join(filter(None, self.headers.get_all("cookie", [])))
        if cookies:
            env["HTTP_COOKIE"] = cookies
        self._add_user(env)
        for variable in ("REMOTE_HOST", "CONTENT_LENGTH", "HTTP_USER_AGENT", "HTTP_COOKIE", "HTTP_REFERER"):
            env.setdefault(variable, "")
        return env

    def _add_user(self, env: dict[str, str]) -> None:
        """Who the client says it is."""
        words = self.headers.get("authorization", "").split()
        if len(words) != 2:
            return
        env["AUTH_TYPE"] = words[0]
        if words[0].lower() == "basic":
            with contextlib.suppress(binascii.Error, UnicodeError):
                user, colon, _ = base64.decodebytes(words[1].encode("ascii")).decode("ascii").partition(":")
                if colon:
                    env["REMOTE_USER"] = user

    def _converse(self, process: subprocess.Popen[bytes]) -> None:
        """Gives the script the request's body, the client its output, and waits for its end."""
        late = threading.Timer(self.cgi_timeout, _kill, [process]) if self.cgi_timeout is not None else None
        if late is not None:
            late.daemon = True
            late.start()
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = threading.Thread(target=self._feed, args=[process.stdin], daemon=True)
        try:
            if self._body_length():
                feeder.start()
            else:
                process.stdin.close()
            with process.stdout as output:
                while data := os.read(output.fileno(), _COPY):
                    self.wfile.write(data)
            status = process.wait()
        finally:
            _kill(process)
            process.wait()
            if late is not None:
                late.cancel()
                late.join()
            if feeder.ident is not None:
                self._stop_reading()
                feeder.join()
        if status:
            self.log_error(f"CGI script exit code {status}")

    def _body_length(self) -> int:
        """How long the request's body is."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdigit() else 0

    def _feed(self, pipe: IO[bytes]) -> None:
        """Copies the request's body into the script's input."""
        left = self._body_length()
        # A script need not read all of it, and a client may leave.
        with contextlib.suppress(OSError, ValueError), pipe:
            while left > 0:
                data = self.rfile.read(min(left, _COPY))
                if not data:
                    return
                pipe.write(data)
                pipe.flush()
                left -= len(data)

    def _stop_reading(self) -> None:
        """Ends a read of the body that still waits: the script has gone."""
        import socket

        with contextlib.suppress(OSError, AttributeError):
            self.connection.shutdown(socket.SHUT_RD)


def _warn_as_cpython() -> None:
    """What CPython 3.13 and 3.14 say of the class. It stays here."""
    if (3, 13) <= sys.version_info < (3, 15):
        import warnings

        warnings.warn(
            "'http.server.CGIHTTPRequestHandler' is deprecated: CPython 3.15 lacks it, stdserve keeps it",
            DeprecationWarning,
            stacklevel=3,
        )


def _as_nobody() -> dict[str, Any]:
    """For a server that runs as root: the script's user, and no group of root's."""
    if os.name != "posix" or os.geteuid() != 0:
        return {}
    uid = nobody_uid()
    import pwd

    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        gid = uid
    return {"user": uid, "group": gid, "extra_groups": []}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the script and its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
