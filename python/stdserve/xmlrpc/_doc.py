# Derived from CPython's Lib/xmlrpc/server.py: Copyright (c) 2001 Python Software Foundation; All Rights
# Reserved. Used under the PSF License Agreement, see LICENSE-PSF.
"""What servers say of themselves: pages like those of pydoc."""

from __future__ import annotations

import contextlib
import html
import pydoc
import re
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdserve.xmlrpc._dispatch import resolve_dotted_attribute

_LINKED = re.compile(
    r"\b((http|https|ftp)://\S+[\w/]|"
    r"RFC[- ]?(\d+)|"
    r"PEP[- ]?(\d+)|"
    r"(self\.)?((?:\w|\.)+))\b"
)


def stylesheet() -> bytes:
    """The style sheet of pydoc's pages; without rules where this Python was installed without it."""
    import pydoc_data

    try:
        return Path(pydoc_data.__path__[0], "_pydoc.css").read_bytes()
    except OSError:
        return b""


class ServerHTMLDoc(pydoc.HTMLDoc):
    """Makes the page of a server. Its methods are those of `pydoc.HTMLDoc`."""

    def markup(
        self,
        text: str,
        escape: Callable[[str], str] | None = None,
        funcs: Any = {},  # noqa: B006 (as in pydoc; none is changed)
        classes: Any = {},  # noqa: B006
        methods: Any = {},  # noqa: B006
    ) -> str:
        """`text` as HTML, with links for addresses, RFCs, PEPs, and the names that are known."""
        escape = escape or self.escape
        results = []
        here = 0
        while match := _LINKED.search(text, here):
            start, end = match.span()
            results.append(escape(text[here:start]))
            whole, scheme, rfc, pep, selfdot, name = match.groups()
            if scheme:
                url = escape(whole).replace('"', "&quot;")
                results.append(f'<a href="{url}">{url}</a>')
            elif rfc:
                url = f"https://www.rfc-editor.org/rfc/rfc{int(rfc)}.txt"
                results.append(f'<a href="{url}">{escape(whole)}</a>')
            elif pep:
                url = f"https://peps.python.org/pep-{int(pep):04d}/"
                results.append(f'<a href="{url}">{escape(whole)}</a>')
            elif text[end : end + 1] == "(":
                results.append(self.namelink(name, methods, funcs, classes))
            elif selfdot:
                results.append(f"self.<strong>{name}</strong>")
            else:
                results.append(self.namelink(name, classes))
            here = end
        results.append(escape(text[here:]))
        return "".join(results)

    def docroutine(  # type: ignore[override]
        self,
        object: Any,
        name: str,
        mod: Any = None,
        funcs: Any = {},  # noqa: B006
        classes: Any = {},  # noqa: B006
        methods: Any = {},  # noqa: B006
        cl: Any = None,
    ) -> str:
        """A function or method: its signature and what its docstring says. A tuple holds these two."""
        anchor = ((cl and cl.__name__) or "") + "-" + name
        title = f'<a name="{self.escape(anchor)}"><strong>{self.escape(name)}</strong></a>'
        argspec = "(...)"
        if callable(object):
            # Some functions in C do not tell.
            with contextlib.suppress(ValueError, TypeError):
                argspec = str(signature(object))
        if isinstance(object, tuple):
            argspec = object[0] or argspec
            docstring = object[1] or ""
        else:
            docstring = pydoc.getdoc(object)
        doc = self.markup(docstring, self.preformat, funcs, classes, methods)
        doc = doc and f"<dd><tt>{doc}</tt></dd>"
        return f"<dl><dt>{title}{argspec}</dt>{doc}</dl>\n"

    def docserver(self, server_name: str, package_documentation: str, methods: dict[str, Any]) -> str:
        """The body of the page: name, documentation, and every method."""
        fdict = {}
        for key, value in methods.items():
            fdict[key] = "#-" + key
            fdict[value] = fdict[key]
        head = f"<big><big><strong>{self.escape(server_name)}</strong></big></big>"
        result = self.heading(head)
        doc = self.markup(package_documentation, self.preformat, fdict)
        doc = doc and f"<tt>{doc}</tt>"
        result += f"<p>{doc}</p>\n"
        contents = [self.docroutine(value, key, funcs=fdict) for key, value in sorted(methods.items())]
        return result + self.bigsection("Methods", "functions", "".join(contents))

    def page(self, title: str, contents: str) -> str:
        """The whole page."""
        return (
            '<!DOCTYPE>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>Python: {title}</title>\n"
            f'<link rel="stylesheet" type="text/css" href="/pydoc.css"></head><body>{contents}</body></html>'
        )


class XMLRPCDocGenerator:
    """Makes the documentation of a server. A mix-in."""

    if TYPE_CHECKING:
        funcs: dict[str, Any]
        instance: Any

        def system_listMethods(self) -> list[str]: ...

    def __init__(self) -> None:
        self.server_name = "XML-RPC Server Documentation"
        self.server_documentation = "This server exports the following methods through the XML-RPC protocol."
        self.server_title = "XML-RPC Server Documentation"

    def set_server_title(self, server_title: str) -> None:
        """Sets the title of the page."""
        self.server_title = server_title

    def set_server_name(self, server_name: str) -> None:
        """Sets the name that heads the page."""
        self.server_name = server_name

    def set_server_documentation(self, server_documentation: str) -> None:
        """Sets what the page says of the server as a whole."""
        self.server_documentation = server_documentation

    def generate_html_documentation(self) -> str:
        """The page. An instance may say more of its methods, by a `_get_method_argstring(name)` and a
        `_methodHelp(name)`.
        """
        methods: dict[str, Any] = {}
        for method_name in self.system_listMethods():
            if method_name in self.funcs:
                methods[method_name] = self.funcs[method_name]
                continue
            assert self.instance is not None, "a method that is neither a function nor an instance's"
            method_info = [None, None]  # arguments, help
            if hasattr(self.instance, "_get_method_argstring"):
                method_info[0] = self.instance._get_method_argstring(method_name)
            if hasattr(self.instance, "_methodHelp"):
                method_info[1] = self.instance._methodHelp(method_name)
            method: Any = tuple(method_info)
            if method == (None, None) and not hasattr(self.instance, "_dispatch"):
                with contextlib.suppress(AttributeError):
                    method = resolve_dotted_attribute(self.instance, method_name)
            methods[method_name] = method
        documenter = ServerHTMLDoc()
        documentation = documenter.docserver(self.server_name, self.server_documentation, methods)
        # The title is escaped here, all else by the documenter (CVE-2019-16935).
        return documenter.page(html.escape(self.server_title), documentation)
