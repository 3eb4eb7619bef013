"""Google Security Command Center: the security mark ``firebreak`` of the finding, which holds the last line.

Security Command Center REST reference v2, ``organizations.sources.locations.findings.updateSecurityMarks``
and ``SecurityMarks`` (a value has 1 to 4096 characters): findings take no comments, and a mark is the free
text that others may set. It leaves ``eventTime`` as it is, so that a notification about it is known as a
repeat.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from firebreak.notify.comments.line import Note
from firebreak.notify.comments.place import Place
from firebreak.notify.comments.tokens import JWT_BEARER, ServiceAccount, bearer
from firebreak.settings import SccComments

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""The one that the method asks for."""
MARK = "firebreak"


class SecurityCommandCenter(Place):
    """The findings below one organization, folder or project."""

    name = "scc"
    ids = re.compile(
        r"(organizations|folders|projects)/[0-9a-z-]{1,64}/sources/[0-9-]{1,32}"
        r"(/locations/[a-z0-9-]{1,32})?/findings/[A-Za-z0-9_-]{1,128}"
    )
    expects = "a finding below the parent of the settings"
    settings: SccComments

    def __init__(self, settings: SccComments, timeout: float) -> None:
        super().__init__(settings, timeout)
        self._account = ServiceAccount.read(
            settings.service_account.get_secret_value(), "FIREBREAK_COMMENTS__SCC__SERVICE_ACCOUNT"
        )

    def identified(self, finding: str) -> str | None:
        """The finding's relative name, where it is below our parent."""
        inside = finding.startswith(f"{self.settings.parent}/sources/")
        return super().identified(finding) if inside else None

    async def comment(self, uid: str, note: Note) -> None:
        """Set our mark and leave the others as they are."""
        form = {
            "grant_type": JWT_BEARER,
            "assertion": self._account.assertion(self.settings.token_url, SCOPE),
        }
        authorization = await bearer(self.send, self.name, self.settings.token_url, form)
        url = f"{self.settings.url}/v2/{quote(uid)}/securityMarks?updateMask=marks.{MARK}"
        await self.send("PATCH", url, headers=authorization, json={"marks": {MARK: note.text}})
