"""Elastic Security: a note on the alert.

https://www.elastic.co/docs/api/doc/kibana/operation/operation-persistnoteroute: ``PATCH /api/note`` with
the ``_id`` of the alert's document. Since 8.16 a note needs no Timeline ("Add notes to alerts and events"),
whose id is empty then; older versions want one.
"""

from __future__ import annotations

import re

from firebreak.notify.comments.line import Note
from firebreak.notify.comments.place import Place
from firebreak.settings import ElasticComments


class Elastic(Place):
    """The alerts of one Kibana, or of one of its spaces."""

    name = "elastic"
    ids = re.compile(r"[A-Za-z0-9_-]{16,128}")
    expects = "the _id of an alert"
    settings: ElasticComments

    async def comment(self, uid: str, note: Note) -> None:
        """Write the note."""
        headers = {
            "authorization": f"ApiKey {self.settings.api_key.get_secret_value()}",
            "kbn-xsrf": "firebreak",
            "elastic-api-version": "2023-10-31",
        }
        body = {"note": {"eventId": uid, "note": note.text, "timelineId": self.settings.timeline_id}}
        await self.send("PATCH", f"{self.settings.url}/api/note", headers=headers, json=body)
