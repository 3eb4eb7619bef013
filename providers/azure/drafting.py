"""Write down one proposed workload: validated parts, what a person must add, and what was left out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import Cloud, Resource, Workload
from firebreak.provider import Search
from providers.azure.ids import ResourceId
from providers.azure.resources import KINDS

_LONGEST_ID = 63
_MUST_BE_SETTLED = ("identities", "network", "artifacts")
"""Groups that a workload has, or says under ``without`` why it has none."""


def workload_id(value: str) -> str:
    """Turn a tag value into an id that the inventory accepts."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:_LONGEST_ID].strip("-") or "unnamed"


class Draft:
    """One workload as far as it is known."""

    def __init__(self, name: str, search: Search) -> None:
        self.id = name
        self.search = search
        self.notes: list[str] = []
        self.left_out: list[str] = []
        self._parts: dict[str, dict[tuple[str, str], Resource]] = defaultdict(dict)

    def add(self, group: str, kind: str, ref: str, **fields: Any) -> bool:
        """Add a part, once; one that the inventory would refuse is left out, with the reason."""
        subscription = ResourceId.parse(ref).subscription if ref.startswith("/") else ""
        if subscription.lower() not in {"", self.search.account.lower()}:
            self.left_out.append(f"{ref}: in subscription {subscription}")
            return False
        try:
            part = KINDS[group][kind].model_validate({"kind": kind, "ref": ref, **fields})
        except ValidationError as error:
            self.left_out.append(f"{ref}: no {kind}: {error.errors()[0]['msg']}")
            return False
        self._parts[group].setdefault((kind, ref.lower()), part)
        return True

    def use(self, identity: str, user: str) -> None:
        """Record that a resource of this workload runs as one of its identities."""
        key = ("managed-identity", identity.lower())
        part = self._parts["identities"].get(key)
        users = tuple(getattr(part, "used_by", ()))
        if part is not None and user not in users:
            self._parts["identities"][key] = part.model_copy(update={"used_by": (*users, user)})

    def drop(self, group: str, kind: str, ref: str) -> None:
        """Take a part out again."""
        self._parts[group].pop((kind, ref.lower()), None)

    def refs(self, group: str, kind: str) -> list[str]:
        """The references of one kind."""
        return [part.ref for part in self._parts[group].values() if part.kind == kind]

    def note(self, text: str) -> None:
        """Say, once, what a person must add or decide."""
        if text not in self.notes:
            self.notes.append(text)

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
                "cloud": Cloud.AZURE,
                "account": self.search.account,
                "region": self.search.region,
                "access": self.search.access,
                **{group: tuple(self._parts[group].values()) for group in KINDS},
            }
        )

    def note_gaps(self) -> None:
        """Say what nobody but a person can know, and what was looked for and not found."""
        for ref in self.refs("identities", "managed-identity"):
            self.note(f"declare probes for {ref}: cheap reads that it is allowed in peace")
        for ref in self.refs("artifacts", "blob-container"):
            self.note(f"{ref}: declare its role, and the approved hashes of its blobs")
        for group in _MUST_BE_SETTLED:
            if not self._parts[group]:
                self.note(f"no {group} found: declare them, or say under without.{group} why there are none")
        if self._parts["network"] and not self.refs("evidence_sources", "flow-log"):
            self.note("no virtual network flow log found: its isolation could not be proved by flow logs")
        if not self.refs("evidence_sources", "log-analytics"):
            self.note("no Log Analytics workspace found: declare that of inference, agent and application")
