"""Splunk Enterprise Security: a comment on the notable event, a finding since version 8.

https://docs.splunk.com/Documentation/ES/latest/API/NotableEventAPI: ``POST /services/notable_update`` with
``ruleUIDs`` and ``comment``, here without a status, owner or urgency, so that none of them changes.
"""

from __future__ import annotations

import re

from firebreak.errors import CommentRefusedError
from firebreak.notify.comments.line import Note
from firebreak.notify.comments.place import GUID, Place
from firebreak.settings import SplunkComments


class SplunkNotables(Place):
    """The notable events of one search head."""

    name = "splunk"
    ids = re.compile(GUID + r"@@[A-Za-z0-9_]{1,64}@@[A-Za-z0-9_]{1,80}")
    expects = "the event_id of a notable event (GUID@@notable@@hash)"
    settings: SplunkComments

    async def comment(self, uid: str, note: Note) -> None:
        """Write the comment; an answer can be 200 and still say that nothing was written."""
        answer = await self.send(
            "POST",
            f"{self.settings.url}/services/notable_update",
            headers={"authorization": f"Bearer {self.settings.token.get_secret_value()}"},
            data={"ruleUIDs": uid, "comment": note.text, "output_mode": "json"},
        )
        if self.document(answer).get("success") is False:
            raise CommentRefusedError("splunk did not write the comment")
