"""Comments on the alerts that a run is about, at the places that the settings name and nowhere else.

An alert brings its source's name and its id there. The source's name is ours (docs/webhooks.md), and finds
the place; the id has to have the form of that place's ids, or no request is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from activities.inputs import Page
from activities.notify import Channel
from firebreak.errors import CommentRefusedError, NotCommentedError
from firebreak.notify.comments.elastic import Elastic
from firebreak.notify.comments.line import KINDS, Note, note_of
from firebreak.notify.comments.pagerduty import PagerDutyNotes
from firebreak.notify.comments.place import Place
from firebreak.notify.comments.scc import SecurityCommandCenter
from firebreak.notify.comments.sentinel import SentinelIncidents
from firebreak.notify.comments.splunk import SplunkNotables
from firebreak.notify.comments.wiz import WizIssues
from firebreak.settings import CommentSettings, Settings

PLACES: Mapping[str, type[Place]] = {
    "pagerduty": PagerDutyNotes,
    "splunk": SplunkNotables,
    "elastic": Elastic,
    "sentinel": SentinelIncidents,
    "wiz": WizIssues,
    "scc": SecurityCommandCenter,
}
"""Section of the settings to what comments there."""


class Comment:
    """One comment on one alert: tried again on its own, so that the others are not written twice."""

    def __init__(self, name: str, place: Place, finding: str, note: Note, seconds: float) -> None:
        self.name = name
        self._place = place
        self._finding = finding
        self._note = note
        self._seconds = seconds

    async def deliver(self, page: Page) -> None:
        """Write it; raises NotCommentedError, or CommentRefusedError where trying again is no use."""
        uid = self._place.identified(self._finding)
        if uid is None:
            raise CommentRefusedError(
                f"{self._place.name}: the alert's id is not {self._place.expects}; no comment was sent"
            )
        try:
            await asyncio.wait_for(self._place.comment(uid, self._note), self._seconds)
        except TimeoutError as error:
            raise NotCommentedError(f"{self._place.name} did not answer in {self._seconds:g} s") from error


class Comments:
    """What is to be written for a page: a comment on each alert that came from a place of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._console = settings.console.public_url
        self._seconds = settings.comments.timeout_seconds
        self._places = dict(_places(settings.comments))

    def on(self, page: Page) -> Sequence[Channel]:
        """A channel for each comment; none for pages that an alert's readers need not know."""
        if page.kind not in KINDS:
            return ()
        note = note_of(page, self._console)
        return [
            Comment(
                f"comment {number} ({alert.source})",
                self._places[alert.source],
                alert.finding,
                note,
                self._seconds,
            )
            for number, alert in enumerate(page.alerts, 1)
            if alert.source in self._places
        ]


def _places(settings: CommentSettings) -> list[tuple[str, Place]]:
    found: list[tuple[str, Place]] = []
    for section, kind in PLACES.items():
        chosen = getattr(settings, section)
        if chosen is not None:
            place = kind(chosen, settings.timeout_seconds)
            found += [(source, place) for source in chosen.sources]
    return found
