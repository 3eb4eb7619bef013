"""Withdraw a model version from the registry's active versions, and let nobody give it back."""

from __future__ import annotations

import re
from functools import partial
from hashlib import sha256

import rfc8785

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import TransientCloudError
from firebreak.measure import Permission, found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.azure.answers import RestError, translated
from providers.azure.artifacts.container import STORAGE_VERSION
from providers.azure.artifacts.freeze import refused
from providers.azure.artifacts.locks import SCOPE_LOCKED, USE_LOCKS, OwnLock, is_locked
from providers.azure.existence import existing
from providers.azure.ids import ResourceId
from providers.azure.resources.artifacts import BlobContainer, MlModel
from providers.azure.session import AzureMeasure

ML_VERSION = "2024-10-01"
"""api-version of Microsoft.MachineLearningServices."""
_ML = "Microsoft.MachineLearningServices"
_STORAGE_READ = "Microsoft.Storage/storageAccounts/blobServices/containers/read"
_DATASTORE = re.compile(r"^azureml://(?:.*/)?datastores/([^/]+)/paths/", re.IGNORECASE)
_BLOB = re.compile(r"^https://([a-z0-9]+)\.blob\.[a-z0-9.]+/([^/]+)/", re.IGNORECASE)
_DEFINITION = ("modelUri", "modelType", "flavors", "jobName")
ATTEMPTS = 5
"""To archive and lock before somebody activates the version again; the engine tries more often."""
Place = tuple[str, str]
"""Storage account and container."""


class ArchiveModel(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.ARTIFACT_FREEZE, name="archive-model"):
    """Archive the model version and put a read-only lock on it, so that it is neither changed nor deleted.

    Archiving hides a version and blocks nothing: whoever may write deployments can still deploy it. What
    blocks is the lock (no update, no deletion of the version), the hold on the container with the version's
    files, and the roles that phase 1 took from the workload; of these the first two are proved here. The
    workspace's older data plane knows no locks. The control of the probe is the archiving itself: the same
    call is refused once the lock is there.
    """

    permissions = (
        *on_target(
            *USE_LOCKS,
            *(
                f"{_ML}/{place}/models/versions/{verb}"
                for place in ("workspaces", "registries")
                for verb in ("read", "write")
            ),
        ),
        *on_any(f"{_ML}/workspaces/datastores/read", _STORAGE_READ),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared model version."""
        return targets_of(workload, of_kind(workload.artifacts, MlModel))

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The model: listing its versions is a right there."""
        return ("/" + "/".join(ResourceId.parse(target.ref).segments[:-2]),)

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """A workspace's version needs none of a registry's rights, and the other way round."""
        other = f"{_ML}/workspaces/" if _is_of_registry(target) else f"{_ML}/registries/"
        return tuple(each for each in cls.permissions if not each.action.startswith(other))

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:
        """The workspace whose datastore is looked up, and the declared containers."""
        if action == _STORAGE_READ:
            containers = of_kind((*workload.artifacts, *workload.stores), BlobContainer)
            return tuple(each.ref for each in containers) or super().places(action, target, workload)
        return (_workspace(target),)

    def discover(self, target: Target) -> list[Target]:
        """The version, which has to be there."""
        self._version(target)
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Read whether it is archived; for another workload's freeze, what that one found."""
        version, notes = self._version(target), self._lock(target).notes()
        if notes:
            return dict(next(iter(notes.values())))
        return {"archived": bool(version.get("isArchived"))}

    def apply(self, target: Target, state: State) -> Change:
        """Archive the version, which is the control, then lock it and record the hash of its definition."""
        lock = self._lock(target)
        locked = lock.is_set()
        changed = not (locked and self._is_archived(target))
        if changed:
            if locked:
                lock.remove()  # of an attempt that ended early: under it nothing can be archived
            self._withdraw(target, lock, state.values)
        return self.done(
            target,
            state,
            changed=changed,
            lock=lock.name,
            definition=self._definition_hash(target),
            artifacts=[self._artifact(target)],
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try to write the version, and read archive, lock, definition and the hold on its files back.

        The attempt repeats what the version says already, so that it changes nothing where it is let through.
        """
        version, locked = self._version(target), self._lock(target).is_set()
        archived = bool(version.get("isArchived"))
        offered = self._is_offered(target)
        return (
            refused("update the version", partial(self._put, target, version), SCOPE_LOCKED),
            found(
                Method.CONFIGURATION,
                f"{'archived' if archived else 'NOT archived'}, {'locked' if locked else 'NOT locked'}",
                holds=archived and locked,
            ),
            found(
                Method.EFFECTIVE_POLICY,
                f"{'still among' if offered else 'not among'} the active versions",
                holds=not offered,
            ),
            self.intact(target, change),
            self._files_held(version, target),
        )

    def intact(self, target: Target, change: Change) -> Finding:
        """Hash the definition again."""
        same = self._definition_hash(target) == change.after["definition"]
        return found(
            Method.CONFIGURATION, f"the definition is {'unchanged' if same else 'changed'}", holds=same
        )

    def revert(self, change: Change) -> Finding:
        """Unlock, then restore what was there, unless another workload's lock counts on the archive."""
        target, before = change.target, change.before
        if not self._lock(target).remove():
            return found(
                Method.CONFIGURATION,
                "released here; the version stays archived for another workload",
                holds=True,
                kept_for_others=True,
            )
        version = self._version(target)
        if bool(version.get("isArchived")) != before["archived"]:
            with translated(target.ref):
                self._put(target, {**version, "isArchived": before["archived"]})
        archived = self._is_archived(target)
        return found(
            Method.CONFIGURATION,
            f"the version is {'archived' if archived else 'active'}",
            holds=archived == before["archived"],
        )

    def _lock(self, target: Target) -> OwnLock:
        return OwnLock(self.access, target.ref, "ReadOnly", "model")

    def _version(self, target: Target) -> JsonObject:
        shown = existing(self.access, target.ref, ML_VERSION, "the declared model version")
        properties: JsonObject = shown["properties"]
        return properties

    def _is_archived(self, target: Target) -> bool:
        return bool(self._version(target).get("isArchived"))

    def _withdraw(self, target: Target, lock: OwnLock, before: JsonObject) -> None:
        """Archive and lock, anew where somebody activated the version in between.

        Where that fails nothing of ours stays: the lock would refuse the archiving of the next attempt.
        """
        for _ in range(ATTEMPTS):
            self._archive(target)
            lock.set(before)
            if self._is_archived(target):
                return
            lock.remove()
        raise TransientCloudError(
            "somebody activates the version each time it is archived, or has locked it", resource=target.ref
        )

    def _archive(self, target: Target) -> None:
        """Set the flag, or say it again where it is set: the control of later attempts."""
        with translated(target.ref):
            try:
                self._put(target, {**self._version(target), "isArchived": True})
            except RestError as error:
                if not is_locked(error):
                    raise
                # somebody else's lock; whether the version is archived is read back

    def _put(self, target: Target, properties: JsonObject) -> None:
        written = {name: value for name, value in properties.items() if name != "provisioningState"}
        self.access.arm().put(target.ref, {"properties": written}, ML_VERSION)

    def _is_offered(self, target: Target) -> bool:
        collection, _, name = target.ref.rpartition("/")
        with translated(target.ref):
            active = self.access.arm().pages(collection, ML_VERSION, query={"listViewType": "ActiveOnly"})
            return any(each["name"] == name for each in active)

    def _definition_hash(self, target: Target) -> str:
        """SHA-256 of what the version is, without what archiving changes."""
        version = self._version(target)
        return sha256(rfc8785.dumps({name: version.get(name) for name in _DEFINITION})).hexdigest()

    def _artifact(self, target: Target) -> JsonObject:
        """The definition's hash; those of the files are recorded with the container that holds them."""
        return {
            "ref": target.ref,
            "version_id": ResourceId.parse(target.ref).name,
            "sha256": self._definition_hash(target),
            "files": self._version(target).get("modelUri", ""),
            "approved": None,
            "matches": None,
        }

    def _files_held(self, version: JsonObject, target: Target) -> Finding:
        """Whether the container with the version's files is held; without that they could be replaced."""
        uri = str(version.get("modelUri", ""))
        place = self._place(uri, target)
        if place is None:
            return found(
                Method.CONFIGURATION,
                "the files are in storage that the registry manages, where no customer writes",
                holds=_is_of_registry(target),
                files=uri,
            )
        container = self._declared(place)
        named = f"{place[0]}/{place[1]}"
        if container is None:
            seen = f"nothing holds the files: container {named} is not declared as a blob-container"
            return found(Method.CONFIGURATION, seen, holds=False, files=uri)
        held = container.version_level or self._has_hold(container)
        seen = f"container {named} with the files is {'held' if held else 'NOT held'}"
        return found(Method.CONFIGURATION, seen, holds=held, files=uri)

    def _place(self, uri: str, target: Target) -> Place | None:
        """Where the files are, as far as that is the customer's storage."""
        blob, store = _BLOB.match(uri), _DATASTORE.match(uri)
        if blob is not None and not _is_of_registry(target):
            return blob[1].lower(), blob[2]
        if store is None or _is_of_registry(target):
            return None
        path = f"{_workspace(target)}/datastores/{store[1]}"
        with translated(path):
            datastore = (self.access.arm().get(path, ML_VERSION) or {}).get("properties") or {}
        account = str(datastore.get("accountName", ""))
        return (account.lower(), str(datastore.get("containerName", ""))) if account else None

    def _declared(self, place: Place) -> BlobContainer | None:
        workload = self.run.workload
        for each in of_kind((*workload.artifacts, *workload.stores), BlobContainer):
            ref = ResourceId.parse(each.ref)
            if (ref.part("storageAccounts").lower(), ref.name) == place:
                return each
        return None

    def _has_hold(self, container: BlobContainer) -> bool:
        with translated(container.ref):
            shown = self.access.arm().get(container.ref, STORAGE_VERSION) or {}
        return bool((shown.get("properties") or {}).get("hasLegalHold"))


def _is_of_registry(target: Target) -> bool:
    return bool(ResourceId.parse(target.ref).part("registries"))


def _workspace(target: Target) -> str:
    parsed = ResourceId.parse(target.ref)
    return "/" + "/".join(parsed.segments[:-4])
