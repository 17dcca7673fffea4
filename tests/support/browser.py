"""Chromium without a window, driven over a pair of pipes: the DevTools protocol, a JSON object to each NUL.

`--remote-debugging-pipe` reads from descriptor 3 and writes to descriptor 4, so nothing listens on a port
and no driver is needed.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .waiting import PATIENCE, until

#: The flags that keep it small, quiet and to itself.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--window-size=1280,1000",
]


def find() -> str | None:
    """The browser's command, where there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One browser; its pages are its tabs."""

    def __init__(self) -> None:
        command = find()
        assert command, "no browser"
        self._folder = Path(tempfile.mkdtemp(prefix="stdserve-browser-"))
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        def place() -> None:
            # Out of the way first: one may be 3 or 4 itself.
            reading = fcntl.fcntl(theirs_in, fcntl.F_DUPFD, 10)
            writing = fcntl.fcntl(theirs_out, fcntl.F_DUPFD, 10)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._process = subprocess.Popen(
            [command, *FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place,
            pass_fds=(3, 4),
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out = ours_out
        self._in = ours_in
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._tabs: dict[str, Tab] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        rest = b""
        while data := os.read(self._in, 65536):
            *messages, rest = (rest + data).split(b"\0")
            for message in messages:
                self._take(json.loads(message))
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        os.close(self._in)

    def _take(self, message: dict[str, Any]) -> None:
        with self._changed:
            if "id" in message:
                self._answers[message["id"]] = message
            elif (tab := self._tabs.get(message.get("sessionId", ""))) is not None:
                tab.take(message)
            self._changed.notify_all()

    def call(self, method: str, values: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """One call of the protocol; without a session, of the browser itself."""
        self._number += 1
        number = self._number
        call: dict[str, Any] = {"id": number, "method": method, "params": values}
        if session:
            call["sessionId"] = session
        os.write(self._out, json.dumps(call).encode() + b"\0")
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._ended, PATIENCE)
            assert number in self._answers, f"no answer to {method}"
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def tab(self) -> Tab:
        """A new page."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._tabs[session] = tab = Tab(self, session)
        for domain in ("Runtime", "Log", "Page"):
            tab.ask(f"{domain}.enable")
        return tab

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(AssertionError, OSError):
            self.call("Browser.close", {})
        with contextlib.suppress(OSError):
            os.close(self._out)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE)
        shutil.rmtree(self._folder, ignore_errors=True)


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        #: What the page complained of: exceptions, refused loads, violations of its policy.
        self.complaints: list[str] = []

    def take(self, message: dict[str, Any]) -> None:
        """Note what the browser tells of it."""
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(json.dumps(message["params"]["entry"]))

    def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """One call of the protocol."""
        return self._browser.call(method, values, self._session)

    def open(self, url: str) -> None:
        """Go to a page."""
        answer = self.ask("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        # Until then the document may still be the one before.
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, accept: Callable[[Any], bool] = bool) -> Any:
        """Wait until the value of an expression is as wanted."""

        def look() -> tuple[Any] | None:
            value = self.run(script)
            return (value,) if accept(value) else None

        found = until(look, f"{script} in the page")
        assert found
        return found[0]

    def press(self, key: str) -> None:
        """Press a key."""
        text = {"Enter": "\r"}.get(key, key)
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "")

    def type(self, text: str) -> None:
        """Put text where the cursor is."""
        self.ask("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Draw what can be seen."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))
