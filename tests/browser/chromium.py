"""A headless Chromium, driven as the W3C WebDriver standard has it: JSON over HTTP, no further library."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

BINARIES = ("chromium", "chromium-browser", "google-chrome")
DRIVERS = ("chromedriver", "chromium-driver")
PATIENCE = 120.0
"""Seconds until a test gives up waiting; generous, since the machine may be busy."""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The name of an element's reference (W3C WebDriver, section 12.1)."""
REPLACED = "stale element reference"
TYPED_FIRST = "Autofocus processing was blocked because a document already has a focused element"
"""No complaint: the test reached for a field before the page gave it the focus."""
OWN_PAGE = "chrome://"
"""Where the browser itself complains: of scripts that a test forbids while its first page still loads."""
TAB, ENTER, SPACE = "\ue004", "\ue007", "\ue00d"
"""W3C WebDriver, section 17.4.2, "Keyboard actions"."""
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--lang=en-GB",
)


def missing() -> str:
    """Why there can be no browser here; empty where there can be one."""
    lacking = [names[0] for names in (BINARIES, DRIVERS) if _found(names) is None]
    return f"{' and '.join(lacking)} not installed (.ci/chromium installs them)" if lacking else ""


class Browser:
    """One browser with a profile of its own, so that two are two people."""

    def __init__(self, driver: httpx.Client, profile: str) -> None:
        options = {"binary": _found(BINARIES), "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {
            "alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}},
        }
        self._driver = driver
        made = self._value(driver.post("/session", json={"capabilities": wanted}))
        self._path = f"/session/{made['sessionId']}"

    def go(self, url: str) -> None:
        """Open a page."""
        self._post("/url", {"url": url})

    @property
    def url(self) -> str:
        """Where the browser is."""
        return str(self._get("/url"))

    @property
    def text(self) -> str:
        """What the page shows; nothing between one page and the next."""
        return str(self.run("return document.body?.innerText ?? ''"))

    @property
    def focus(self) -> str:
        """The id of what has the focus."""
        return str(self.run("return document.activeElement?.id ?? ''"))

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of a script in the page, which no policy of the page concerns."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, css: str) -> None:
        """Click on what a selector finds."""
        self.until(lambda: self._did(f"/element/{self._find(css)}/click", {}))

    def type(self, css: str, text: str) -> None:
        """Type into a field."""
        self.until(lambda: self._did(f"/element/{self._find(css)}/value", {"text": text}))

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def see(self, wanted: Callable[[str], bool] | str) -> str:
        """Wait until the page shows a text, or one that is as wanted."""
        check = (lambda text: wanted in text) if isinstance(wanted, str) else wanted
        return str(self.until(lambda: self.text, check))

    def until(self, ask: Callable[[], Any], wanted: Callable[[Any], bool] = bool) -> Any:
        """Ask until the answer is as wanted; fails with the last one."""
        deadline = time.monotonic() + PATIENCE
        while not wanted(answer := ask()):
            assert time.monotonic() < deadline, f"waited in vain at {self.url}; the last answer was {answer}"
            time.sleep(0.05)
        return answer

    def cookie(self, name: str, value: str, url: str) -> None:
        """Give the browser a cookie of a site."""
        self._tools("Network.setCookie", {"name": name, "value": value, "url": url, "httpOnly": True})

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The size of the screen."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self._tools("Emulation.setDeviceMetricsOverride", metrics)

    def emulate(self, **features: str) -> None:
        """How the reader likes pages, for example ``prefers-color-scheme``."""
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._tools("Emulation.setEmulatedMedia", {"features": wanted})

    def without_scripts(self) -> None:
        """Be a browser that runs no script."""
        self._tools("Emulation.setScriptExecutionDisabled", {"value": True})

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write a screenshot."""
        shot = self._tools("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the browser wrote to its console, such as breaches of the page's policy."""
        written = [str(entry["message"]) for entry in self._post("/se/log", {"type": "browser"})]
        return [each for each in written if TYPED_FIRST not in each and not each.startswith(OWN_PAGE)]

    def close(self) -> None:
        """End the browser."""
        self._value(self._driver.delete(self._path))

    def _find(self, css: str) -> str:
        asked = {"using": "css selector", "value": css}
        found = self.until(lambda: self._post("/elements", asked))
        return str(found[0][ELEMENT])

    def _did(self, path: str, body: dict[str, Any]) -> bool:
        """Do something to an element, unless news have replaced it since it was found."""
        answer = self._driver.post(self._path + path, json=body)
        if not answer.is_success and answer.json()["value"]["error"] == REPLACED:
            return False
        self._value(answer)
        return True

    def _tools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _get(self, path: str) -> Any:
        return self._value(self._driver.get(self._path + path))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._value(self._driver.post(self._path + path, json=body))

    @staticmethod
    def _value(answer: httpx.Response) -> Any:
        value = answer.json()["value"]
        assert answer.is_success, f"{value['error']}: {value['message']}"
        return value


@contextmanager
def browsers(log: Path) -> Iterator[Callable[[], Browser]]:
    """Opens browsers, which end with the block; each has an empty profile."""
    with ExitStack() as stack, log.open("ab") as output:
        driver = str(_found(DRIVERS))
        process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=output, text=True, start_new_session=True
        )
        stack.callback(_ended, process)
        address = f"http://127.0.0.1:{_port(process)}"
        client = stack.enter_context(httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False))

        def opened() -> Browser:
            profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            browser = Browser(client, profile)
            stack.callback(browser.close)
            return browser

        yield opened


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if "successfully on port" in line:
            return int(line.rstrip(".\n").rsplit(" ", 1)[-1])
    raise AssertionError(f"chromedriver ended with {process.wait()}")


def _ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _found(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)
