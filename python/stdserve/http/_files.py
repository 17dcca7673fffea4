# Derived from CPython's Lib/http/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""`SimpleHTTPRequestHandler`: serves the files of a folder."""

from __future__ import annotations

import datetime
import email.utils
import html
import io
import mimetypes
import os
import posixpath
import shutil
import stat
import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import IO, Any, ClassVar

from stdserve.http import _ranges
from stdserve.http._base import BaseHTTPRequestHandler
from stdserve.http._responses import __version__


class SimpleHTTPRequestHandler(BaseHTTPRequestHandler):
    """Serves GET and HEAD from the files in `directory` and below; the current folder unless given.

    `extra_response_headers` (Python 3.15): names and values that are added to every answer of status 200,
    where it does not have such a field already.
    """

    server_version = "SimpleHTTP/" + __version__
    #: Files that stand for their folder, the first one that is there (Python 3.12).
    index_pages: tuple[str, ...] = ("index.html", "index.htm")
    #: The type of what no extension tells (Python 3.15).
    default_content_type = "application/octet-stream"
    _encodings_map_default: ClassVar[dict[str, str]] = {
        ".gz": "application/gzip",
        ".Z": "application/octet-stream",
        ".bz2": "application/x-bzip2",
        ".xz": "application/x-xz",
    }
    #: Types by extension, before those of the module mimetypes.
    extensions_map: ClassVar[dict[str, str]] = _encodings_map_default

    #: Answers `Range` with the part of the file (206). The standard library always sends the whole.
    range_requests: bool = True
    #: Serves regular files only, and never waits for a pipe's other end.
    regular_files_only: bool = True
    #: False: what a symbolic link leads to outside the folder is not found.
    follow_symlinks: bool = True

    extra_response_headers: Iterable[tuple[str, str]] | None = None

    def __init__(
        self,
        *args: Any,
        directory: str | os.PathLike[str] | None = None,
        extra_response_headers: Iterable[tuple[str, str]] | Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self._configure(directory, extra_response_headers)
        super().__init__(*args, **kwargs)

    def _configure(
        self,
        directory: str | os.PathLike[str] | None = None,
        extra_response_headers: Iterable[tuple[str, str]] | Mapping[str, str] | None = None,
    ) -> None:
        """What `__init__` does before it handles the connection."""
        self.directory = os.getcwd() if directory is None else os.fspath(directory)
        if extra_response_headers is not None:
            pairs = extra_response_headers
            self.extra_response_headers = list(pairs.items() if isinstance(pairs, Mapping) else pairs)

    def do_GET(self) -> None:
        """Serves a GET request."""
        file = self.send_head()
        if file:
            try:
                self.copyfile(file, self.wfile)
            finally:
                file.close()

    def do_HEAD(self) -> None:
        """Serves a HEAD request."""
        file = self.send_head()
        if file:
            file.close()

    def send_head(self) -> Any:
        """Sends status and fields of the answer to GET and HEAD.

        Returns a file that the caller copies to `wfile` (but for HEAD) and closes, or None: nothing is left
        to do.
        """
        path = self.translate_path(self.path)
        if os.path.isdir(path):
            parts = urllib.parse.urlsplit(self.path)
            if not parts.path.endswith(("/", "%2f", "%2F")):
                self._redirect_to_folder(parts)
                return None
            for page in self.index_pages:
                index = os.path.join(path, page)
                if os.path.isfile(index):
                    path = index
                    break
            else:
                if self._leads_outside(path):
                    self.send_error(HTTPStatus.NOT_FOUND, "File not found")
                    return None
                return self.list_directory(path)
        kind = self.guess_type(path)
        file = self._open(path)
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None
        try:
            return self._send_file_head(file, kind)
        except BaseException:
            file.close()
            raise

    def _redirect_to_folder(self, parts: urllib.parse.SplitResult) -> None:
        """Sends the browser to the folder's name with a slash behind it."""
        self.send_response(HTTPStatus.MOVED_PERMANENTLY)
        target = urllib.parse.urlunsplit((parts[0], parts[1], parts[2] + "/", parts[3], parts[4]))
        if not parts.scheme and not parts.netloc:
            # Browsers take a backslash for a slash, and so "/\host" for another host.
            target = target.replace("\\", "%5C")
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _open(self, path: str) -> IO[bytes] | None:
        """Opens what is to be served; None where it is not there, or nothing to serve."""
        # Some systems open "file/" as "file"; bpo-17324.
        if path.endswith("/") or self._leads_outside(path):
            return None
        try:
            opener = _open_without_waiting if self.regular_files_only else None
            file = open(path, "rb", opener=opener)  # noqa: SIM115
        except (OSError, ValueError):
            return None
        if self.regular_files_only and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            return None
        return file

    def _leads_outside(self, path: str) -> bool:
        """Whether links lead out of the folder, where that matters."""
        if self.follow_symlinks:
            return False
        root = os.path.realpath(self.directory)
        real = os.path.realpath(path)
        return os.path.commonpath([root, real]) != root

    def _send_file_head(self, file: IO[bytes], kind: str) -> Any:
        """The same as `send_head` once the file is open."""
        facts = os.fstat(file.fileno())
        if self._not_modified(facts.st_mtime):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.end_headers()
            file.close()
            return None
        size = facts.st_size
        part = None
        wanted = self.headers.get("Range") if self.range_requests else None
        if wanted is not None and self.command == "GET" and self._range_counts(facts.st_mtime):
            try:
                part = _ranges.parse(wanted, size)
            except _ranges.Unsatisfiable:
                self._send_unsatisfiable(size)
                file.close()
                return None
        if part is None:
            self.send_response(HTTPStatus.OK)
        else:
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-type", kind)
        if part is None:
            self.send_header("Content-Length", str(size))
        else:
            self.send_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{size}")
            self.send_header("Content-Length", str(part[1] - part[0]))
        self.send_header("Last-Modified", self.date_time_string(facts.st_mtime))
        if self.range_requests:
            self.send_header("Accept-Ranges", "bytes")
        if part is None:
            self._send_extra_headers("content-type", "content-length", "last-modified", "accept-ranges")
        self.end_headers()
        if part is not None:
            return _ranges.Part(file, part[0], part[1] - part[0])
        self._announced = (file, size)
        return file

    # The file of the answer that is being sent, and how long it was said to be.
    _announced: tuple[IO[bytes], int] | None = None

    def _send_unsatisfiable(self, size: int) -> None:
        """Answers a range that lies behind the end (RFC 9110 15.5.17)."""
        self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        self.send_header("Content-Range", f"bytes */{size}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _not_modified(self, modified: float) -> bool:
        """Whether the client has the file as it is (If-Modified-Since)."""
        if "If-Modified-Since" not in self.headers or "If-None-Match" in self.headers:
            return False
        since = _date(self.headers["If-Modified-Since"])
        return since is not None and _whole_second(modified) <= since

    def _range_counts(self, modified: float) -> bool:
        """Whether the client's parts are of the file as it is (If-Range, RFC 9110 13.1.5)."""
        condition = self.headers.get("If-Range")
        return condition is None or _date(condition) == _whole_second(modified)

    def _send_extra_headers(self, *sent: str) -> None:
        """Adds the fields that were asked for, but for those that were `sent`."""
        for name, value in self.extra_response_headers or ():
            if name.lower() not in (*sent, "server", "date"):
                self.send_header(name, value)

    def list_directory(self, path: str) -> io.BytesIO | None:
        """Sends the fields of a page that lists a folder without an index, and returns the page."""
        try:
            names = os.listdir(path)
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, "No permission to list directory")
            return None
        names.sort(key=lambda name: name.lower())
        shown = self.path
        if sys.version_info >= (3, 14):
            # Where the standard library no longer shows query and fragment.
            shown = shown.split("#", 1)[0].split("?", 1)[0]
        shown = _unquote(shown)
        encoding = sys.getfilesystemencoding()
        title = f"Directory listing for {html.escape(shown, quote=False)}"
        page = [
            "<!DOCTYPE HTML>",
            '<html lang="en">',
            "<head>",
            f'<meta charset="{encoding}">',
            f"<title>{title}</title>\n</head>",
            f"<body>\n<h1>{title}</h1>",
            "<hr>\n<ul>",
        ]
        for name in names:
            full = os.path.join(path, name)
            label = link = name
            if os.path.isdir(full):
                label = link = name + "/"
            if os.path.islink(full):
                # A link to a folder is shown with @ and links with /.
                label = name + "@"
            page.append(
                f'<li><a href="{urllib.parse.quote(link, errors="surrogatepass")}">'
                f"{html.escape(label, quote=False)}</a></li>"
            )
        page.append("</ul>\n<hr>\n</body>\n</html>\n")
        data = "\n".join(page).encode(encoding, "surrogateescape")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-type", f"text/html; charset={encoding}")
        self.send_header("Content-Length", str(len(data)))
        self._send_extra_headers("content-type", "content-length")
        self.end_headers()
        return io.BytesIO(data)

    def translate_path(self, path: str) -> str:
        """The file name that a request's path means: always below `directory`, whatever the path holds."""
        path = path.split("?", 1)[0]
        path = path.split("#", 1)[0]
        path = _unquote(path)
        # A trailing slash has to survive normpath; bpo-17324.
        trailing_slash = path.rstrip().endswith("/")
        words = filter(None, posixpath.normpath(path).split("/"))
        path = self.directory
        for word in words:
            if os.path.dirname(word) or word in (os.curdir, os.pardir):
                # No plain name of a file or folder.
                continue
            path = os.path.join(path, word)
        if trailing_slash:
            path += "/"
        return path

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Copies what `source` holds to `outputfile`: as much as was announced, if the file has grown
        since.
        """
        announced, self._announced = self._announced, None
        if announced is None or announced[0] is not source:
            shutil.copyfileobj(source, outputfile)
            return
        part = _ranges.Part(source, 0, announced[1])
        shutil.copyfileobj(part, outputfile)
        if part.left:
            # The file has shrunk: the client has to see that something is missing.
            self.close_connection = True

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        """The MIME type of a file by its extension: from `extensions_map`, else the module mimetypes."""
        path = os.fspath(path)
        extension = posixpath.splitext(path)[1]
        for known in (extension, extension.lower()):
            if known in self.extensions_map:
                return self.extensions_map[known]
        return _guess(path)[0] or self.default_content_type


# 3.13 has a name of its own for the guess by file name.
_guess = getattr(mimetypes, "guess_file_type", mimetypes.guess_type)


def _open_without_waiting(path: str, flags: int) -> int:
    """Opens as `open` does; a pipe without a writer or a terminal do not hold it up."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _unquote(path: str) -> str:
    """The bytes that a path means, as a text."""
    try:
        return urllib.parse.unquote(path, errors="surrogatepass")
    except UnicodeDecodeError:
        return urllib.parse.unquote(path)


def _date(text: str) -> datetime.datetime | None:
    """The time in a field such as If-Modified-Since; None where it is none, or not in UTC."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, IndexError, OverflowError, ValueError):
        return None
    if date.tzinfo is None:
        # The obsolete forms have no zone and mean UTC (RFC 9110 5.6.7).
        date = date.replace(tzinfo=datetime.UTC)
    return date if date.tzinfo is datetime.UTC else None


def _whole_second(timestamp: float) -> datetime.datetime:
    """A file's time as header fields can say it."""
    return datetime.datetime.fromtimestamp(timestamp, datetime.UTC).replace(microsecond=0)
