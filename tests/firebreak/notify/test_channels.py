"""Channels to people, against a receiver that speaks HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.inputs import Page
from activities.notify import Channel, NotifyActivities
from firebreak.devserver import free_port
from firebreak.errors import NotDeliveredError, SettingsError
from firebreak.model import Verdict
from firebreak.notify import channels
from firebreak.notify.pagerduty import SUMMARY_LENGTH, action_of
from firebreak.settings import NotifySettings, Settings
from tests.firebreak.notify.receiver import Receiver, receiver

SECRET = "routing-key-1234567890"


@pytest.fixture
def pager() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def settings(pager: Receiver, *, chat: bool = False) -> NotifySettings:
    urls = (pager.url.replace("http://", "json://") + "/chat",) if chat else ()
    key = "" if chat else SECRET
    return NotifySettings.model_validate(
        {"pagerduty_key": key, "pagerduty_url": pager.url, "urls": urls, "timeout_seconds": 5}
    )


def page(kind: str = "decision_needed", **fields: Any) -> Page:
    return Page.model_validate(
        {"incident_id": "INC-1", "kind": kind, "message": "phase 1 is not proved", **fields}
    )


def the_other(chosen: NotifySettings) -> Channel:
    log, other = channels(Settings(notify=chosen))
    assert log.name == "log"
    return other


async def test_a_decision_needed_opens_an_alert_of_the_incident(pager: Receiver) -> None:
    await the_other(settings(pager)).deliver(page())
    (event,) = pager.messages
    assert (event["event_action"], event["dedup_key"], event["routing_key"]) == ("trigger", "INC-1", SECRET)
    assert event["payload"]["severity"] == "error"
    assert event["payload"]["summary"] == "INC-1: phase 1 is not proved"


async def test_shared_channels_say_where_to_decide_and_carry_no_link_that_decides(pager: Receiver) -> None:
    console = {"console": {"public_url": "https://firebreak.example.org/"}}
    for chat in (False, True):
        notify = settings(pager, chat=chat)
        _, channel = channels(Settings.model_validate({"notify": notify, **console}))
        for kind in ("decision_needed", "breach"):
            await channel.deliver(page(kind))
    place = "https://firebreak.example.org/incidents/INC-1"
    asked, breach, chat_asked, chat_breach = pager.messages
    assert asked["links"] == [{"href": place, "text": "Decide in the console"}]
    assert "links" not in breach
    assert chat_asked["message"] == f"phase 1 is not proved\n{place}"
    assert chat_breach["message"] == "phase 1 is not proved"


async def test_a_long_message_is_cut_to_what_pagerduty_takes(pager: Receiver) -> None:
    await the_other(settings(pager)).deliver(page(message="x" * 5000))
    assert len(pager.messages[0]["payload"]["summary"]) == SUMMARY_LENGTH


@pytest.mark.parametrize(
    ("kind", "verdict", "action"),
    [
        ("started", None, "trigger"),
        ("warning", None, "trigger"),
        ("breach", None, "trigger"),
        ("decided", None, "acknowledge"),
        ("gate", None, None),
        ("gate", Verdict.CONTAINED, None),
        ("verdict", Verdict.CONTAINED, "resolve"),
        ("verdict", Verdict.RELEASED, "resolve"),
        ("verdict", Verdict.REJECTED, "resolve"),
        ("verdict", Verdict.UNPROVEN, "trigger"),
        ("verdict", Verdict.PARTIALLY_CONTAINED, "trigger"),
        ("verdict", Verdict.REFUSED, "trigger"),
    ],
)
def test_what_a_page_means_for_the_alert(kind: str, verdict: Verdict | None, action: str | None) -> None:
    assert action_of(page(kind, verdict=verdict)) == action


@pytest.mark.parametrize("chat", [False, True])
async def test_a_channel_that_refuses_says_so_without_its_secret(pager: Receiver, *, chat: bool) -> None:
    pager.status = 500
    with pytest.raises(NotDeliveredError) as caught:
        await the_other(settings(pager, chat=chat)).deliver(page())
    assert SECRET not in str(caught.value)
    assert pager.url not in str(caught.value)


async def test_a_channel_that_is_away_says_so() -> None:
    away = NotifySettings.model_validate(
        {"pagerduty_key": SECRET, "pagerduty_url": f"http://127.0.0.1:{free_port()}"}
    )
    with pytest.raises(NotDeliveredError, match="cannot be reached"):
        await the_other(away).deliver(page())


async def test_chat_gets_a_title_and_the_text(pager: Receiver) -> None:
    channel = the_other(settings(pager, chat=True))
    assert channel.name == "1 (json)"
    await channel.deliver(page())
    (message,) = pager.messages
    assert (message["title"], message["message"]) == ("INC-1: decision needed", "phase 1 is not proved")
    assert message["type"] == "warning"


def test_a_url_that_apprise_does_not_know_is_a_settings_error_without_the_url() -> None:
    wrong = NotifySettings.model_validate({"urls": [f"nothing://{SECRET}"]})
    with pytest.raises(SettingsError, match="number 1 is no Apprise URL") as caught:
        channels(Settings(notify=wrong))
    assert SECRET not in str(caught.value)


async def test_only_channels_that_failed_are_tried_again(pager: Receiver) -> None:
    with receiver() as dead:
        both = settings(pager).model_copy(update={"urls": settings(dead, chat=True).urls})
        activities = NotifyActivities(channels(Settings(notify=both)))
        dead.status = 503
        reached, error = await attempted(activities)
        assert isinstance(error, ApplicationError)
        assert (error.type, error.non_retryable) == ("NotDeliveredError", False)
        assert reached == ("log", "pagerduty")
        dead.status = 200
        reached, error = await attempted(activities, *reached)
        assert error is None
        assert reached == ("1 (json)", "log", "pagerduty")
        assert (len(pager.messages), len(dead.messages)) == (1, 1)


async def attempted(activities: NotifyActivities, *details: str) -> tuple[tuple[str, ...], Exception | None]:
    """The heartbeat details after an attempt that began with those, and what it raised."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    beats: list[tuple[str, ...]] = []
    environment.on_heartbeat = lambda *values: beats.append(values)
    try:
        await environment.run(activities.notify, page())
    except ApplicationError as error:
        return beats[-1], error
    return beats[-1], None
