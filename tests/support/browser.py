"""A headless Chromium that a test speaks to over a pipe (the DevTools protocol: JSON with a zero byte behind each message)."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Page:
    """A page: what it holds, and what its console said."""

    def __init__(self, process, to, back):
        self._process, self._to, self._back = process, to, back
        self._number, self._rest, self._session = 0, b"", None
        self.complaints = []  # errors and warnings of the console, exceptions, and requests that failed
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """What a command of the protocol answers."""
        self._number += 1
        word = {"id": self._number, "method": method, "params": parameters}
        os.write(self._to, json.dumps(word | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for answer in self._heard():
                if answer.get("id") == self._number:
                    assert "error" not in answer, (method, answer["error"])
                    return answer["result"]
                self._note(answer)
        raise TimeoutError(method)

    def _heard(self):
        ready, _, _ = select.select([self._back], [], [], 1.0)
        came = os.read(self._back, 1 << 20) if ready else b""
        assert came or not ready, "the browser has ended"
        *words, self._rest = (self._rest + came).split(b"\0")
        return [json.loads(word) for word in words]

    def _note(self, event):
        method, told = event.get("method", ""), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"].get("exception", {}).get("description") or told["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([one.get("value", one.get("description")) for one in told["args"]]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def size(self, width, height, ratio=1):
        """Have a window of so many pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=False)

    def prefer(self, scheme):
        """Light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url):
        """Go there."""
        self.call("Page.navigate", url=url)

    def value(self, expression):
        """What an expression comes to in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, str(found["exceptionDetails"].get("exception"))[:500]
        return found["result"].get("value")

    def until(self, expression, seconds=30.0):
        """Wait until an expression is true; returns its value."""
        until = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < until, f"not within {seconds} s: {expression}; {self.complaints}"
            time.sleep(0.05)
        return found

    def screenshot(self, path):
        """What is seen, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def _above_the_protocols_places(descriptor):
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@contextmanager
def browser(folder, *words):
    """A page of a browser whose files are in `folder`; it is gone at the end."""
    (there, to), (back, here) = os.pipe(), os.pipe()
    there, here = _above_the_protocols_places(there), _above_the_protocols_places(here)
    command = [CHROMIUM, "--headless=new", *QUIET, "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", *words]
    places = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
    process = subprocess.Popen(
        [sys.executable, "-c", places, str(there), str(here), *command],
        pass_fds=(there, here),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(there)
    os.close(here)
    page = None
    try:
        page = Page(process, to, back)
        yield page
    finally:
        if page is not None and process.poll() is None:
            os.write(to, b'{"id":0,"method":"Browser.close"}\0')
        try:
            process.wait(10 if page is not None else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to)
        os.close(back)
