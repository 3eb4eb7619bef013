"""Phase 1 on Azure, authorization: no role assignment reaches the workload's principal any more.

Azure RBAC is evaluated on each call, so that the removal also ends what an issued token may do, once it has
propagated: up to 10 minutes ("Troubleshoot Azure RBAC"). Assignments in other subscriptions are out of sight,
and so are those of Cosmos DB's own roles in accounts of which the workload declares no container.
"""

from __future__ import annotations

from collections.abc import Callable

from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target
from firebreak.probing import Control
from providers.azure.answers import AzureFailure, error_code
from providers.azure.identity import memoryprobes, principals, reach
from providers.azure.identity.holders import Holders
from providers.azure.identity.issue import ways
from providers.azure.identity.principals import (
    DATA_RIGHTS,
    GROUPS,
    READ_MANAGED,
    READ_SECRET,
    RUN_COMMAND,
    IdentityMeasure,
)
from providers.azure.identity.witness import Witness

ASSIGNMENTS = on_any(
    "Microsoft.Authorization/roleAssignments/read",
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleAssignments/delete",
)
SUBJECT = "token issued before the change"
REMEDIES = {
    "ScopeLocked": "a CanNotDelete lock on the scope keeps role assignments too: remove it, then retry",
    "Authorization_RequestDenied": "grant the responder GroupMember.ReadWrite.All, or end the membership",
}
"""What to do about refusals that are no lack of the declared permissions."""


class RemoveRoleAssignments(
    IdentityMeasure, cloud=Cloud.AZURE, phase=Phase.IDENTITY_REVOKE, name="remove-role-assignments"
):
    """Remove every role assignment that reaches the workload's principal; release restores each under its id.

    Direct assignments at, above and below the subscription are deleted, time-bound ones of Privileged
    Identity Management ended. Deleted too are those of Cosmos DB's own roles, in the accounts whose
    containers the workload declares: its memory is neither read nor written any more, which the workload's
    own token shows where it could before. What comes through a
    group is cut by ending the membership, which nobody else feels; where the inventory forbids that
    (``leave_groups``), the measure stays unproven and says so.

    After release, tokens from before the containment work again until they expire, for up to 24 hours.
    """

    for_managed = (*READ_MANAGED, *GROUPS, *ASSIGNMENTS, *DATA_RIGHTS, *RUN_COMMAND)
    for_service = (*GROUPS, *ASSIGNMENTS, *DATA_RIGHTS, *READ_SECRET, *RUN_COMMAND)
    permissions = (*READ_MANAGED, *GROUPS, *ASSIGNMENTS, *DATA_RIGHTS, *READ_SECRET, *RUN_COMMAND)

    def snapshot(self, target: Target) -> JsonObject:
        """Read every assignment and membership, and take the positive control."""
        principal = principals.read(self.access, target)
        present = reach.read(self.access, principal.object_id).json()
        control = self._witness(target).take(principal)
        listed_only = memoryprobes.listed_only(self.access, present, control)
        return {**present, "control": {**control.json(), "listed_only": list(listed_only)}}

    def apply(self, target: Target, state: State) -> Change:
        """Remove whatever reaches the principal now, including what was assigned since the snapshot."""
        principal = principals.read(self.access, target)
        present = reach.read(self.access, principal.object_id)
        self._holders(target).hold(reach.without_control(state.values))
        kept: dict[str, str] = {}
        removed = [
            what
            for what, remove in reach.removals(self.access, principal.object_id, present)
            if _tried(what, remove, kept)
        ]
        return self.done(
            target, state, changed=bool(removed), removed=removed, kept=kept, principal_id=principal.object_id
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The token from before the change is refused, and nothing reaches the principal."""
        probe = self._witness(target).observe(Control.of(change.before), SUBJECT)
        present = reach.read(self.access, change.after["principal_id"])
        left = present.names()
        reasons = [reason for what, reason in change.after["kept"].items() if what in left]
        text = (
            f"{len(left)} still reach the principal: {', '.join(left)}" if left else "no assignment is left"
        )
        listed = found(
            Method.EFFECTIVE_POLICY, "; ".join([text, *reasons]), holds=not left, left=left, kept=reasons
        )
        return probe, listed

    def revert(self, change: Change) -> Finding:
        """Restore everything under its own id, with every field; leave it to a workload that holds on."""
        target, holders = change.target, self._holders(change.target)
        before = reach.without_control(change.before)
        if others := holders.others():
            holders.hand_over(before)
            return found(
                Method.EFFECTIVE_POLICY,
                f"stays removed while {', '.join(others)} is contained; its release restores it",
                holds=True,
                held_by=list(others),
            )
        principal = principals.read(self.access, target)
        wanted = reach.joined(holders.owed(before))
        refused: dict[str, str] = {}
        present = reach.read(self.access, principal.object_id, wanted)
        for what, restore in reach.restorations(self.access, principal.object_id, present, wanted):
            _tried(what, restore, refused)
        finding = self._restored(wanted, reach.read(self.access, principal.object_id, wanted), refused)
        if finding.holds:
            holders.released()
        return finding

    def _restored(self, wanted: reach.Reach, actual: reach.Reach, refused: dict[str, str]) -> Finding:
        wrong = wanted.missing_from(actual)
        text = f"{len(wanted.names())} assignments and memberships restored"
        if wrong:
            text = "; ".join([f"not as before: {', '.join(wrong)}", *refused.values()])
        new = [name for name in actual.names() if name not in wanted.names()]
        return found(
            Method.EFFECTIVE_POLICY, text, holds=not wrong, refused=refused, made_meanwhile_and_left=new
        )

    def _holders(self, target: Target) -> Holders:
        return Holders(self.context, self.name, target)

    def _witness(self, target: Target) -> Witness:
        identity = principals.identity(self.run.workload, target)
        memory = memoryprobes.memory_probes(self.access).values()
        return Witness(self.context, self.name, target, ways(self.access, identity), memory)


def _tried(what: str, act: Callable[[], None], refused: dict[str, str]) -> bool:
    """Do one of several things; a refusal is kept with its reason and does not stop the others."""
    try:
        act()
    except PermanentCloudError as error:
        refused[what] = f"{what}: {error.message}{_remedy(error)}"
        return False
    return True


def _remedy(error: PermanentCloudError) -> str:
    cause = error.__cause__
    code = error_code(cause) if isinstance(cause, AzureFailure) else ""
    return f" Next: {REMEDIES[code]}" if code in REMEDIES else ""
