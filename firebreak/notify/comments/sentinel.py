"""Microsoft Sentinel: a comment on the incident.

https://learn.microsoft.com/rest/api/securityinsights/incident-comments/create-or-update: ``PUT`` under a
GUID that the caller makes, here the same one for every attempt. A comment is an update of the incident, for
which an automation rule on updates sends the incident again: ``web.webhook.sources.sentinel`` knows it by
what it says.
"""

from __future__ import annotations

import re
from uuid import NAMESPACE_URL, uuid5

from firebreak.notify.comments.line import Note
from firebreak.notify.comments.place import GUID, Place
from firebreak.notify.comments.tokens import bearer
from firebreak.settings import SentinelComments

API_VERSION = "2024-09-01"


class SentinelIncidents(Place):
    """The incidents of one workspace; what an alert says of another one makes no request."""

    name = "sentinel"
    ids = re.compile(GUID)
    expects = "an incident of the workspace of the settings"
    settings: SentinelComments

    def identified(self, finding: str) -> str | None:
        """The GUID at the end of an ARM id, where all before it is our workspace; ARM ids ignore case."""
        before, _, guid = finding.rpartition("/")
        return super().identified(guid) if before.lower() == f"{self._incidents()}".lower() else None

    async def comment(self, uid: str, note: Note) -> None:
        """Write the comment, under a name that is made from the page."""
        name = uuid5(NAMESPACE_URL, f"firebreak:{uid}/{note.key}")
        authorization = await bearer(self.send, self.name, self._token_url(), self._form())
        await self.send(
            "PUT",
            f"{self.settings.url}{self._incidents()}/{uid}/comments/{name}?api-version={API_VERSION}",
            headers=authorization,
            json={"properties": {"message": note.text}},
        )

    def _incidents(self) -> str:
        return f"{self.settings.workspace}/providers/Microsoft.SecurityInsights/Incidents"

    def _token_url(self) -> str:
        return f"{self.settings.authority}/{self.settings.tenant_id}/oauth2/v2.0/token"

    def _form(self) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_id": self.settings.client_id,
            "client_secret": self.settings.client_secret.get_secret_value(),
            "scope": self.settings.scope,
        }
