"""Wiz: a note on the issue, by the GraphQL mutation ``createIssueNote``.

The API's reference is for customers only; the mutation and the client credentials are as in the integration
that Wiz publishes for Cortex XSOAR (demisto/content, ``Packs/Wiz/Integrations/Wiz/Wiz.py``,
``CREATE_COMMENT_QUERY``).
"""

from __future__ import annotations

import re

from firebreak.errors import CommentRefusedError
from firebreak.notify.comments.line import Note
from firebreak.notify.comments.place import GUID, Place
from firebreak.notify.comments.tokens import bearer
from firebreak.settings import WizComments

MUTATION = (
    "mutation CreateIssueNote($input: CreateIssueNoteInput!) "
    "{ createIssueNote(input: $input) { issueNote { id } } }"
)
AUDIENCE = "wiz-api"


class WizIssues(Place):
    """The issues of one tenant."""

    name = "wiz"
    ids = re.compile(GUID)
    expects = "the id of an issue (a GUID)"
    settings: WizComments

    async def comment(self, uid: str, note: Note) -> None:
        """Write the note; GraphQL answers 200 for what it did not do."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.settings.client_id,
            "client_secret": self.settings.client_secret.get_secret_value(),
            "audience": AUDIENCE,
        }
        authorization = await bearer(self.send, self.name, self.settings.token_url, form)
        body = {"query": MUTATION, "variables": {"input": {"issueId": uid, "text": note.text}}}
        answer = await self.send("POST", self.settings.url, headers=authorization, json=body)
        if self.document(answer).get("errors"):
            raise CommentRefusedError("wiz did not write the note")
