"""Freeze the blobs of a container: a legal hold keeps what is there, and hashes say what that is."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from firebreak.declarations import of_kind
from firebreak.errors import PermanentCloudError
from firebreak.frozen import REHASH_LIMIT, custody_of, unchanged
from firebreak.measure import Permission, found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.parallel import each_of
from firebreak.session import owner_mark
from providers.azure.artifacts.container import OURS, Container, Entry
from providers.azure.artifacts.holds import ContainerHold, Hold, VersionHolds
from providers.azure.ids import same
from providers.azure.resources.artifacts import BlobContainer
from providers.azure.session import AzureMeasure

HASH_LIMIT = 2000
"""Blobs of one container that are hashed one by one; the hold covers the rest without a hash of their own."""
CONTAINER, VERSIONED = "blob-container", "version-level-container"
_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_CONTAINER_HOLD = frozenset({f"{_CONTAINERS}/setLegalHold/action", f"{_CONTAINERS}/clearLegalHold/action"})
_VERSION_HOLD = frozenset({f"data:{_CONTAINERS}/blobs/immutableStorage/runAsSuperUser/action"})


class HoldBlobs(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.ARTIFACT_FREEZE, name="hold-blobs"):
    """Put a legal hold on the container's blobs and record the SHA-256 of each; no policy is ever locked.

    A hold does not keep new blobs out: what is added after it is seen and reported, and does not count as
    frozen. Nor does it keep the content of a container with version-level immutability from being superseded
    by new versions; those are seen as well.
    """

    permissions = on_target(
        f"{_CONTAINERS}/read",
        *sorted(_CONTAINER_HOLD),
        f"data:{_CONTAINERS}/blobs/read",
        f"data:{_CONTAINERS}/blobs/write",
        f"data:{_CONTAINERS}/blobs/delete",
        f"data:{_CONTAINERS}/blobs/deleteBlobVersion/action",
        *sorted(_VERSION_HOLD),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """One target per container, however often it is declared."""
        chosen: dict[str, BlobContainer] = {}
        for each in of_kind((*workload.artifacts, *workload.stores), BlobContainer):
            chosen.setdefault(each.ref.lower(), each)
        return [
            Target(
                kind=VERSIONED if each.version_level else CONTAINER,
                ref=each.ref,
                account=workload.account,
                region=workload.region,
            )
            for each in chosen.values()
        ]

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """A container is held by the control plane, a version by the data plane."""
        other = _CONTAINER_HOLD if target.kind == VERSIONED else _VERSION_HOLD
        return tuple(each for each in cls.permissions if each.action not in other)

    def discover(self, target: Target) -> list[Target]:
        """The container, which has to be there."""
        self._container(target).properties()
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Read the holds; raises PermanentCloudError for a wrong declaration or a missing artifact."""
        container = self._container(target)
        worm = container.properties().get("immutableStorageWithVersioning") or {}
        if bool(worm.get("enabled")) is not (target.kind == VERSIONED):
            actual = "has" if worm.get("enabled") else "does not have"
            raise PermanentCloudError(
                f"the container {actual} immutable storage with versioning",
                resource=target.ref,
                remedy=f"declare version_level: {str(bool(worm.get('enabled'))).lower()}",
            )
        each_of(container.look, self._approved(target))
        return self._hold(target).state()

    def apply(self, target: Target, state: State) -> Change:
        """Prove the canary while changes still work, hold everything, then hash every blob."""
        hold = self._hold(target)
        changed = hold.begin()
        records, unhashed = self._records(target)
        return self.done(
            target,
            state,
            changed=changed,
            mark=owner_mark(self.run),
            freeze="legal hold on each version"
            if target.kind == VERSIONED
            else "legal hold on the container",
            canary=hold.canary(),
            began_at=hold.began_at(),
            objects=records,
            without_hash=unhashed,
            artifacts=self._artifacts(target, records),
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try to change the canary, read the hold back, and compare what is there with what was frozen."""
        current = self._container(target).current(self._prefixes(target))
        return (
            *self._hold(target).probes(change),
            self._unchanged(target, change, current, REHASH_LIMIT),
            self._nothing_added(change, current),
        )

    def intact(self, target: Target, change: Change) -> Finding:
        """Hash every frozen blob again, however large.

        Blobs added since are named, and do not keep a workload from its release: nobody can remove them while
        the hold lasts.
        """
        current = self._container(target).current(self._prefixes(target))
        finding = self._unchanged(target, change, current, None)
        added = self._nothing_added(change, current).detail["added"]
        return finding.model_copy(update={"detail": finding.detail | {"added_since_the_freeze": added}})

    def revert(self, change: Change) -> Finding:
        """Release the holds that were set here, remove the canary, and read the holds back."""
        target, before = change.target, change.before
        said = self._hold(target).lift(change)
        after = self._hold(target).state()
        differs = _difference(before, after, mine=f"firebreak{owner_mark(self.run)}")
        return found(
            Method.CONFIGURATION,
            "holds differ from before" if differs else "holds are as before",
            holds=not differs,
            differs=differs,
            **said,
        )

    def _container(self, target: Target) -> Container:
        return Container(self.access, target.ref)

    def _hold(self, target: Target) -> Hold:
        container, mark = self._container(target), owner_mark(self.run)
        if target.kind == VERSIONED:
            return VersionHolds(container, mark, self._prefixes(target))
        return ContainerHold(container, mark)

    def _declared(self, target: Target) -> list[BlobContainer]:
        mine = of_kind((*self.run.workload.artifacts, *self.run.workload.stores), BlobContainer)
        return [each for each in mine if same(each.ref, target.ref)]

    def _prefixes(self, target: Target) -> tuple[str, ...]:
        """The prefixes to look under, approved blobs included; one that lies in another is covered by it."""
        prefixes = {each.prefix for each in self._declared(target)} | set(self._approved(target))
        return tuple(
            sorted(p for p in prefixes if not any(p != other and p.startswith(other) for other in prefixes))
        )

    def _approved(self, target: Target) -> dict[str, str]:
        return {
            name: digest for each in self._declared(target) for name, digest in each.approved_sha256.items()
        }

    def _records(self, target: Target) -> tuple[list[JsonObject], int]:
        """The identity and hash of each current blob, those with an approved hash first, up to the limit."""
        container, approved = self._container(target), self._approved(target)
        chosen = sorted(
            container.current(self._prefixes(target)), key=lambda e: (e.name not in approved, e.key)
        )
        progress = self.context.progress
        records = each_of(partial(container.hashed, progress=progress), chosen[:HASH_LIMIT])
        records += [
            {"name": e.name, "version_id": e.version_id, "etag": e.etag, "size": e.size, "sha256": None}
            for e in chosen[HASH_LIMIT:]
        ]
        return sorted(records, key=lambda each: str(each["name"])), len(chosen[HASH_LIMIT:])

    def _artifacts(self, target: Target, records: list[JsonObject]) -> list[JsonObject]:
        """What the chain of custody says of each blob with an approved hash, and whether it has that."""
        by_name = {each["name"]: each for each in records}
        for name in set(self._approved(target)) - set(by_name):
            self._container(target).look(name)  # raises: it went away since the plan was made
        roles = {name: each.role for each in self._declared(target) for name in each.approved_sha256}
        return [
            custody_of(f"{target.ref}/{name}", roles[name], by_name[name], digest)
            for name, digest in sorted(self._approved(target).items())
        ]

    def _unchanged(self, target: Target, change: Change, current: list[Entry], limit: int | None) -> Finding:
        """Compare every frozen blob with what it was at the freeze; up to the limit by its bytes."""
        now = {each.name: each for each in current}
        return unchanged(
            change.after["objects"],
            partial(self._difference, target, now, limit),
            limit,
            "blobs",
            without_hash=change.after["without_hash"],
        )

    def _difference(
        self, target: Target, now: dict[str, Entry], limit: int | None, frozen: JsonObject
    ) -> str:
        entry = now.get(frozen["name"])
        if entry is None:
            return f"{frozen['name']}: it is gone"
        if entry.etag != frozen["etag"]:
            return f"{frozen['name']}: the current version is another one"
        readable = frozen["sha256"] is not None and (limit is None or entry.size <= limit)
        if readable:
            seen = self._container(target).hashed(entry, self.context.progress)
            if seen["sha256"] != frozen["sha256"]:
                return f"{frozen['name']}: the bytes hash differently"
        return ""

    def _nothing_added(self, change: Change, current: list[Entry]) -> Finding:
        """Look for blobs that came after the hold: it keeps no new ones out."""
        known = {each["name"] for each in change.after["objects"]}
        began = datetime.fromisoformat(change.after["began_at"]) if change.after["began_at"] else None
        added = sorted(
            each.name
            for each in current
            if not each.name.startswith(OURS) and (each.name not in known or _came_after(each, began))
        )
        named = f"{len(added)} blobs were added after the freeze: {', '.join(added[:3])}"
        return found(
            Method.CONFIGURATION,
            named if added else "no blob was added after the freeze",
            holds=not added,
            added=added[:20],
            count=len(added),
        )


def _came_after(entry: Entry, began: datetime | None) -> bool:
    """Creation times have whole seconds: within that of the freeze, the record of the freeze decides."""
    return began is not None and entry.created_at >= began + timedelta(seconds=1)


def _difference(before: JsonObject, after: JsonObject, *, mine: str) -> list[str]:
    """What of the holds is not as it was: of tags only our own, since others may set and clear theirs."""
    if "tags" not in before:
        return [] if before == after else ["held"]
    return [mine] if (mine in before["tags"]) != (mine in after["tags"]) else []
