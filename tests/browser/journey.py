"""The way of two people through the console of an embedded stack: from the plan to the release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from drills.console import Console, console
from drills.stack import embedded
from firebreak.model import Cloud
from tests.browser.chromium import Browser

CONSENT = {"mode": "approval", "approvers": 1, "timeout_seconds": 600, "default": "reject"}
QUICK = {"FIREBREAK_PROOF__SPACING_SECONDS": "0.5", "FIREBREAK_LOG_LEVEL": "WARNING"}
Shoot = Callable[[Browser, str], None]
"""Keeps a picture of what a browser shows, under a name."""


@dataclass(frozen=True)
class Journey:
    """A console, the workload that it is about, and two people in front of it."""

    console: Console
    workload: str
    ada: Browser
    ben: Browser
    shoot: Shoot

    def go(self) -> None:
        """All of it."""
        for name, browser in (("ada", self.ada), ("ben", self.ben)):
            browser.go(self.console.links[name])
        incident = self._trigger()
        self._approve(incident)
        self._read(incident)
        self._release(incident)
        self.ada.go(self.console.url)
        self.ada.see("released")
        self.shoot(self.ada, "incidents")

    def _trigger(self) -> str:
        ada = self.ada
        ada.go(f"{self.console.url}/workloads/{self.workload}?plan=true")
        ada.see("aws.deny-all")
        self.shoot(ada, "workload")
        _decide(ada, "contain", "egress to an address that nobody knows")
        ada.see("An approval is needed")
        ada.see("another person has to approve it")
        return ada.url.split("?")[0]

    def _approve(self, incident: str) -> None:
        ada, ben = self.ada, self.ben
        ben.go(incident)
        ben.see("Approve…")
        self.shoot(ben, "approval")
        _decide(ben, "approve", "seen the same in the proxy's log")
        ada.see("measures still to be proved")
        self.shoot(ada, "running")
        ada.see("Nothing is open.")
        assert "within the target" in ada.text

    def _read(self, incident: str) -> None:
        ada = self.ada
        self.shoot(ada, "contained")
        ada.click("#verify")
        ada.see("genuine")
        self.shoot(ada, "evidence")
        ada.go(f"{incident}/report")
        ada.see("Containment report")
        ada.see("genuine")
        assert (
            ada.run("return getComputedStyle(document.querySelector('h1')).margin") == "0px"
        )  # it is styled
        ada.go(incident)

    def _release(self, incident: str) -> None:
        _decide(self.ada, "release", "the agent's image was rebuilt and scanned")
        self.ada.see("release waits for a person")
        self.ben.go(incident)
        self.ben.see("Approve the release…")
        _decide(self.ben, "approve", "checked the image's digest")
        self.ben.until(
            lambda: self.ben.run("return document.querySelector('.verdict')?.innerText ?? ''"),
            lambda shown: "released" in shown,
        )


@contextmanager
def travelled(folder: Path, opened: Callable[[], Browser], shoot: Shoot) -> Iterator[Journey]:
    """A journey on a stack of its own, with the AWS sandbox; its workload asks for approval."""
    with embedded(folder, settings=QUICK, clouds=(Cloud.AWS,)) as stack, console(stack) as served:
        workload = stack.clouds[Cloud.AWS].sample.workload_ids[0]
        _ask_first(stack.inventory_path, workload)
        yield Journey(served, workload, opened(), opened(), shoot)


def _ask_first(inventory: Path, workload: str) -> None:
    document = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    for each in document["workloads"]:
        if each["id"] == workload:
            each["consent"] = CONSENT
    inventory.write_text(yaml.safe_dump(document), encoding="utf-8")


def _decide(browser: Browser, kind: str, reason: str) -> None:
    browser.click(f"#do-{kind}")
    browser.type("#reason", reason)
    browser.click("#confirm")
