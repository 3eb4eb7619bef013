"""Questions to single people: who gets one, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.inputs import Page
from activities.notify import Channel
from firebreak.devserver import free_port
from firebreak.errors import NotDeliveredError, SettingsError
from firebreak.links import Links
from firebreak.measure import now
from firebreak.notify import channels
from firebreak.record import Question
from firebreak.settings import Settings
from tests.firebreak.notify.receiver import Receiver, receiver
from tests.firebreak.web.hooks import agent

SECRET = "one that nobody could ever guess 1"


@pytest.fixture
def pager() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def settings(folder: Path, url: str, *roles: str, **links: Any) -> Settings:
    inventory = folder / "workloads.yaml"
    inventory.write_text(json.dumps({"version": 1, "workloads": [agent(1)]}), encoding="utf-8")
    sam = {"subject": "1", "name": "sam@example.org", "roles": roles, "url": url.replace("http", "json")}
    return Settings.model_validate(
        {
            "inventory": inventory,
            "links": {"people": [sam], "secrets": [SECRET], **links},
            "console": {"public_url": "https://firebreak.example.org/"},
        }
    )


def the_other(chosen: Settings) -> Channel:
    _, other = channels(chosen)
    return other


def page(**asked: Any) -> Page:
    usual = {
        "workflow_id": "containment-1",
        "run_id": "run-1",
        "kind": "approval",
        "requested_by": "riley",
        "asked_at": now(),
    }
    return Page(
        incident_id="INC-1",
        kind="decision_needed",
        message="approval by one person before anything is changed",
        workload_id=str(agent(1)["id"]),
        question=Question.model_validate(usual | asked),
    )


async def test_a_question_comes_with_a_link_of_ones_own(pager: Receiver, tmp_path: Path) -> None:
    chosen, asked = settings(tmp_path, pager.url, "approver"), page()
    await the_other(chosen).deliver(asked)
    (message,) = pager.messages
    assert message["title"] == "INC-1: decision needed"
    text = message["message"]
    assert "approval by one person" in text
    assert "Asked for by riley." in text
    assert asked.question is not None
    made = Links.open(chosen)
    assert made.url("INC-1", asked.question, chosen.links.people[0]) in text
    assert f"until {made.ends_at(asked.question):%Y-%m-%d %H:%M} UTC" in text


@pytest.mark.parametrize(
    ("role", "asked", "gets_one"),
    [
        ("approver", {}, True),
        ("commander", {}, True),
        ("responder", {}, False),
        ("viewer", {}, False),
        ("approver", {"kind": "decision"}, False),
        ("responder", {"kind": "decision"}, True),
        ("approver", {"workflow_id": "release-INC-1"}, True),
        ("responder", {"workflow_id": "release-INC-1"}, False),
        ("approver", {"requested_by": "sam@example.org"}, True),  # who may still reject
    ],
)
async def test_only_who_may_answer_is_asked(
    pager: Receiver, tmp_path: Path, role: str, asked: dict[str, str], gets_one: bool
) -> None:
    await the_other(settings(tmp_path, pager.url, role)).deliver(page(**asked))
    assert bool(pager.messages) is gets_one


async def test_what_asks_nothing_is_not_sent_to_single_people(pager: Receiver, tmp_path: Path) -> None:
    channel = the_other(settings(tmp_path, pager.url, "commander"))
    for kind in ("started", "gate", "warning", "breach", "decided", "verdict", "decision_needed"):
        await channel.deliver(Page(incident_id="INC-1", kind=kind, message="x"))
    assert pager.messages == []


async def test_a_person_who_cannot_be_reached_is_named_and_the_link_is_not(tmp_path: Path) -> None:
    channel = the_other(settings(tmp_path, f"http://127.0.0.1:{free_port()}", "approver"))
    assert channel.name == "link for sam@example.org"
    with pytest.raises(NotDeliveredError, match=r"sam@example\.org") as caught:
        await channel.deliver(page())
    assert "/answer/" not in str(caught.value)


async def test_a_workload_that_the_worker_does_not_know_is_said(pager: Receiver, tmp_path: Path) -> None:
    channel = the_other(settings(tmp_path, pager.url, "approver"))
    with pytest.raises(NotDeliveredError, match="inventory has no workload gone"):
        await channel.deliver(page().model_copy(update={"workload_id": "gone"}))
    assert pager.messages == []


async def test_no_link_is_sent_that_is_over(pager: Receiver, tmp_path: Path) -> None:
    channel = the_other(settings(tmp_path, pager.url, "approver", life_minutes=5))
    with pytest.raises(NotDeliveredError, match="ended before"):
        await channel.deliver(page(asked_at=now() - timedelta(minutes=5)))
    assert pager.messages == []


def test_a_persons_url_that_apprise_does_not_know_is_not_shown(tmp_path: Path) -> None:
    chosen = settings(tmp_path, "nothing://secret-part", "approver")
    with pytest.raises(SettingsError, match="url of number 1 is no Apprise URL") as caught:
        channels(chosen)
    assert "secret-part" not in str(caught.value)
