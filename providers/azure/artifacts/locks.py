"""Management locks of Firebreak's own: named after the workload, so that several may lock one resource."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import ClassVar
from urllib.parse import quote

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.session import owner_mark
from providers.azure.answers import AzureFailure, RestError, error_code, translated
from providers.azure.artifacts.freeze import refused
from providers.azure.existence import absent
from providers.azure.ids import ResourceId, same
from providers.azure.resources.artifacts import LockedResource
from providers.azure.session import AzureAccess, AzureMeasure

LOCKS_VERSION = "2020-05-01"
"""api-version of Microsoft.Authorization/locks."""
DIAGNOSTICS_VERSION = "2021-05-01-preview"
"""api-version of Microsoft.Insights/diagnosticSettings; no other one is published."""
RESOURCES_VERSION = "2021-04-01"
"""api-version of ``Microsoft.Resources``."""
USE_LOCKS = (
    "Microsoft.Authorization/locks/read",
    "Microsoft.Authorization/locks/write",
    "Microsoft.Authorization/locks/delete",
)
# "Lock your resources to protect your infrastructure".
SCOPE_LOCKED = frozenset({"ScopeLocked"})
_CANARY = "firebreak-canary"


@dataclass(frozen=True)
class OwnLock:
    """The lock of one workload on one resource; its notes keep what the first workload found there."""

    access: AzureAccess
    scope: str
    level: str
    purpose: str

    @property
    def name(self) -> str:
        """The lock's name, the workload's own."""
        return f"{self._prefix}{owner_mark(self.access.run)}"

    @property
    def _prefix(self) -> str:
        return f"firebreak-{self.purpose}-"

    def notes(self) -> dict[str, JsonObject]:
        """What each workload's lock says was there before, by the lock's name."""
        with translated(self.scope):
            locks = list(self.access.arm().pages(f"{self.scope}/providers/{_LOCKS}", LOCKS_VERSION))
        mine = [each for each in locks if each["name"].startswith(self._prefix) and self._is_here(each["id"])]
        return {each["name"]: json.loads(each["properties"].get("notes") or "{}") for each in mine}

    def _is_here(self, lock_id: str) -> bool:
        """Listings also hold the locks of scopes above and below."""
        parent = ResourceId.parse(lock_id).segments[:-4]
        return same("/" + "/".join(parent), self.scope)

    def is_set(self) -> bool:
        """Whether the workload's lock is there, at its level."""
        with translated(self.scope):
            found_lock = self.access.arm().get(self._path, LOCKS_VERSION)
        return found_lock is not None and found_lock["properties"]["level"] == self.level

    def set(self, before: JsonObject) -> None:
        """Lock."""
        notes = json.dumps(before, sort_keys=True)
        body = {"properties": {"level": self.level, "notes": notes}}
        with translated(self.scope):
            self.access.arm().put(self._path, body, LOCKS_VERSION)

    def remove(self) -> bool:
        """Unlock; True where no other workload's lock of this purpose is left."""
        with translated(self.scope):
            self.access.arm().delete(self._path, LOCKS_VERSION)
        return not self.notes()

    @property
    def _path(self) -> str:
        return f"{self.scope}/providers/{_LOCKS}/{quote(self.name)}"


_LOCKS = "Microsoft.Authorization/locks"


class LockResource(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.ARTIFACT_FREEZE, name="lock-resource"):
    """Put a CanNotDelete lock on the resource, so that nobody deletes what holds the artifacts.

    Applied after everything else of the phase, and removed first: a lock also keeps what is below the
    resource, role assignments included. It binds the control plane alone; blobs and images have freezes of
    their own. The proof is a deletion of a diagnostic setting that is not there: answered in peace, refused
    under the lock.
    """

    last_in_phase: ClassVar[bool] = True

    permissions = (
        *on_target(*USE_LOCKS, "Microsoft.Insights/diagnosticSettings/delete"),
        *on_any("Microsoft.Resources/subscriptions/resources/read"),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared resource."""
        return targets_of(workload, of_kind(workload.artifacts, LockedResource))

    def discover(self, target: Target) -> list[Target]:
        """The resource; raises AbsentError where it does not exist.

        Any type can be locked, so that it is looked for in the subscription's list, which needs no
        api-version of its own; what is part of another resource is not listed there, and not looked for.
        """
        wanted = ResourceId.parse(target.ref)
        if wanted.type.count("/") == 1:
            place, query = f"{self.access.scope}/resources", {"$filter": f"resourceType eq '{wanted.type}'"}
            with translated(target.ref):
                listed = list(self.access.arm().pages(place, RESOURCES_VERSION, query=query))
            if not any(same(str(each["id"]), target.ref) for each in listed):
                raise absent(target.ref, "the resource that is to be locked")
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Read whether the workload's lock is there already."""
        return {"locked": self._lock(target).is_set()}

    def apply(self, target: Target, state: State) -> Change:
        """Try the deletion while it still works, then lock."""
        lock = self._lock(target)
        changed = not lock.is_set()
        control = self._control(target) if changed else "locked"
        if changed:
            lock.set({})
        return self.done(target, state, changed=changed, lock=lock.name, control=control)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try the deletion again, and read the lock back."""
        locked = self._lock(target).is_set()
        return (
            refused("delete below the resource", partial(self._attempt, target), SCOPE_LOCKED),
            found(
                Method.CONFIGURATION,
                f"the CanNotDelete lock is {'there' if locked else 'NOT there'}",
                holds=locked,
                control=change.after["control"],
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Remove the workload's lock, unless it was there before."""
        lock = self._lock(change.target)
        if not change.before["locked"]:
            lock.remove()
        locked = lock.is_set()
        return found(
            Method.CONFIGURATION,
            f"the workload's lock is {'there' if locked else 'gone'}",
            holds=locked == change.before["locked"],
        )

    def _lock(self, target: Target) -> OwnLock:
        return OwnLock(self.access, target.ref, "CanNotDelete", "resource")

    def _attempt(self, target: Target) -> None:
        path = f"{target.ref}/providers/Microsoft.Insights/diagnosticSettings/{_CANARY}"
        self.access.arm().delete(path, DIAGNOSTICS_VERSION)

    def _control(self, target: Target) -> str:
        """Make the attempt before the lock is there; refused only where somebody's lock is there already."""
        with translated(target.ref):
            try:
                self._attempt(target)
            except RestError as error:
                if not is_locked(error):
                    raise
                return "locked by somebody else before"
        return "worked before"


def is_locked(error: AzureFailure) -> bool:
    """Tell whether a lock refused the call."""
    return error_code(error) in SCOPE_LOCKED
