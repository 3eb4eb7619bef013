"""Write down one proposed workload: validated parts, what a person must add, and what was left out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from pydantic import ValidationError

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import Cloud, Resource, Workload
from firebreak.provider import Search

_LONGEST_ID = 63
_MUST_BE_SETTLED = ("identities", "network", "artifacts")
"""Groups that a workload has, or says under ``without`` why it has none."""


def workload_id(value: str) -> str:
    """Turn a tag value into an id that the inventory accepts."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:_LONGEST_ID].strip("-") or "unnamed"


class Draft(ABC):
    """One workload of a cloud as far as it is known."""

    cloud: ClassVar[Cloud]
    kinds: ClassVar[Mapping[str, Mapping[str, type[Resource]]]]
    """Group to kind to the class that validates it."""
    told_apart_by: ClassVar[tuple[str, ...]] = ()
    """Fields by which parts with the same kind and reference are different parts."""

    def __init__(self, name: str, search: Search) -> None:
        self.id = name
        self.search = search
        self.notes: list[str] = []
        self.left_out: list[str] = []
        self._parts: dict[str, dict[tuple[str, ...], Resource]] = defaultdict(dict)

    def add(self, group: str, kind: str, ref: str, **fields: Any) -> bool:
        """Add a part, once; one that the inventory would refuse is left out, with the reason."""
        elsewhere = self.elsewhere(ref)
        if elsewhere:
            self.left_out.append(f"{ref}: {elsewhere}")
            return False
        try:
            part = self.kinds[group][kind].model_validate({"kind": kind, "ref": ref, **fields})
        except ValidationError as error:
            self.left_out.append(f"{ref}: no {kind}: {error.errors()[0]['msg']}")
            return False
        self._parts[group].setdefault(self._key(kind, ref, fields), part)
        return True

    def use(self, kind: str, identity: str, user: str) -> None:
        """Record that a resource of this workload runs as one of its identities."""
        key = self._key(kind, identity, {})
        part = self._parts["identities"].get(key)
        users = tuple(getattr(part, "used_by", ()))
        if part is not None and user not in users:
            self._parts["identities"][key] = part.model_copy(update={"used_by": (*users, user)})

    def drop(self, group: str, kind: str, ref: str, why: str = "") -> None:
        """Take a part out again; with a reason, it is listed as left out."""
        self._parts[group].pop(self._key(kind, ref, {}), None)
        if why:
            self.left_out.append(f"{ref}: {why}")

    def has(self, group: str) -> bool:
        """Whether the group has a part."""
        return bool(self._parts[group])

    def refs(self, group: str, kind: str) -> list[str]:
        """The references of one kind."""
        return [part.ref for part in self._parts[group].values() if part.kind == kind]

    def note(self, text: str) -> None:
        """Say, once, what a person must add or decide."""
        if text not in self.notes:
            self.notes.append(text)

    def note_unsettled(self) -> None:
        """Say which groups are empty that a workload has, or explains."""
        for group in _MUST_BE_SETTLED:
            if not self.has(group):
                self.note(f"no {group} found: declare them, or say under without.{group} why there are none")

    @contextmanager
    def looking_at(self, what: str) -> Iterator[None]:
        """Go on when something cannot be looked at: the proposal says that it is not complete."""
        try:
            yield
        except (PermanentCloudError, TransientCloudError) as error:
            self.note(f"INCOMPLETE: {what} could not be looked at: {error.message}")

    def workload(self) -> Workload:
        """The proposal as the inventory's own value."""
        return Workload.model_validate(
            {
                "id": self.id,
                "cloud": self.cloud,
                "account": self.search.account,
                "region": self.search.region,
                "access": self.search.access,
                **{group: tuple(self._parts[group].values()) for group in self.kinds},
            }
        )

    @classmethod
    def canonical(cls, ref: str) -> str:
        """The one spelling by which two references are compared."""
        return ref

    @abstractmethod
    def elsewhere(self, ref: str) -> str:
        """Where the reference says it is, when that is not the place that is searched; else empty."""

    @abstractmethod
    def note_gaps(self) -> None:
        """Say what nobody but a person can know, and what was looked for and not found."""

    def _key(self, kind: str, ref: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
        return kind, self.canonical(ref), *(str(fields.get(each, "")) for each in self.told_apart_by)
