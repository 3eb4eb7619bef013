"""Phase 1 on Azure, authentication: Microsoft Entra issues no more tokens to the workload's principal."""

from __future__ import annotations

from firebreak.declarations import of_kind
from firebreak.measure import Permission, found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Control
from providers.azure.identity import principals
from providers.azure.identity.accounts import Account, ServiceAccount, UserAccount
from providers.azure.identity.holders import Holders
from providers.azure.identity.issue import ways
from providers.azure.identity.principals import READ_MANAGED, READ_SECRET, RUN_COMMAND, IdentityMeasure
from providers.azure.identity.witness import FreshIssue
from providers.azure.resources.identities import ServicePrincipal

USER = "agent-user"
WRITE = on_any("graph:Application.ReadWrite.All")
# Microsoft Graph, "Update user": the least that changes accountEnabled.
WRITE_USER = on_any(
    "graph:User.EnableDisableAccount.All", "graph:User.Read.All", "graph:User.RevokeSessions.All"
)


class DisableServicePrincipal(
    IdentityMeasure, cloud=Cloud.AZURE, phase=Phase.IDENTITY_REVOKE, name="disable-service-principal"
):
    """Disable the workload's service principal, and its agent user with all sessions: no token is issued.

    Issued tokens stay valid at ARM and Storage until they expire; ``azure.remove-role-assignments`` takes
    their power away. Where Microsoft Graph refuses the change for a managed identity as such, the measure is
    skipped with that reason and counts for nothing. Sessions of an agent user stay revoked after release.
    """

    for_managed = (*READ_MANAGED, *WRITE, *RUN_COMMAND)
    for_service = (*WRITE, *READ_SECRET, *RUN_COMMAND)
    permissions = (*READ_MANAGED, *WRITE, *WRITE_USER, *READ_SECRET, *RUN_COMMAND)

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared identities, and the users that agents have of their own."""
        agents = [each.agent_user for each in of_kind(workload.identities, ServicePrincipal)]
        place = {"account": workload.account, "region": workload.region}
        users = [Target(kind=USER, ref=each, **place) for each in agents if each]
        return [*super().applies_to(workload), *users]

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """The permissions for a principal of that kind, or for a user."""
        return WRITE_USER if target.kind == USER else super().needed(target)

    def discover(self, target: Target) -> list[Target]:
        """The account itself; refuses Firebreak's own and the protected principals."""
        if target.kind == USER:
            principals.require_spared(self.access, target.ref, {target.ref})
            return [target]
        return super().discover(target)

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Everyone else who runs as the identity; an agent's user is nobody else's."""
        return () if target.kind == USER else super().blast_radius(target)

    def snapshot(self, target: Target) -> JsonObject:
        """Read whether it is enabled, and see whether a token is issued now."""
        control = self._fresh(target).take() if target.kind != USER else Control((), "a user is not probed")
        return {"enabled": self._account(target).enabled(), "control": control.json()}

    def apply(self, target: Target, state: State) -> Change:
        """Disable what is enabled; a user's sessions are revoked once per run."""
        account = self._account(target)
        enabled = account.enabled()
        self._holders(target).hold({"enabled": state.values["enabled"]})
        skipped = account.switch(enabled=False) if enabled else ""
        ended = account.end_sessions(self.run.triggered_at)
        return self.done(target, state, changed=(enabled and not skipped) or ended, skipped=skipped)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """A fresh token is refused, and the account reads disabled."""
        if change.after.get("skipped"):
            text = f"skipped, and not counted on: {change.after['skipped']}"
            return (found(Method.CONFIGURATION, text, holds=True, skipped=True),)
        disabled = self._account(target).findings(self.run.triggered_at)
        if target.kind == USER:
            return disabled
        return (self._fresh(target).observe(Control.of(change.before), change.applied_at), *disabled)

    def revert(self, change: Change) -> Finding:
        """Enable what was enabled; leave it to a workload that holds on. Revoked sessions stay revoked."""
        target, holders = change.target, self._holders(change.target)
        before = {"enabled": change.before["enabled"]}
        if others := holders.others():
            holders.hand_over(before)
            text = f"stays disabled while {', '.join(others)} is contained; its release enables it"
            return found(Method.CONFIGURATION, text, holds=True, held_by=list(others))
        account, wanted = self._account(target), bool(holders.owed(before)[0]["enabled"])
        if account.enabled() != wanted:
            account.switch(enabled=wanted)
        actual = account.enabled()
        if actual == wanted:
            holders.released()
        text = f"is {'enabled' if actual else 'disabled'}{'' if actual == wanted else ', not as before'}"
        return found(Method.CONFIGURATION, f"the account {text}", holds=actual == wanted, enabled=actual)

    def _account(self, target: Target) -> Account:
        if target.kind == USER:
            return UserAccount(self.access, target.ref)
        return ServiceAccount(self.access, principals.read(self.access, target).object_id)

    def _fresh(self, target: Target) -> FreshIssue:
        return FreshIssue(ways(self.access, principals.identity(self.run.workload, target)))

    def _holders(self, target: Target) -> Holders:
        return Holders(self.context, self.name, target)
