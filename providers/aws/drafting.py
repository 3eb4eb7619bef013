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
from providers.aws.resources import KINDS

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
        self._parts: dict[str, dict[tuple[str, str, str], Resource]] = defaultdict(dict)
        self._users: dict[str, list[str]] = defaultdict(list)

    def add(self, group: str, kind: str, ref: str, **fields: Any) -> bool:
        """Add a part, once; one that the inventory would refuse is left out, with the reason."""
        elsewhere = self._elsewhere(ref)
        if elsewhere:
            self.left_out.append(f"{ref}: {elsewhere}")
            return False
        try:
            part = KINDS[group][kind].model_validate({"kind": kind, "ref": ref, **fields})
        except ValidationError as error:
            self.left_out.append(f"{ref}: no {kind}: {error.errors()[0]['msg']}")
            return False
        self._parts[group].setdefault((kind, ref, str(fields.get("stage", ""))), part)
        return True

    def add_role(self, arn: str, user: str) -> None:
        """Add the role that an instance or function of this workload runs as."""
        if self.add("identities", "iam-role", arn) and user not in self._users[arn]:
            self._users[arn].append(user)

    def drop(self, group: str, kind: str, ref: str, why: str = "") -> None:
        """Take a part out again; with a reason, it is listed as left out."""
        self._parts[group].pop((kind, ref, ""), None)
        if why:
            self.left_out.append(f"{ref}: {why}")

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
        groups = {
            group: tuple(self._with_users(part) for part in self._parts[group].values()) for group in KINDS
        }
        search = self.search
        return Workload.model_validate(
            {
                "id": self.id,
                "cloud": Cloud.AWS,
                "account": search.account,
                "region": search.region,
                "access": search.access,
                **groups,
            }
        )

    def note_gaps(self) -> None:
        """Say what nobody but a person can know, and what was looked for and not found."""
        for arn in self.refs("identities", "iam-role"):
            self.note(f"declare probes for {arn}: cheap reads that it is allowed in peace")
        for arn in self.refs("identities", "iam-user"):
            self.note(f"declare probe_secret and probes for {arn}")
        for ref in self.refs("network", "subnet"):
            self.note(f"{ref}: set dedicated: true only where the subnet is this workload's alone")
        for group in _MUST_BE_SETTLED:
            if not self._parts[group]:
                self.note(f"no {group} found: declare them, or say under without.{group} why there are none")
        self._note_unwatched()

    def _note_unwatched(self) -> None:
        network = self._parts["network"]
        if network and not self.refs("network", "flow-log"):
            self.note("no flow log found: its isolation could not be proved by flow logs")
        if network and not self.refs("network", "canary"):
            self.note("no canary found: a Lambda function named *canary*, or tagged ai-workload-role=canary")
        for arn in self.refs("network", "canary"):
            self.note(f"{arn}: set port to one that answers the canary in peace (443 is assumed)")
        if not self.refs("evidence_sources", "log-group"):
            self.note("no log group found: declare those of inference, agent and application")

    def _with_users(self, part: Resource) -> Resource:
        users = self._users.get(part.ref)
        return part.model_copy(update={"used_by": tuple(users)}) if users else part

    def _elsewhere(self, ref: str) -> str:
        # ARN format: arn:partition:service:region:account-id:resource
        _, _, _, region, account, *_ = (*ref.split(":", 5), "", "", "", "")
        if not ref.startswith("arn:"):
            return ""
        if account not in {"", self.search.account}:
            return f"in account {account}"
        return f"in region {region}" if region not in {"", self.search.region} else ""
