"""The two ways to hold a container's blobs: one tag for all of them, or a hold on each version.

Azure Storage, "Legal holds for immutable blob data": a container's hold is a set of tags and ends with the
last one, so each workload has its own. A version's hold is a mere switch; who set it, the canaries say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from firebreak.errors import PermanentCloudError
from firebreak.measure import found
from firebreak.model import Change, Finding, JsonObject, Method
from firebreak.parallel import each_of
from providers.azure.answers import translated
from providers.azure.artifacts.canary import CONTROLLED, HELD_BEFORE, IMMUTABLE, Canary, Holds, marks, remove
from providers.azure.artifacts.container import Container, Entry
from providers.azure.artifacts.freeze import refused

_NO_CANARY: JsonObject = {"etag": "", "earlier_version": "", "controls": ""}
MOST_TAGS = 10  # "Legal holds for immutable blob data", limits


class Hold(Protocol):
    """One way to hold."""

    def state(self) -> JsonObject:
        """What release restores."""

    def begin(self) -> bool:
        """Hold; False where everything was held already."""

    def began_at(self) -> str:
        """When the hold began, in the service's time."""

    def canary(self) -> JsonObject:
        """The canary as it is now."""

    def probes(self, change: Change) -> tuple[Finding, ...]:
        """Attempts on the canary that must be refused, and the hold read back."""

    def lift(self, change: Change) -> JsonObject:
        """Release the hold; returns what may be said of what stays."""


@dataclass(frozen=True)
class ContainerHold:
    """A legal hold on the container, with a tag of the workload's own."""

    container: Container
    mark: str

    @property
    def tag(self) -> str:
        """The tag: letters and digits, at most 23."""
        return f"firebreak{self.mark}"

    @property
    def _canary(self) -> Canary:
        return Canary(self.container, self.mark)

    def state(self) -> JsonObject:
        """The tags that are set."""
        tags = sorted(self._tags())
        if self.tag not in tags and len(tags) >= MOST_TAGS:
            raise PermanentCloudError(
                f"the container has {len(tags)} legal hold tags, and Azure allows no more",
                resource=self.container.ref,
                remedy="clear a tag that is not needed; until then the owner's own hold keeps the blobs",
            )
        return {"tags": tags}

    def begin(self) -> bool:
        """Try the canary while changes still work, then add the tag."""
        if self.tag in self._tags():
            return False
        with translated(self.container.ref):
            self._canary.place([])
        self.container.post("setLegalHold", {"tags": [self.tag]})
        return True

    def began_at(self) -> str:
        """When the tag was set."""
        return self._tags().get(self.tag, "")

    def canary(self) -> JsonObject:
        """The canary as it is now."""
        with translated(self.container.ref):
            return self._canary.look() or dict(_NO_CANARY)

    def probes(self, change: Change) -> tuple[Finding, ...]:
        """Try to overwrite and delete the canary, and read the tags back."""
        seen, canary = change.after["canary"], self._canary
        controlled = seen["controls"] in {CONTROLLED, HELD_BEFORE}
        versions = [seen["earlier_version"]] if seen["earlier_version"] else []
        tags = sorted(self._tags())
        return (
            refused(
                "overwrite the canary",
                partial(canary.overwrite, seen["etag"]),
                IMMUTABLE,
                controlled=controlled,
            ),
            refused("delete the canary", canary.delete, IMMUTABLE, controlled=controlled),
            *(
                refused(
                    "delete a version of the canary",
                    partial(canary.delete_version, each),
                    IMMUTABLE,
                    controlled=controlled,
                )
                for each in versions
            ),
            found(
                Method.CONFIGURATION,
                f"the container's legal hold {'has' if self.tag in tags else 'does NOT have'} our tag",
                holds=self.tag in tags,
                tags=tags,
            ),
        )

    def lift(self, change: Change) -> JsonObject:
        """Clear the tag, and remove the canaries that nobody counts on any more."""
        before = set(change.before["tags"])
        if self.tag in self._tags() and self.tag not in before:
            self.container.post("clearLegalHold", {"tags": [self.tag]})
        now = set(self._tags())
        with translated(self.container.ref):
            ours = self.container.ours()
            unowned = [each for each in ours if f"firebreak{_owner(each)}" not in now]
            left = remove(self.container, unowned)
        return {"canary_left_under_another_hold": left, "tags": sorted(now)}

    def _tags(self) -> dict[str, str]:
        """The tags of the hold, with the time each was set."""
        hold = self.container.properties().get("legalHold") or {}
        return {each["tag"].lower(): str(each.get("timestamp", "")) for each in hold.get("tags") or ()}


@dataclass(frozen=True)
class VersionHolds:
    """A legal hold on each version, in a container with immutable storage with versioning.

    Overwriting a blob makes a new version there and is not refused; the version that was held stays.
    """

    container: Container
    mark: str
    prefixes: tuple[str, ...]

    @property
    def _canary(self) -> Canary:
        return Canary(self.container, self.mark)

    def state(self) -> JsonObject:
        """The versions that somebody else holds."""
        ours = self._held_by_firebreak()
        held = [each.key for each in self.container.versions(self.prefixes) if each.held]
        return {"held": sorted([list(key) for key in held if key not in ours])}

    def begin(self) -> bool:
        """Try the canary while changes still work, hold it, then hold each version that nobody holds."""
        versions = self.container.versions(self.prefixes)
        with translated(self.container.ref):
            seen = self._canary.look()
            fresh = seen is None or not seen["held"]
            if fresh:
                others = self._held_by_firebreak()
                self._canary.place([v.key for v in versions if not v.held or v.key in others])
                self._canary.hold()
        free = [each for each in versions if not each.held]
        each_of(partial(self._switch, on=True), free)
        return fresh or bool(free)

    def began_at(self) -> str:
        """When the canary was written."""
        return str(self.canary().get("created_at", ""))

    def canary(self) -> JsonObject:
        """The canary as it is now."""
        with translated(self.container.ref):
            return self._canary.look() or dict(_NO_CANARY)

    def probes(self, change: Change) -> tuple[Finding, ...]:
        """Try to describe and delete the canary and its version, and read the holds back."""
        seen, canary = change.after["canary"], self._canary
        controlled = seen["controls"] == CONTROLLED
        versions = self.container.versions(self.prefixes)
        free = [each.name for each in versions if not each.held]
        return (
            refused("change the canary's metadata", canary.describe, IMMUTABLE, controlled=controlled),
            refused("delete the canary", canary.delete, IMMUTABLE, controlled=controlled),
            refused(
                "delete a version of the canary",
                partial(canary.delete_version, seen["earlier_version"]),
                IMMUTABLE,
                controlled=controlled,
            ),
            found(
                Method.CONFIGURATION,
                f"{len(versions) - len(free)} of {len(versions)} versions are held; an overwrite would make a"
                " new version beside them",
                holds=not free,
                not_held=free[:20],
            ),
        )

    def lift(self, change: Change) -> JsonObject:
        """Remove the canary, and lift the holds that no other workload counts on."""
        with translated(self.container.ref):
            mine = [each for each in self.container.ours() if _owner(each) == self.mark]
            left = remove(self.container, mine)
        kept = self._held_by_firebreak() | {(name, version) for name, version in change.before["held"]}
        versions = [each for each in self.container.versions(self.prefixes) if each.held]
        each_of(partial(self._switch, on=False), [each for each in versions if each.key not in kept])
        return {"canary_left_under_another_hold": left}

    def _switch(self, entry: Entry, *, on: bool) -> None:
        with translated(f"{self.container.ref}/{entry.name}"):
            self.container.blobs.get_blob_client(entry.name).set_legal_hold(on, version_id=entry.version_id)

    def _held_by_firebreak(self) -> set[tuple[str, str]]:
        """The versions that workloads of Firebreak hold, this one and others."""
        with translated(self.container.ref):
            owners = marks(self.container.ours())
            lists: Iterable[Holds] = [Canary(self.container, each).holds() for each in owners]
        return {(name, version) for each in lists for name, version in each}


def _owner(entry: Entry) -> str:
    return entry.name.split("/")[1]
