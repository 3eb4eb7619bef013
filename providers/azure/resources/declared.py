"""What the declared resources of every group share: strict fields and the patterns of their references."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field

from firebreak.model import Resource, Workload
from providers.azure.ids import GROUP, GUID, NAME, same

__all__ = ["GUID", "Declared", "Sha256", "arm_id", "declared", "of_kind"]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ResourceT = TypeVar("ResourceT", bound=Resource)


class Declared(Resource):
    """A resource whose fields are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


def of_kind(resources: Iterable[Resource], wanted: type[ResourceT]) -> list[ResourceT]:
    """Select the resources of one class, typed again: a trip through Temporal leaves plain Resources."""
    kinds = wanted.model_fields["kind"].annotation
    names = getattr(kinds, "__args__", ())
    return [
        each if isinstance(each, wanted) else wanted.model_validate(each.model_dump())
        for each in resources
        if each.kind in names
    ]


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
