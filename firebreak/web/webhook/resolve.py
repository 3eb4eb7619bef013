"""From a finding's resources to the one workload that has them, by exact id; nothing else chooses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from firebreak.inventory import Inventory
from firebreak.model import Workload
from firebreak.web.webhook.alert import ResourceRef

Key = tuple[str, str, str]
"""Account, region and id; both empty where the id is unique by itself."""

_ROLE = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):role/(?:[^/]+/)*([^/]+)")
_ASSUMED = re.compile(r"arn:[a-z-]+:sts::([0-9]{12}):assumed-role/([^/]+)(?:/.*)?")
_USER = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):user/(?:[^/]+/)*([^/]+)")
_EC2 = re.compile(r"arn:[a-z-]+:ec2:([a-z0-9-]+):([0-9]{12}):[a-z-]+/([a-z]+-[0-9a-f]+)")
_LOCAL = re.compile(r"(?:i|eni|subnet|vpc|sg|vol)-[0-9a-f]{8,17}")
"""EC2's ids: unique in a region of an account (EC2 user guide, resource ids)."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NO_ID = re.compile(r"[^:/@]*")
"""A bare word such as ``account``: means something only inside its inventory entry."""


NOT_THE_WORKLOAD = frozenset({"canary", "flow-log", "firewall-policy"})
"""What we watch it with, or what it passes: an alert about these is for people."""


@dataclass(frozen=True)
class Resolved:
    """The workload, or why there is not exactly one."""

    workload: Workload | None
    why: str = ""


class Index:
    """Every resource of an inventory by what makes its id unique."""

    def __init__(self, inventory: Inventory) -> None:
        self.digest = inventory.digest
        self._workloads = inventory.workloads
        self._users: Mapping[Key, set[str]] = defaultdict(set)
        for workload in inventory.workloads.values():
            for part in (each for each in workload.resources() if each.kind not in NOT_THE_WORKLOAD):
                for key in keys(part.ref, workload.account, workload.region):
                    self._users[key].add(workload.id)

    def resolve(self, resources: Iterable[ResourceRef]) -> Resolved:
        """The one workload that all known resources of the finding belong to."""
        named = list(resources)
        found = {
            user
            for each in named
            for key in keys(each.uid, each.account, each.region)
            for user in self._users.get(key, ())
        }
        if len(found) == 1:
            return Resolved(self._workloads[found.pop()])
        if found:
            return Resolved(None, f"its resources belong to several workloads: {', '.join(sorted(found))}")
        ids = ", ".join(each.uid for each in named[:5]) or "none"
        return Resolved(None, f"no workload of the inventory has its resources ({ids})")


def keys(uid: str, account: str, region: str) -> tuple[Key, ...]:
    """What makes an id unique; nothing for an id that needs an account or a region that is not given."""
    if matched := _ASSUMED.fullmatch(uid) or _ROLE.fullmatch(uid):
        return ((matched[1], "", f"role/{matched[2]}"),)
    if matched := _USER.fullmatch(uid):
        return ((matched[1], "", f"user/{matched[2]}"),)
    if matched := _EC2.fullmatch(uid):
        return ((matched[2], matched[1], matched[3]),)
    if _LOCAL.fullmatch(uid):
        return ((account, region, uid),) if account and region else ()
    if uid.lower().startswith("/subscriptions/") or _UUID.fullmatch(uid.lower()):
        return (("", "", uid.lower().rstrip("/")),)  # ARM ids and object ids do not mind case
    return () if _NO_ID.fullmatch(uid) else (("", "", uid.removesuffix(":*")),)
