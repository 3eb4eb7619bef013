"""Each person who may decide is asked on a channel of their own, with a link that is theirs alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from activities.inputs import Page
from firebreak.errors import NotDeliveredError
from firebreak.inventoryfile import InventoryFile
from firebreak.links import Links, as_person
from firebreak.measure import now
from firebreak.notify.fanout import Fan, target_of
from firebreak.policy.rules import Action, Rules
from firebreak.record import Question
from firebreak.settings import LinkedPerson, Settings


@dataclass(frozen=True)
class Desk:
    """What every link is made with."""

    links: Links
    rules: Rules
    inventory: InventoryFile

    def may_answer(self, person: LinkedPerson, page: Page, question: Question) -> bool:
        """Whether the rules leave the person any answer; raises NotDeliveredError for an unknown workload."""
        workload = self.inventory.current().workloads.get(page.workload_id)
        if workload is None:
            raise NotDeliveredError(
                f"the workflow worker's inventory has no workload {page.workload_id}: nobody got a link"
            )
        return any(
            self.rules.ask(
                as_person(person), action, workload, mode=page.mode, requested_by=question.requested_by
            ).allowed
            for action in answers_to(question)
        )


class Personal:
    """The way to one person."""

    def __init__(self, person: LinkedPerson, fan: Fan, desk: Desk) -> None:
        self.name = fan.name
        self._person = person
        self._fan = fan
        self._desk = desk

    async def deliver(self, page: Page) -> None:
        """Send a question with the person's own link; whatever asks nothing, or not them, is not sent."""
        question = page.question
        if question is None or not await asyncio.to_thread(
            self._desk.may_answer, self._person, page, question
        ):
            return
        if self._desk.links.ends_at(question) <= now():
            raise NotDeliveredError(f"{self.name}: it would have ended before it arrived")
        await self._fan.send(page, self._text(page, question))

    def _text(self, page: Page, question: Question) -> str:
        links = self._desk.links
        return (
            f"{page.workload_id} ({page.cloud}, {page.mode}): {page.message}\n"
            f"Asked for by {question.requested_by}.\n\n"
            f"Decide here: {links.url(page.incident_id, question, self._person)}\n\n"
            f"The link is for you alone and works once, until {links.ends_at(question):%Y-%m-%d %H:%M} UTC. "
            "Opening it decides nothing."
        )


def answers_to(question: Question) -> tuple[Action, ...]:
    """What a question may be answered with."""
    if question.kind == "decision":
        return Action.RETRY, Action.PROCEED, Action.STOP
    return (Action.APPROVE_RELEASE if question.of_release else Action.APPROVE), Action.REJECT


def personal(settings: Settings) -> Iterator[Personal]:
    """A channel for each person of the settings; raises SettingsError for one that cannot be used."""
    desk = Desk(Links.open(settings), Rules.load(settings.console.policy_file), InventoryFile(settings))
    for number, person in enumerate(settings.links.people, 1):
        target = target_of(
            person.url.get_secret_value(), f"FIREBREAK_LINKS__PEOPLE: the url of number {number}"
        )
        fan = Fan(f"link for {person.name}", target, settings.notify.timeout_seconds)
        yield Personal(person, fan, desk)
