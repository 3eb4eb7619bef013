"""Phase 1 on Azure, an extra layer: deny the workload's principal all writes, deletes and actions.

User-assigned deny assignments are in preview and cover neither reads nor data actions (Az.Resources,
"New-AzDenyAssignment"), so that nothing is proved by them: removing the role assignments is what contains.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from uuid import NAMESPACE_URL, uuid5

from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target
from firebreak.session import owner_mark
from providers.azure.answers import translated
from providers.azure.identity import principals
from providers.azure.identity.principals import READ_MANAGED, READ_SERVICE, IdentityMeasure
from providers.azure.ids import SUBSCRIPTION_ID

VERSION = "2024-07-01-preview"
DENY = on_any(
    "Microsoft.Authorization/denyAssignments/read",
    "Microsoft.Authorization/denyAssignments/write",
    "Microsoft.Authorization/denyAssignments/delete",
)


class DenyAssignment(IdentityMeasure, cloud=Cloud.AZURE, phase=Phase.IDENTITY_REVOKE, name="deny-assignment"):
    """Deny the workload's principal every write, delete and action; skipped where the preview is not there.

    The responder and the protected principals are excluded from it.
    """

    for_managed = (*READ_MANAGED, *DENY)
    for_service = (*READ_SERVICE, *DENY)
    permissions = (*READ_MANAGED, *READ_SERVICE, *DENY)

    def snapshot(self, target: Target) -> JsonObject:
        """Read the deny assignment that may have our name, and whether the preview answers."""
        principal = principals.read(self.access, target)
        try:
            return {"deny": self._read(principal.object_id), "unavailable": ""}
        except PermanentCloudError as error:
            # The preview is probed by asking: a refusal is the answer, kept as the reason to skip.
            return {"deny": None, "unavailable": error.message}

    def apply(self, target: Target, state: State) -> Change:
        """Create it where it is not in force as wanted; a refusal is recorded as the reason to skip."""
        principal = principals.read(self.access, target)
        after = {"principal_id": principal.object_id, "skipped": state.values["unavailable"]}
        wanted = self._wanted(principal.object_id)
        if after["skipped"] or self._read(principal.object_id) == wanted:
            return self.done(target, state, changed=False, **after)
        try:
            self._write(principal.object_id, wanted)
        except PermanentCloudError as error:
            return self.done(target, state, changed=False, **{**after, "skipped": error.message})
        return self.done(target, state, changed=True, **after)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """It stands as written; a skipped one says so and proves nothing."""
        skipped = change.after["skipped"]
        if skipped:
            text = f"skipped, and not counted on: {skipped}"
            return (found(Method.CONFIGURATION, text, holds=True, skipped=True),)
        actual = self._read(change.after["principal_id"])
        holds = actual == self._wanted(change.after["principal_id"])
        text = "is in force as written" if holds else "was altered" if actual else "is absent"
        return (found(Method.EFFECTIVE_POLICY, f"the deny assignment {text}", holds=holds, deny=actual),)

    def revert(self, change: Change) -> Finding:
        """Delete it, or put back what had its name before."""
        object_id, before = change.after["principal_id"], change.before["deny"]
        if change.after["skipped"]:
            return found(Method.EFFECTIVE_POLICY, "was skipped: nothing to restore", holds=True, skipped=True)
        if before is None:
            with translated(change.target.ref):
                self.access.arm().delete(self._path(object_id), VERSION)
        elif self._read(object_id) != before:
            self._write(object_id, before)
        actual = self._read(object_id)
        text = "restored" if actual == before else "differs from the pre-state"
        return found(Method.EFFECTIVE_POLICY, f"deny assignment {text}", holds=actual == before, deny=actual)

    def begun(self, target: Target, state: State) -> Change:
        """The principal it is for."""
        principal = principals.read(self.access, target)
        skipped = state.values["unavailable"]
        return self.done(target, state, changed=True, principal_id=principal.object_id, skipped=skipped)

    def _path(self, object_id: str) -> str:
        """One for each workload and principal: two that share a principal are released on their own."""
        name = uuid5(NAMESPACE_URL, f"firebreak {owner_mark(self.run)} {object_id.lower()}")
        return f"{self.access.scope}/providers/Microsoft.Authorization/denyAssignments/{name}"

    def _read(self, object_id: str) -> JsonObject | None:
        with translated(object_id):
            actual = self.access.arm().get(self._path(object_id), VERSION)
        if actual is None:
            return None
        return {name: actual["properties"].get(name) for name in _template()}

    def _write(self, object_id: str, wanted: JsonObject) -> None:
        with translated(object_id):
            self.access.arm().put(self._path(object_id), {"properties": wanted}, VERSION)

    def _wanted(self, object_id: str) -> JsonObject:
        return {
            **_template(),
            "denyAssignmentName": f"Firebreak {self.run.workload.id} {owner_mark(self.run)} {object_id[:8]}",
            "principals": [{"id": object_id, "type": "ServicePrincipal"}],
            "excludePrincipals": self._spared(),
        }

    def _spared(self) -> list[JsonObject]:
        """The responder, and the protected principals that are declared by object id."""
        own = self.access.reached().claims(self.access.endpoints.arm_scope)["oid"]
        protected = self.access.settings.guard.protected_principals
        people = sorted(each for each in protected if SUBSCRIPTION_ID.match(each) and each != own)
        # Break-glass accounts are users (Microsoft Entra, "Manage emergency access accounts").
        return [{"id": own, "type": "ServicePrincipal"}, *({"id": each, "type": "User"} for each in people)]


@lru_cache(maxsize=1)
def _template() -> JsonObject:
    text = files("providers.azure").joinpath("policies/deny-assignment.json").read_text(encoding="utf-8")
    template: JsonObject = json.loads(text)
    return template
