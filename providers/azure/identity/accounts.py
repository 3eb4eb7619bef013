"""What can be disabled in the directory: a service principal, or an agent's own user account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from firebreak.errors import PermanentCloudError
from firebreak.measure import found
from firebreak.model import Finding, JsonObject, Method
from providers.azure.answers import RestError, translated
from providers.azure.existence import absent
from providers.azure.identity import principals
from providers.azure.session import AzureAccess

BAD_REQUEST = 400
USER_FIELDS = "id,accountEnabled,signInSessionsValidFromDateTime"


class Account(Protocol):
    """One account of the directory."""

    def enabled(self) -> bool:
        """Read whether it is enabled; raises PermanentCloudError when there is none."""
        ...

    def switch(self, *, enabled: bool) -> str:
        """Enable or disable it; returns why the platform does not have that, empty where it does."""
        ...

    def end_sessions(self, since: datetime) -> bool:
        """Revoke sign-in sessions from before a time, where there are such; tells whether it had to."""
        ...

    def findings(self, since: datetime) -> tuple[Finding, ...]:
        """Observe that it is disabled, and that sessions from before a time are revoked."""
        ...


@dataclass(frozen=True)
class ServiceAccount:
    """A service principal. It has no sessions that could be revoked."""

    access: AzureAccess
    object_id: str

    def enabled(self) -> bool:
        """Read ``accountEnabled``."""
        return bool(principals.directory_object(self.access, self.object_id).get("accountEnabled", True))

    def switch(self, *, enabled: bool) -> str:
        """Set ``accountEnabled``; a managed identity's principal is said to be refused as such by a 400."""
        try:
            with translated(self.object_id):
                self.access.graph().patch(f"/servicePrincipals/{self.object_id}", {"accountEnabled": enabled})
        except PermanentCloudError as error:
            cause = error.__cause__
            kind = principals.directory_object(self.access, self.object_id).get("servicePrincipalType")
            if kind != "ManagedIdentity" or not isinstance(cause, RestError) or cause.status != BAD_REQUEST:
                raise
            return f"Microsoft Graph does not disable this managed identity: {error.message}"
        return ""

    def end_sessions(self, since: datetime) -> bool:
        """Nothing: Graph has no such call for service principals."""
        return False

    def findings(self, since: datetime) -> tuple[Finding, ...]:
        """Whether it reads disabled."""
        enabled = self.enabled()
        text = "is still enabled" if enabled else "is disabled"
        return (found(Method.CONFIGURATION, f"the service principal {text}", holds=not enabled),)


@dataclass(frozen=True)
class UserAccount:
    """The user account of an agent."""

    access: AzureAccess
    object_id: str

    def enabled(self) -> bool:
        """Read ``accountEnabled``."""
        return bool(self._read()["accountEnabled"])

    def switch(self, *, enabled: bool) -> str:
        """Set ``accountEnabled``."""
        with translated(self.object_id):
            self.access.graph().patch(f"/users/{self.object_id}", {"accountEnabled": enabled})
        return ""

    def end_sessions(self, since: datetime) -> bool:
        """Revoke refresh tokens and session cookies."""
        if _ended(self._read(), since):
            return False
        with translated(self.object_id):
            self.access.graph().post(f"/users/{self.object_id}/revokeSignInSessions")
        return True

    def findings(self, since: datetime) -> tuple[Finding, ...]:
        """Whether it reads disabled, with sessions valid from the trigger on only."""
        user = self._read()
        holds = not user["accountEnabled"] and _ended(user, since)
        text = "is disabled and its sessions are revoked" if holds else "is still usable"
        return (found(Method.CONFIGURATION, f"the agent's user {text}", holds=holds),)

    def _read(self) -> JsonObject:
        with translated(self.object_id):
            user = self.access.graph().get(f"/users/{self.object_id}", query={"$select": USER_FIELDS})
        if user is None:
            raise absent(self.object_id, "the agent's user")
        return user


def _ended(user: JsonObject, since: datetime) -> bool:
    """Read ``signInSessionsValidFromDateTime`` (Graph, user resource type); it has whole seconds."""
    valid_from = user.get("signInSessionsValidFromDateTime")
    return bool(valid_from) and datetime.fromisoformat(str(valid_from)) >= since.replace(microsecond=0)
