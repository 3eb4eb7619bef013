"""PagerDuty: a note on the incident.

https://developer.pagerduty.com/api-reference, "Create a note on an incident": ``POST
/incidents/{id}/notes`` with a ``From`` header; at most 2000 notes on an incident. It comes back to us as
``incident.annotated``, which starts nothing.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from firebreak.notify.comments.line import Note
from firebreak.notify.comments.place import Place
from firebreak.settings import PagerDutyComments


class PagerDutyNotes(Place):
    """The incidents of one account."""

    name = "pagerduty"
    ids = re.compile(r"[A-Z0-9]{6,32}")
    expects = "the id of an incident (capital letters and digits)"
    settings: PagerDutyComments

    async def comment(self, uid: str, note: Note) -> None:
        """Write the note."""
        headers = {
            "authorization": f"Token token={self.settings.token.get_secret_value()}",
            "accept": "application/vnd.pagerduty+json;version=2",
            "from": self.settings.from_email,
        }
        url = f"{self.settings.url}/incidents/{quote(uid, safe='')}/notes"
        await self.send("POST", url, headers=headers, json={"note": {"content": note.text}})
