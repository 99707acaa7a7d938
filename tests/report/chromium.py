"""A headless Chromium that is driven over two pipes, with nothing but what it itself understands.

Its debugging protocol: JSON ended by a zero byte, commands in on its descriptor 3, answers and events out on 4.
"""

import base64
import json
import os
import shutil
import subprocess
from collections import deque
from pathlib import Path
from typing import Any, Self

PROGRAM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
KEYS = {
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "Home": 36,
    "End": 35,
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    **{str(digit): 48 + digit for digit in range(10)},
}
TEXTS = {"Enter": "\r", " ": " ", **{str(digit): str(digit) for digit in range(10)}}


class Browser:
    """One browser and one page in it. ``events`` holds what happened since the page was opened."""

    def __init__(self, folder: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
        flags += " --disable-component-update --disable-dev-shm-usage --mute-audio --remote-debugging-pipe"
        command = f'exec "{PROGRAM}" {flags} --user-data-dir="{folder}" about:blank 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._last, self._session = b"", 0, ""
        self.events: deque[dict[str, Any]] = deque()

    def __enter__(self) -> Self:
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its answer; events that come before it are kept."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]  # type: ignore[no-any-return]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 20)
            assert part, f"{PROGRAM} has gone"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)  # type: ignore[no-any-return]

    def wait(self, method: str) -> dict[str, Any]:
        """The next event of a kind, or one that has already come."""
        for event in self.events:
            if event.get("method") == method:
                return event
        while (event := self._next()).get("method") != method:
            self.events.append(event)
        self.events.append(event)
        return event

    def open(self, page: Path, place: str = "", width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file at a place of it, in a window of this size."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.events.clear()
        self.call("Page.navigate", url="about:blank")  # a page opened at another place of itself is not loaded anew
        self.wait("Page.loadEventFired")
        self.events.clear()
        self.call("Page.navigate", url=f"{page.as_uri()}{place}")
        self.wait("Page.loadEventFired")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of an expression as soon as it is true in the page."""
        poll = f"new Promise(done => {{ const look = () => {{ const value = ({expression}); "
        return self.js(poll + "value ? done(value) : setTimeout(look, 20) }; look(); })")

    def key(self, name: str, times: int = 1, modifiers: int = 0) -> None:
        """A key, pressed and let go."""
        about = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS[name], "modifiers": modifiers}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", text=TEXTS.get(name, ""), **about)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def screenshot(self, path: Path, clip: dict[str, float] | None = None) -> None:
        """What stands on the screen, as PNG."""
        told = self.call("Page.captureScreenshot", format="png", **({"clip": clip | {"scale": 1}} if clip else {}))
        path.write_bytes(base64.b64decode(told["data"]))

    def complaints(self) -> list[str]:
        """Everything that the browser had to say against the page."""
        self.js("1")  # events come in order: whatever happened is here now
        found = []
        for event in self.events:
            told = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(told["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(str(told["entry"]))
            if event.get("method") == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
                found.append(str(told["args"]))
        return found

    def requests(self) -> list[str]:
        """Everything that the page asked for, itself included."""
        self.js("1")
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]
