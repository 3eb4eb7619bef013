"""Probes of the workload's memory: what its own tokens may do in the Cosmos DB containers that it declares.

Reading a container's description takes ``readMetadata``, which every role has that a client can use at all
(Cosmos DB, "Data plane role-based access control", "Permission model"), and no item is read for it. A role's
actions go together, so that its refusal says what has become of them all.
"""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.declarations import of_kind
from firebreak.model import JsonObject
from firebreak.probing import Control
from providers.azure.cosmosroles import account_of
from providers.azure.ids import ResourceId
from providers.azure.resources.artifacts import CosmosContainer
from providers.azure.resources.identities import Probe
from providers.azure.session import AzureAccess

RIGHTS = ("data_assignments", "through_groups")
"""Where a recorded reach keeps rights on data."""


def memory_probes(access: AzureAccess) -> dict[str, Probe]:
    """Return a probe for each declared container, by the container's ARM id."""
    declared = of_kind(access.run.workload.resources(), CosmosContainer)
    return {each.ref: Probe(url=_address(access, each.ref)) for each in declared}


def listed_only(access: AzureAccess, reach: JsonObject, control: Control) -> tuple[str, ...]:
    """Say which rights on data are there, and will be gone by listing alone: no probe of theirs worked."""
    accounts = {account_of(each).lower() for each in _rights(reach)}
    unproved = [
        ref
        for ref, probe in memory_probes(access).items()
        if account_of(ref).lower() in accounts and probe.title not in control.works
    ]
    reasons = "; ".join(control.gaps)
    return tuple(
        f"its rights on {each} are proved to be gone by listing alone, no trial of them worked before"
        + (f" ({reasons})" if reasons else "")
        for each in unproved
    )


def _rights(reach: JsonObject) -> Iterator[str]:
    """The ids of the recorded assignments of Cosmos DB's own roles."""
    for kind in RIGHTS:
        yield from (each for each in reach.get(kind, {}) if "/sqlroleassignments/" in each.lower())


def _address(access: AzureAccess, ref: str) -> str:
    container = ResourceId.parse(ref)
    host = f"{container.part('databaseAccounts').lower()}.{access.endpoints.cosmos_suffix}"
    return f"https://{host}/dbs/{container.part('sqlDatabases')}/colls/{container.name}"
