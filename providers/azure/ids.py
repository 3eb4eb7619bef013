"""ARM resource ids: parsed by segment and compared without regard to case, never by prefix of the text.

Azure Resource Manager, "Resource naming": ids are case-insensitive, and services answer with casings of
their own. The form is ``/subscriptions/{guid}/resourceGroups/{name}/providers/{namespace}/{type}/{name}``
with more type and name pairs for nested resources; an extension resource repeats ``/providers/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
GROUP = r"[A-Za-z0-9._()-]{1,90}"
NAME = r"[A-Za-z0-9._()~-]{1,260}"
SUBSCRIPTION_ID = re.compile(rf"^{GUID}$")
_SEGMENT = re.compile(r"^[^\s/?#%\\<>&\"]{1,260}$")
_SHORTEST = 2
"""Segments of the shortest id: a keyword and its value."""
_OUTERMOST = 3
"""Segments by which a provider names its outermost resource: namespace, type, name."""


@dataclass(frozen=True, eq=False)
class ResourceId:
    """One ARM id. Two are equal when every segment is, whatever the casing."""

    segments: tuple[str, ...]
    """As the caller wrote them."""

    @classmethod
    def parse(cls, text: str) -> ResourceId:
        """Read an id; raises ValueError for anything that is not one."""
        segments = text.rstrip("/").split("/")
        start, *named = segments
        if start or len(named) < _SHORTEST or not all(_SEGMENT.fullmatch(each) for each in named):
            raise ValueError(f"{text!r} is not an ARM resource id")
        found = cls(tuple(named))
        if {".", ".."} & set(found.segments):
            raise ValueError(f"{text!r} is not an ARM resource id")
        return found

    def __str__(self) -> str:
        return "/" + "/".join(self.segments)

    @property
    def key(self) -> str:
        """The id in lower case: what to compare and to index by."""
        return str(self).lower()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceId) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def _after(self, keyword: str) -> str:
        lowered = [each.lower() for each in self.segments]
        place = lowered.index(keyword) + 1 if keyword in lowered else len(lowered)
        return self.segments[place] if place < len(lowered) else ""

    @property
    def subscription(self) -> str:
        """The subscription's GUID, empty for what lies above subscriptions."""
        return self._after("subscriptions") if self.segments[0].lower() == "subscriptions" else ""

    @property
    def group(self) -> str:
        """The resource group's name, empty where there is none."""
        return self._after("resourcegroups")

    def _typed(self) -> tuple[str, ...]:
        """The segments after the last ``/providers/``: namespace, then pairs of type and name."""
        lowered = [each.lower() for each in self.segments]
        if "providers" not in lowered:
            return ()
        return self.segments[len(lowered) - lowered[::-1].index("providers") :]

    @property
    def provider(self) -> str:
        """The resource provider's namespace, for example ``Microsoft.Network``."""
        return next(iter(self._typed()), "")

    @property
    def type(self) -> str:
        """The full type, for example ``Microsoft.Network/virtualNetworks/subnets``."""
        typed = self._typed()
        return "/".join((typed[0], *typed[1::2])) if typed else ""

    @property
    def name(self) -> str:
        """The last name."""
        return self.segments[-1]

    def part(self, segment_type: str) -> str:
        """The name that follows one type segment, for example ``part("storageAccounts")``; empty if none."""
        return self._after(segment_type.lower())

    @property
    def parent(self) -> ResourceId | None:
        """The id that this one is nested in: a resource, a resource group or a subscription."""
        typed = self._typed()
        if len(typed) > _OUTERMOST:
            return ResourceId(self.segments[:-2])
        if typed:
            return _or_none(self.segments[: -len(typed) - 1])
        return _or_none(self.segments[:-2])

    def is_under(self, scope: str | ResourceId) -> bool:
        """Tell whether the id is ``scope`` itself or lies below it, segment by segment."""
        outer = scope if isinstance(scope, ResourceId) else ResourceId.parse(scope)
        mine = [each.lower() for each in self.segments]
        return mine[: len(outer.segments)] == [each.lower() for each in outer.segments]


def _or_none(segments: tuple[str, ...]) -> ResourceId | None:
    return ResourceId(segments) if segments else None


def same(one: str, other: str) -> bool:
    """Tell whether two texts are the same ARM id; a text that is no id is the same as nothing."""
    try:
        return ResourceId.parse(one) == ResourceId.parse(other)
    except ValueError:
        return False
