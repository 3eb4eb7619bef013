"""The Azure side of the provider seam: inventory kinds, sessions, stores, and least-privilege roles."""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from firebreak.discovery import own_workload
from firebreak.errors import UsageError
from firebreak.evidence.vault import Vault
from firebreak.model import Cloud, JsonObject, Mode, Resource, Run, Workload
from firebreak.provider import Need, Proposal, Search
from firebreak.settings import Settings
from providers.azure.endpoints import CLOUDS
from providers.azure.ids import SUBSCRIPTION_ID, ResourceId
from providers.azure.resources import KINDS
from providers.azure.session import AzureAccess

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

_REGION = re.compile(r"^[a-z][a-z0-9]{2,39}$")
_ACCESS_KEYS = {"tenant_id", "client_id", "cloud"}


class AzureProvider:
    """Microsoft Azure."""

    kinds: Mapping[str, Mapping[str, type[Resource]]] = KINDS

    def check(self, workload: Workload) -> list[str]:
        """Name what is wrong with subscription, location, access and references. No network."""
        problems = []
        if not SUBSCRIPTION_ID.fullmatch(workload.account):
            problems.append(f"account {workload.account!r} is not the id (a GUID) of an Azure subscription")
        if not _REGION.fullmatch(workload.region):
            problems.append(f"region {workload.region!r} is not the name of an Azure location")
        problems += _access_problems(workload)
        return problems or _place_problems(workload)

    def access(self, run: Run, settings: Settings, vault: Vault) -> AzureAccess:
        """Bind a run to the responder's clients; raises GuardError for a drill outside the sandbox."""
        return AzureAccess(run, settings)

    def vault(self, settings: Settings) -> Vault:
        """Open the immutable blob container that the settings name."""
        return cast("Vault", _part("vault").AzureBlobVault.open(settings))

    def check_store(self, settings: Settings) -> tuple[str, ...]:
        """Name what is wrong with the container's immutability and exposure. Read-only."""
        return cast("tuple[str, ...]", _part("vault").AzureBlobVault.open(settings).check())

    def signer(self, settings: Settings, mode: Mode) -> Signer:
        """Open the key that signs evidence packages of this mode."""
        return cast("Signer", _part("signing").open_signer(settings, mode))

    def own_principals(self, access: AzureAccess) -> tuple[str, ...]:
        """List the object and client ids of the responder and of the evidence identity."""
        return cast("tuple[str, ...]", _part("permissions").own_principals(access))

    def missing_permissions(self, access: AzureAccess, needs: Iterable[Need]) -> tuple[str, ...]:
        """Compare what the plan needs with the responder's effective permissions. Read-only."""
        return cast("tuple[str, ...]", _part("permissions").missing(access, needs))

    def policies(
        self, needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings
    ) -> JsonObject:
        """Write the least-privilege custom roles, one per identity."""
        return cast("JsonObject", _part("permissions").documents(needs, workloads, settings))

    def discover(self, search: Search, settings: Settings) -> Proposal:
        """Propose workloads from the subscription's tags; raises UsageError when the place is not Azure's."""
        problems = self.check(own_workload(search, Cloud.AZURE))
        if problems:
            raise UsageError("; ".join(problems))
        return cast("Proposal", _part("discovery").discover(search, settings))


def _part(name: str) -> Any:
    """Import a module when it is used: reading an inventory needs none of the SDKs behind it."""
    return importlib.import_module(f"providers.azure.{name}")


def _access_problems(workload: Workload) -> list[str]:
    access = workload.access
    problems = [f"access.{key} is not known to Azure" for key in sorted(set(access) - _ACCESS_KEYS)]
    problems += [
        f"access.{key} {access[key]!r} is not a GUID"
        for key in ("tenant_id", "client_id")
        if access.get(key) and not SUBSCRIPTION_ID.fullmatch(access[key])
    ]
    if access.get("cloud", CLOUDS[0]) not in CLOUDS:
        problems.append(f"access.cloud {access['cloud']!r} is none of {', '.join(CLOUDS)}")
    return problems


def _place_problems(workload: Workload) -> list[str]:
    """Compare the subscription that each ARM id carries with the workload's own; one problem per place."""
    elsewhere: dict[str, list[Resource]] = defaultdict(list)
    for resource in workload.resources():
        subscription = _subscription(resource)
        if subscription and subscription.lower() != workload.account.lower():
            elsewhere[subscription].append(resource)
    return [_misplaced(workload, place, resources) for place, resources in elsewhere.items()]


def _subscription(resource: Resource) -> str:
    if resource.kind == "activity-log":
        return resource.ref
    return ResourceId.parse(resource.ref).subscription if resource.ref.startswith("/") else ""


def _misplaced(workload: Workload, place: str, resources: list[Resource]) -> str:
    where = f"in subscription {place}, the workload in {workload.account}"
    first = f"{resources[0].kind} {resources[0].ref}"
    if len(resources) == 1:
        return f"{first} is {where}"
    return f"{first} and {len(resources) - 1} more resources are {where}"


PROVIDER = AzureProvider()
