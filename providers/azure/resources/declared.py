"""What the declared resources of every group share: the patterns of their references."""

from __future__ import annotations

import re

from firebreak.declarations import ResourceT, of_kind
from firebreak.model import Workload
from providers.azure.ids import GROUP, GUID, NAME, same

__all__ = ["GUID", "arm_id", "declared"]


def arm_id(provider_type: str, *, name: str = NAME) -> str:
    """Return the pattern, without anchors, of the ARM ids of one type: ``Microsoft.Network/loadBalancers``.

    Keywords and types match in any casing, as ARM itself compares them.
    """
    namespace, *types = provider_type.split("/")
    pairs = "".join(f"/{_any_case(each)}/{name}" for each in types)
    return (
        rf"/{_any_case('subscriptions')}/{GUID}/{_any_case('resourceGroups')}/{GROUP}"
        rf"/{_any_case('providers')}/{_any_case(namespace)}{pairs}"
    )


def _any_case(word: str) -> str:
    return f"(?i:{re.escape(word)})"


def declared(workload: Workload, wanted: type[ResourceT], ref: str) -> ResourceT | None:
    """Find the declaration of one resource, or None where it was discovered and not declared."""
    return next(
        (
            each
            for each in of_kind(workload.resources(), wanted)
            if each.ref == ref or (ref.startswith("/") and same(each.ref, ref))
        ),
        None,
    )
