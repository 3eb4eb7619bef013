"""A signed link on a phone, and a page that was left open after the end."""

from __future__ import annotations

import pytest

from firebreak import start
from firebreak.links import Links
from firebreak.model import Consent
from firebreak.record import Question
from tests.browser.chromium import Browser
from tests.browser.site import Site
from tests.browser.test_console import CONTRAST, WIDE
from tests.firebreak.web.house import person

ONE = Consent(mode="approval", approvers=1, timeout_seconds=600, default="reject")
SAM, CASEY = person("sam", "approver"), person("casey", "commander")


async def link(live: Site, incident: str) -> str:
    """The link that Sam would get, on the address of this site."""
    document = await live.house.asked(incident)
    handle = live.house.stage.client.get_workflow_handle(document.workflow_id)
    assert document.awaiting is not None
    question = Question(
        workflow_id=document.workflow_id,
        run_id=(await handle.describe()).run_id,
        kind=document.awaiting.kind,
        requested_by=document.requested_by,
        asked_at=document.awaiting.since,
        until=document.awaiting.until,
    )
    links = Links.open(live.house.services.settings)
    (sam,) = links.settings.people
    return links.url(incident, question, sam).replace(links.address, live.url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_link_is_answered_on_a_phone_without_scripts(live: Site, browser: Browser, scheme: str) -> None:
    incident, _ = live.loop.run(live.house.containment(consent=ONE))
    address = live.loop.run(link(live, incident))
    browser.size(360, 800, phone=True)
    browser.emulate(prefers_color_scheme=scheme)
    browser.go(f"{address}x")
    browser.see("This link is not valid")
    assert (browser.run(WIDE) <= 0, browser.run(CONTRAST)) == (True, [])
    browser.go(address)
    browser.see("Approval by one person")
    assert (browser.run(WIDE) <= 0, browser.run(CONTRAST)) == (True, [])
    browser.without_scripts()
    browser.go(address)
    browser.type("#reason", "seen it on the train")
    browser.click("#do-approve")
    browser.see("Recorded: approve")
    assert address not in browser.url  # the decision itself has an address that tells nothing
    document = live.loop.run(live.house.ended(incident))
    assert [(each.by, each.via) for each in document.decisions] == [("sam@example.org", "signed link")]
    browser.go(address)
    browser.see("You have used this link")
    assert all("a status of 4" in each for each in browser.complaints())  # and nothing else


@pytest.mark.slow
def test_a_page_left_open_after_the_end_becomes_live_with_a_release(live: Site, browser: Browser) -> None:
    incident, _ = live.loop.run(live.house.containment())
    live.loop.run(live.house.ended(incident))
    live.enter(browser, CASEY)
    browser.go(f"{live.url}/incidents/{incident}")
    browser.see("Nothing is open.")
    services = live.house.services
    live.loop.run(
        start.release(services.temporal, services.settings, incident, by="riley", reason="the image is clean")
    )
    browser.see("release waits for a person")  # after half a minute, and nobody touched this browser
    live.loop.run(live.house.stage.client.get_workflow_handle(f"release-{incident}").terminate())
