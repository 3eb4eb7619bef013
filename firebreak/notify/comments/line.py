"""What a comment says: one line of plain text, in our words and never in an alert's."""

from __future__ import annotations

from dataclasses import dataclass

from activities.inputs import Page
from firebreak.model import Mode

KINDS = frozenset({"started", "gate", "decision_needed", "verdict"})
"""The pages that the readers of an alert want to know; a release begins and ends as a run does."""
ASKED = "waits for the decision of a person"
"""In place of the reason, which tells too much about the workload for whoever reads the alert."""
LENGTH = 500


@dataclass(frozen=True)
class Note:
    """A comment, and a name that stays the same when it is sent again."""

    text: str
    key: str


def note_of(page: Page, console: str) -> Note:
    """The comment for a page, with the console's address where it is known."""
    said = ASKED if page.kind == "decision_needed" else page.message
    drill = " (drill)" if page.mode is Mode.DRILL else ""
    text = _one_line(f"Firebreak {page.incident_id}{drill}: {said}")[:LENGTH]
    if console:
        text += f" {console.rstrip('/')}/incidents/{page.incident_id}"
    at = page.at.isoformat() if page.at else ""
    return Note(text, f"{page.incident_id}/{page.kind}/{page.phase or 0}/{at}")


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
