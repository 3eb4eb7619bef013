"""Make the security group of a quarantine: nothing in, nothing out, the platform's own addresses included.

Each interface has a group of its own, so that interfaces isolated at one time do not wait for each other. A
group is known by its tag and judged by its rules, never by its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from firebreak.errors import PermanentCloudError
from firebreak.model import JsonObject
from firebreak.session import owner_mark
from providers.azure.answers import already, translated
from providers.azure.ids import ResourceId
from providers.azure.network.documents import NETWORK, find, properties, rewrite
from providers.azure.network.interfaces import Interface
from providers.azure.session import AzureAccess

OWNER_TAG = "firebreak-workload"
INCIDENT_TAG = "firebreak-incident"
FLUSH_TAG = "firebreak-flush"
REQUESTED = "requested"
NAMES = 3
"""How many names are tried before a stranger's groups are in the way."""
LONGEST_NAME = 80
PRIORITY = 100
"""The lowest number, evaluated first ("Azure network security groups overview")."""
# The same page, "Azure platform considerations": DNS, IMDS and licensing pass any group whose rules do not
# target them by these tags.
PLATFORM_TAGS = ("AzurePlatformIMDS", "AzurePlatformDNS", "AzurePlatformLKM")
IN_USE = ("InUseNetworkSecurityGroupCannotBeDeleted", "NetworkSecurityGroupInUse")


def _rule(name: str, number: int, direction: str, destination: str = "*") -> JsonObject:
    return {
        "name": name,
        "properties": {
            "access": "Deny",
            "direction": direction,
            "priority": number,
            "protocol": "*",
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": destination,
            "destinationPortRange": "*",
        },
    }


RULES: tuple[JsonObject, ...] = (
    _rule("firebreak-deny-in", PRIORITY, "Inbound"),
    _rule("firebreak-deny-out", PRIORITY, "Outbound"),
    *(
        _rule(f"firebreak-deny-{tag.lower()}", PRIORITY + number, "Outbound", tag)
        for number, tag in enumerate(PLATFORM_TAGS, 1)
    ),
)


@dataclass(frozen=True)
class QuarantineGroup:
    """The group that isolates one interface on behalf of one workload."""

    access: AzureAccess
    interface: Interface

    def ensure(self) -> tuple[str, bool]:
        """Return the group with exactly our rules, made or mended if need be, and whether it had to be."""
        for ref in self._names():
            current = find(self.access, ref)
            if current is None:
                self._create(ref)
                return ref, True
            if self.is_ours(current):
                return ref, self._mend(ref)
        raise PermanentCloudError(
            "other groups of our name are in the way", resource=self.interface.id, remedy="rename them"
        )

    def flush(self, ref: str, *, again: bool) -> bool:
        """Have established flows judged anew; True when the service says that it does.

        The property is enabled after the interface is in the group, because enabling triggers the judging
        (NetworkSecurityGroup, ``flushConnection``); ``again`` repeats that for an interface that came later.
        """
        current = find(self.access, ref) or {}
        enabled = properties(current).get("flushConnection") is True
        if not enabled and current.get("tags", {}).get(FLUSH_TAG) == REQUESTED and not again:
            return False  # asked before, and the service did not take it
        if enabled and again:
            rewrite(self.access, ref, lambda group: group["properties"].update(flushConnection=False))
        written, _ = rewrite(self.access, ref, _enable_flush)
        return properties(written).get("flushConnection") is True

    def flushes(self, ref: str) -> bool:
        """Tell whether the service says that it judges established flows anew."""
        return properties(find(self.access, ref) or {}).get("flushConnection") is True

    def is_ours(self, group: JsonObject) -> bool:
        """Tell whether a group was made for this workload."""
        return bool((group.get("tags") or {}).get(OWNER_TAG) == owner_mark(self.access.run))

    def made(self) -> str:
        """Return our group, empty where there is none."""
        return next((ref for ref in self._names() if self.is_ours(find(self.access, ref) or {})), "")

    def remove(self, ref: str) -> None:
        """Delete our group, if any; one that something is still in stays, closed as it is."""
        current = find(self.access, ref) if ref else None
        if current is not None and self.is_ours(current):
            with already(ref, *IN_USE):
                self.access.arm().delete(ref, NETWORK)

    def _names(self) -> list[str]:
        own = ResourceId.parse(self.interface.id)
        group = f"/subscriptions/{own.subscription}/resourceGroups/{own.group}"
        base = f"firebreak-{owner_mark(self.access.run)}-{own.name}"[: LONGEST_NAME - 2]
        names = [base, *(f"{base}-{number}" for number in range(2, NAMES + 1))]
        return [f"{group}/providers/Microsoft.Network/networkSecurityGroups/{name}" for name in names]

    def _create(self, ref: str) -> None:
        body = {
            "location": self.interface.location,
            "tags": {OWNER_TAG: owner_mark(self.access.run), INCIDENT_TAG: self.access.run.incident_id},
            "properties": {"securityRules": list(RULES)},
        }
        with translated(ref):
            self.access.arm().put(ref, body, NETWORK)

    def _mend(self, ref: str) -> bool:
        def edit(group: JsonObject) -> None:
            if not has_our_rules(group):
                group["properties"]["securityRules"] = list(RULES)

        return rewrite(self.access, ref, edit)[1]


def has_our_rules(group: JsonObject) -> bool:
    """Tell whether a group's own rules are exactly those of a quarantine."""
    actual = {each["name"]: _essence(each) for each in properties(group).get("securityRules", ())}
    return actual == {each["name"]: _essence(each) for each in RULES}


def _enable_flush(group: JsonObject) -> None:
    group["properties"]["flushConnection"] = True
    group["tags"] = {**(group.get("tags") or {}), FLUSH_TAG: REQUESTED}


def _essence(rule: JsonObject) -> JsonObject:
    """What a rule does: its fields with a value, without what the service adds."""
    added = {"provisioningState"}
    values: dict[str, Any] = properties(rule)
    return {name: value for name, value in values.items() if value and name not in added}
