"""Read what an inventory declares of a workload: resources by their class, and the targets they make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field

from firebreak.model import Resource, Target, Workload

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ResourceT = TypeVar("ResourceT", bound=Resource)


class Declared(Resource):
    """A resource whose fields are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def of_kind(resources: Iterable[Resource], wanted: type[ResourceT]) -> list[ResourceT]:
    """Select the resources of one class, typed again: a trip through Temporal leaves plain Resources."""
    kinds = wanted.model_fields["kind"].annotation
    names = getattr(kinds, "__args__", ())
    return [
        each if isinstance(each, wanted) else wanted.model_validate(each.model_dump())
        for each in resources
        if each.kind in names
    ]


def target_of(workload: Workload, resource: Resource) -> Target:
    """The target that a declared resource is."""
    return Target(kind=resource.kind, ref=resource.ref, account=workload.account, region=workload.region)


def targets_of(workload: Workload, resources: Iterable[Resource]) -> list[Target]:
    """The targets that declared resources are, in their order."""
    return [target_of(workload, each) for each in resources]
