"""The console as people use it: trigger to release, by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from firebreak.model import Consent, Verdict
from tests.browser.chromium import ENTER, SPACE, TAB, Browser
from tests.browser.site import Site
from tests.firebreak.web.house import person
from tests.workflows.script import act

ONE = Consent(mode="approval", approvers=1, timeout_seconds=600, default="reject")
RILEY, SAM = person("riley", "responder"), person("sam", "approver")
CASEY = person("casey", "commander", "auditor")
WIDE = "return document.documentElement.scrollWidth - window.innerWidth"


def test_two_people_contain_and_release_a_workload(
    live: Site, browser: Browser, opened: Callable[[], Browser]
) -> None:
    ada, ben = browser, opened()
    for name, each in (("ada", ada), ("ben", ben)):
        each.go(f"{live.url}/login/once?name={name}&token=token-of-{name}-0123456789")
    workload = live.house.workload()
    live.house.stage.acting.otherwise = lambda: live.asking(ONE)
    ada.go(f"{live.url}/workloads/{workload}")
    decide(ada, "contain", "egress to an address that nobody knows")
    ada.until(lambda: ada.url, lambda url: "/incidents/INC-" in url)
    ada.see("another person has to approve it")
    incident = ada.url.split("?")[0]

    ben.go(live.url)
    ben.see(workload)
    ben.click(f"#to-{incident.rsplit('/', 1)[-1]}")
    ben.see("This run needs approval")
    decide(ben, "approve", "seen the same in the proxy's log")
    ada.see("Nothing is open.")  # pushed: nobody touched this browser
    assert verdict(ada) == "contained"

    decide(ada, "release", "the agent's image was rebuilt")
    ada.see("release waits for a person")
    ben.go(incident)
    ben.see("Approve the release…")
    decide(ben, "approve", "checked the image")
    ben.until(lambda: verdict(ben), lambda shown: shown == "contained released")
    assert ben.complaints() == []


def decide(browser: Browser, kind: str, reason: str) -> None:
    browser.click(f"#do-{kind}")
    browser.type("#reason", reason)
    browser.click("#confirm")


def verdict(browser: Browser) -> str:
    return " ".join(browser.run("return document.querySelector('.verdict')?.innerText ?? ''").split())


def test_an_approval_takes_no_mouse(live: Site, browser: Browser) -> None:
    incident, _ = live.loop.run(live.house.containment(consent=ONE))
    live.loop.run(live.house.asked(incident))
    live.enter(browser, SAM)
    browser.go(f"{live.url}/incidents/{incident}")
    browser.until(lambda: browser.run("return document.getElementById('do-approve') !== null"))
    browser.press(TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    browser.press(ENTER)
    browser.until(lambda: browser.focus, lambda focus: focus == "content")
    for _ in range(20):
        browser.press(TAB)
        if browser.focus == "do-approve":
            break
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(ENTER)
    browser.until(lambda: browser.focus, lambda focus: focus == "reason")
    browser.press(*"seen it", TAB)
    browser.until(lambda: browser.focus, lambda focus: focus == "confirm")
    browser.press(SPACE)
    browser.see("Nothing is open.")
    document = live.loop.run(live.house.ended(incident))
    assert [(each.by, each.reason) for each in document.decisions] == [("sam@example.org", "seen it")]


def test_news_do_not_take_the_focus_away_or_close_what_was_opened(live: Site, browser: Browser) -> None:
    held = asyncio.Event()
    incident, _ = live.loop.run(live.house.containment(replace(act("lock-objects", 3), held=held)))
    live.enter(browser, CASEY)
    browser.go(f"{live.url}/incidents/{incident}")
    browser.see("2 findings")
    browser.click("#f-1-1 summary")
    browser.run("document.getElementById('do-stop').focus()")
    live.loop.run(_let(held))
    browser.see("Nothing is open.")
    assert browser.run("return document.getElementById('f-1-1').open") is True


async def _let(held: asyncio.Event) -> None:
    held.set()


def test_the_clock_goes_on_between_two_news(live: Site, browser: Browser) -> None:
    incident, _ = live.loop.run(live.house.containment(consent=ONE))
    live.loop.run(live.house.asked(incident))
    live.enter(browser, SAM)
    browser.go(f"{live.url}/incidents/{incident}")

    def hand(name: str) -> str:
        return str(browser.run(f"return document.querySelector('[data-hand={name}]').textContent"))

    first = (hand("elapsed"), hand("remaining"))
    browser.until(lambda: (hand("elapsed"), hand("remaining")), lambda hands: set(hands).isdisjoint(first))
    live.loop.run(live.house.stage.client.get_workflow_handle(_workflow(live, incident)).terminate())


def _workflow(live: Site, incident: str) -> str:
    return live.loop.run(live.house.status(incident)).workflow_id


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (768, "light"), (1280, "dark")])
def test_no_page_is_wider_than_its_screen_or_hard_to_read(
    live: Site, browser: Browser, width: int, scheme: str
) -> None:
    failing = act("detach-public-ip", 2, "permanent", then="permanent")
    shared = replace(act("lock-objects", 3), blast_radius=("a-rather-long-name-of-another-workload-of-ours",))
    incident, _ = live.loop.run(live.house.containment(failing, shared))
    live.loop.run(live.house.asked(incident))
    live.enter(browser, CASEY)
    browser.size(width, 800, phone=width == 360)
    browser.emulate(prefers_color_scheme=scheme)
    run = f"/incidents/{incident}"
    for path in ("/", run, f"{run}/actions/proceed", "/workloads", f"/workloads/{live.house.free[0]}"):
        browser.go(live.url + path)
        assert browser.run(WIDE) <= 0, path
        assert browser.run(CONTRAST) == [], path
    live.enter(browser, CASEY)
    browser.go(f"{live.url}{run}")
    decide(browser, "stop", "enough")
    browser.see(Verdict.PARTIALLY_CONTAINED.value.replace("_", " "))


def test_a_browser_that_runs_no_script_can_decide(live: Site, browser: Browser) -> None:
    incident, _ = live.loop.run(live.house.containment(consent=ONE))
    live.loop.run(live.house.asked(incident))
    live.enter(browser, SAM)
    browser.without_scripts()
    browser.go(f"{live.url}/incidents/{incident}/actions/approve")
    browser.type("#reason", "seen it")
    browser.click("#confirm")
    browser.see("Nothing is open.")  # the page comes again by itself


CONTRAST = """
const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const channel = (value) => linear(value / 255);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const parts = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const behind = (element) => {
  const layers = [];
  for (let each = element; each; each = each.parentElement) {
    const colour = parts(getComputedStyle(each).backgroundColor);
    if (colour[3]) layers.push(colour);
    if (colour[3] === 255) break;
  }
  return layers.reverse().reduce((below, over) => [0, 1, 2].map(
    (n) => over[n] * over[3] / 255 + below[n] * (1 - over[3] / 255)), [255, 255, 255]);
};
const poor = [];
for (const each of document.querySelectorAll("body *")) {
  const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !each.checkVisibility() || each.closest("svg, noscript, .unseen, .skip")) continue;
  const style = getComputedStyle(each);
  const [a, b] = [light(parts(style.color)), light(behind(each))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) poor.push([each.className, each.textContent.trim().slice(0, 30), ratio.toFixed(2)]);
}
return poor;
"""
"""WCAG 2.2, success criterion 1.4.3: text against what is behind it."""
