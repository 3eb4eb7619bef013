"""Phase 1 on Azure, federation: nobody outside exchanges a token for one of the workload's."""

from __future__ import annotations

from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Control
from providers.azure.identity import principals
from providers.azure.identity.federation import PROBE_CREDENTIAL, Store, store_of
from providers.azure.identity.holders import Holders
from providers.azure.identity.issue import Federated
from providers.azure.identity.principals import READ_MANAGED, IdentityMeasure
from providers.azure.identity.witness import FreshIssue

WRITE_MANAGED = on_target(
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete",
)
WRITE_SERVICE = on_any("graph:Application.ReadWrite.All")


class RemoveFederatedCredentials(
    IdentityMeasure, cloud=Cloud.AZURE, phase=Phase.IDENTITY_REVOKE, name="remove-federated-credentials"
):
    """Remove every federated credential of the workload's identity; release restores each as it was.

    Also the one named ``firebreak-probe``, by which the refusal of a fresh token is proved. On an app
    registration a restored credential has its old name and contents under a new id, chosen by Graph.
    """

    for_managed = (*READ_MANAGED, *WRITE_MANAGED)
    for_service = WRITE_SERVICE
    permissions = (*READ_MANAGED, *WRITE_MANAGED, *WRITE_SERVICE)

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The identities that can have any: a service principal only with its app registration."""
        declared = super().applies_to(workload)
        return [each for each in declared if _registered(workload, each)]

    def snapshot(self, target: Target) -> JsonObject:
        """Read every credential, and see whether Firebreak's own is exchanged for a token now."""
        principals.read(self.access, target)
        credentials = self._store(target).read()
        return {"credentials": credentials, "control": self._fresh(target, credentials).take().json()}

    def apply(self, target: Target, state: State) -> Change:
        """Remove whatever is there now, including what was added since the snapshot."""
        store = self._store(target)
        removed = sorted(store.read())
        self._holders(target).hold({"credentials": state.values["credentials"]})
        for name in removed:
            store.remove(name)
        return self.done(target, state, changed=bool(removed), removed=removed)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """A fresh exchange is refused, and none is left."""
        left = sorted(self._store(target).read())
        text = f"still there: {', '.join(left)}" if left else "no federated credential is left"
        listed = found(Method.CONFIGURATION, text, holds=not left, left=left)
        if not change.before["credentials"] and not change.after.get("removed"):
            return (listed,)  # there was no such way in, so there is nothing to try
        fresh = self._fresh(target, change.before["credentials"])
        return fresh.observe(Control.of(change.before), change.applied_at), listed

    def revert(self, change: Change) -> Finding:
        """Restore every credential that is not there as it was; leave it to a workload that holds on."""
        target, holders = change.target, self._holders(change.target)
        before = {"credentials": change.before["credentials"]}
        if others := holders.others():
            holders.hand_over(before)
            text = f"stay removed while {', '.join(others)} is contained; its release restores them"
            return found(Method.CONFIGURATION, text, holds=True, held_by=list(others))
        wanted: JsonObject = {}
        for each in holders.owed(before):
            wanted = {**each["credentials"], **wanted}
        store = self._store(target)
        present = store.read()
        for name, properties in wanted.items():
            if present.get(name) != properties:
                store.write(name, properties)
        actual = store.read()
        wrong = sorted(name for name, properties in wanted.items() if actual.get(name) != properties)
        if not wrong:
            holders.released()
        text = (
            f"not as before: {', '.join(wrong)}" if wrong else f"{len(wanted)} federated credentials restored"
        )
        new = sorted(set(actual) - set(wanted))
        return found(Method.CONFIGURATION, text, holds=not wrong, made_meanwhile_and_left=new)

    def _store(self, target: Target) -> Store:
        store = store_of(self.access, principals.identity(self.run.workload, target))
        if store is None:  # applies_to leaves such targets out
            raise ValueError(target.ref)
        return store

    def _fresh(self, target: Target, credentials: JsonObject) -> FreshIssue:
        if PROBE_CREDENTIAL not in credentials:
            return FreshIssue([], f"the identity has no federated credential named {PROBE_CREDENTIAL}")
        return FreshIssue([Federated(self.access, principals.identity(self.run.workload, target))])

    def _holders(self, target: Target) -> Holders:
        return Holders(self.context, self.name, target)


def _registered(workload: Workload, target: Target) -> bool:
    identity = principals.identity(workload, target)
    return target.kind == principals.MANAGED or bool(getattr(identity, "application_object_id", ""))
