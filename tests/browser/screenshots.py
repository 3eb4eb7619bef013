"""Writes the pictures of docs/console.md: ``python -m tests.browser.screenshots``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.browser.chromium import Browser, browsers, missing
from tests.browser.journey import travelled

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DESK, PHONE = (1280, 1000), (390, 844)
ON_A_PHONE = ("approval", "running", "incidents")
IN_THE_DARK = ("contained",)


def shoot(browser: Browser, name: str) -> None:
    """Picture a page at a desk, and the important ones on a phone and in the dark."""
    browser.size(*DESK)
    browser.picture(IMAGES / f"console-{name}.png", whole=False)
    if name in ON_A_PHONE:
        browser.size(*PHONE, phone=True)
        browser.picture(IMAGES / f"console-{name}-phone.png", whole=False)
        browser.size(*DESK)
    if name in IN_THE_DARK:
        browser.emulate(prefers_color_scheme="dark")
        browser.picture(IMAGES / f"console-{name}-dark.png", whole=False)
        browser.emulate(prefers_color_scheme="light")


def main() -> None:
    """Go the whole way once."""
    if why := missing():
        raise SystemExit(why)
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with (
            browsers(place / "chromedriver.log") as opened,
            travelled(place / "stack", opened, shoot) as journey,
        ):
            journey.go()


if __name__ == "__main__":
    main()
