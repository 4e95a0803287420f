"""Makes the pictures of the README again: runs the demo, waits for a certificate and two busy lines, photographs both.

Usage: make pictures (needs Chromium on PATH, or its path in CHROMIUM). Takes about two minutes.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
SPEED = 600
WAIT_S = 240
WALL = (1920, 1080)
PHONE = (360, 640)
PHONE_PIXELS = 2
CHROMIUM_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """A demo with a data folder of its own; gives its address, and ends it by Ctrl-C."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "filiere", "demo", "--data", folder, "--port", str(port)]
        process = subprocess.Popen([*command, "--speed", str(SPEED)], stdout=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Ask every half second. Raises SystemExit after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if condition():
                return
        time.sleep(0.5)
    raise SystemExit(f"waited {WAIT_S} s for {what}: run `filiere demo` and look at its logs")


def fetch(address: str) -> dict[str, object]:
    """A JSON document of the demo's API."""
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  # an address of this machine
        document: dict[str, object] = json.load(answer)
        return document


def certified(base: str) -> list[str]:
    """Ids of lots that have a certificate, newest first."""
    items = fetch(f"{base}/batches?limit=50")["items"]
    assert isinstance(items, list)
    return [item["id"] for item in items if item["certificate"] == "issued"]


def busy(base: str) -> bool:
    """Both lines are at the step that makes the product."""
    lines = fetch(f"{base}/lines")["lines"]
    assert isinstance(lines, list)
    return all((line["run"] or {}).get("step") in ("extrusion", "compounding") for line in lines)


def photograph(browser: Browser, address: str, name: str, size: tuple[int, int], scale: int = 1) -> None:
    """One screen of a page, as PNG."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale)
    page.goto(address)
    page.wait_for_timeout(3000)
    page.screenshot(path=PICTURES / name)
    page.close()


def main() -> None:
    """Everything, in order."""
    PICTURES.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium on PATH: install it, or name it in CHROMIUM")
    with demo() as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        wait_for(lambda: any(lot.startswith("T1") for lot in certified(base)), "a certificate of the textile line")
        wait_for(lambda: busy(base), "both lines to make their product")
        photograph(browser, f"{base}/live", "live.png", WALL)
        lot = next(lot for lot in certified(base) if lot.startswith("T1"))
        photograph(browser, f"{base}/batches/{lot}/certificate", "certificate.png", PHONE, PHONE_PIXELS)
        photograph(browser, f"{base}/batches/{lot}/certificate?lang=en", "certificate-en.png", PHONE, PHONE_PIXELS)
        browser.close()


if __name__ == "__main__":
    main()
