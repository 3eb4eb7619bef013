"""Phase 1 on Azure, authentication: Microsoft Entra issues no more tokens to the workload's principal."""

from __future__ import annotations

from datetime import datetime

from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target
from providers.azure.answers import RestError, translated
from providers.azure.identity import principals
from providers.azure.identity.holders import Holders
from providers.azure.identity.issue import ways
from providers.azure.identity.principals import READ_MANAGED, READ_SECRET, RUN_COMMAND, IdentityMeasure
from providers.azure.identity.witness import NO_WAY, FreshIssue
from providers.azure.probes import Control
from providers.azure.resources.identities import ServicePrincipal

WRITE = on_any("graph:Application.ReadWrite.All")
USERS = on_any("graph:User.ReadWrite.All", "graph:User.RevokeSessions.All")
BAD_REQUEST = 400
USER_FIELDS = "id,accountEnabled,signInSessionsValidFromDateTime"


class DisableServicePrincipal(
    IdentityMeasure, cloud=Cloud.AZURE, phase=Phase.IDENTITY_REVOKE, name="disable-service-principal"
):
    """Disable the workload's service principal, and its agent user's sessions: no token is issued.

    Issued tokens stay valid at ARM and Storage until they expire; ``azure.remove-role-assignments`` takes
    their power away. Where Microsoft Graph refuses the change for a managed identity as such, the measure is
    skipped with that reason and counts for nothing. Sessions of an agent user stay revoked after release.
    """

    for_managed = (*READ_MANAGED, *WRITE, *RUN_COMMAND)
    for_service = (*WRITE, *USERS, *READ_SECRET, *RUN_COMMAND)
    permissions = (*READ_MANAGED, *WRITE, *USERS, *READ_SECRET, *RUN_COMMAND)

    def snapshot(self, target: Target) -> JsonObject:
        """Read whether principal and user are enabled, and see whether a token is issued now."""
        principal = principals.read(self.access, target)
        user = self._user(target)
        return {
            "enabled": self._enabled(principal.object_id),
            "user_enabled": bool(user["accountEnabled"]) if user else None,
            "control": self._fresh(target).take().json(),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Disable what is enabled; a user's sessions are revoked once per run."""
        principal = principals.read(self.access, target)
        self._holders(target).hold(_without_control(state.values))
        skipped, disabled = "", self._enabled(principal.object_id)
        if disabled:
            skipped = self._switch(principal.object_id, enabled=False)
        ended = self._end_sessions(target)
        return self.done(
            target,
            state,
            changed=(disabled and not skipped) or ended,
            principal_id=principal.object_id,
            skipped=skipped,
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """A fresh token is refused, and principal and user read disabled."""
        users = self._user_findings(target)
        if change.after["skipped"]:
            text = f"skipped: {change.after['skipped']}"
            return (found(Method.CONFIGURATION, text, holds=True, skipped=True), *users)
        enabled = self._enabled(change.after["principal_id"])
        text = "is still enabled" if enabled else "is disabled"
        listed = found(Method.CONFIGURATION, f"the service principal {text}", holds=not enabled)
        probe = self._fresh(target).observe(Control.of(change.before), change.applied_at)
        return (probe, listed, *users)

    def revert(self, change: Change) -> Finding:
        """Enable what was enabled; leave it to a workload that holds on. Revoked sessions stay revoked."""
        target, holders = change.target, self._holders(change.target)
        before = _without_control(change.before)
        if others := holders.others():
            holders.hand_over(before)
            text = f"stays disabled while {', '.join(others)} is contained; its release enables it"
            return found(Method.CONFIGURATION, text, holds=True, held_by=list(others))
        principal = principals.read(self.access, target)
        wanted = holders.owed(before)[0]
        if self._enabled(principal.object_id) != wanted["enabled"]:
            self._switch(principal.object_id, enabled=wanted["enabled"])
        self._switch_user(target, enabled=wanted["user_enabled"])
        user = self._user(target)
        actual: JsonObject = {
            "enabled": self._enabled(principal.object_id),
            "user_enabled": bool(user["accountEnabled"]) if user else None,
        }
        if actual == wanted:
            holders.released()
        text = "as before" if actual == wanted else "not as before"
        return found(
            Method.CONFIGURATION, f"the service principal is {text}", holds=actual == wanted, **actual
        )

    def _enabled(self, object_id: str) -> bool:
        return bool(principals.directory_object(self.access, object_id).get("accountEnabled", True))

    def _switch(self, object_id: str, *, enabled: bool) -> str:
        """Change the principal; returns why the platform does not have it of a managed identity."""
        try:
            with translated(object_id):
                self.access.graph().patch(f"/servicePrincipals/{object_id}", {"accountEnabled": enabled})
        except PermanentCloudError as error:
            cause = error.__cause__
            kind = principals.directory_object(self.access, object_id).get("servicePrincipalType")
            if kind != "ManagedIdentity" or not isinstance(cause, RestError) or cause.status != BAD_REQUEST:
                raise
            return f"Microsoft Graph does not disable this managed identity: {error.message}"
        return ""

    def _agent(self, target: Target) -> str:
        identity = principals.identity(self.run.workload, target)
        return identity.agent_user if isinstance(identity, ServicePrincipal) else ""

    def _user(self, target: Target) -> JsonObject | None:
        agent = self._agent(target)
        if not agent:
            return None
        with translated(agent):
            user = self.access.graph().get(f"/users/{agent}", query={"$select": USER_FIELDS})
        if user is None:
            raise PermanentCloudError("there is no such user", resource=agent, remedy="correct agent_user")
        return user

    def _end_sessions(self, target: Target) -> bool:
        user = self._user(target)
        if user is None:
            return False
        disabled = self._switch_user(target, enabled=False)
        if self._sessions_ended(user):
            return disabled
        with translated(user["id"]):
            self.access.graph().post(f"/users/{user['id']}/revokeSignInSessions")
        return True

    def _switch_user(self, target: Target, *, enabled: bool | None) -> bool:
        user = self._user(target)
        if user is None or enabled is None or bool(user["accountEnabled"]) == enabled:
            return False
        with translated(user["id"]):
            self.access.graph().patch(f"/users/{user['id']}", {"accountEnabled": enabled})
        return True

    def _sessions_ended(self, user: JsonObject) -> bool:
        """Tell whether sessions from before the trigger are refused (Graph, user resource type)."""
        since = user.get("signInSessionsValidFromDateTime")
        triggered = self.run.triggered_at.replace(microsecond=0)  # Graph's times have whole seconds
        return bool(since) and datetime.fromisoformat(str(since)) >= triggered

    def _user_findings(self, target: Target) -> tuple[Finding, ...]:
        user = self._user(target)
        if user is None:
            return ()
        holds = not user["accountEnabled"] and self._sessions_ended(user)
        text = "is disabled and its sessions are revoked" if holds else "is still usable"
        return (found(Method.CONFIGURATION, f"the agent's user {text}", holds=holds),)

    def _fresh(self, target: Target) -> FreshIssue:
        possible = ways(self.access, principals.identity(self.run.workload, target))
        return FreshIssue(self.access, possible[0] if possible else None, NO_WAY)

    def _holders(self, target: Target) -> Holders:
        return Holders(self.context, self.name, target)


def _without_control(values: JsonObject) -> JsonObject:
    return {name: value for name, value in values.items() if name != "control"}
