"""The AWS side of the provider seam: inventory kinds, sessions, stores, and least-privilege policies."""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import botocore.session

from firebreak.discovery import own_workload
from firebreak.errors import UsageError
from firebreak.evidence.vault import Vault
from firebreak.model import Cloud, JsonObject, Mode, Resource, Run, Workload
from firebreak.provider import Need, Proposal, Search
from firebreak.settings import Settings
from providers.aws import discovery, permissions
from providers.aws.resources import KINDS
from providers.aws.session import AwsAccess

if TYPE_CHECKING:  # the library looks for every cloud's SDK, which the worker's start would wait for
    from securesystemslib.signer import Signer

_ACCOUNT = re.compile(r"^\d{12}$")
_ROLE = re.compile(r"^arn:aws(?:-[a-z]+)*:iam::(\d{12}):role/[\w+=,.@/-]{1,512}$")
# STS API reference, AssumeRole, ExternalId.
_EXTERNAL_ID = re.compile(r"^[\w+=,.@:/-]{2,1224}$")
_ACCESS_KEYS = {"role_arn", "external_id"}


class AwsProvider:
    """Amazon Web Services."""

    kinds: Mapping[str, Mapping[str, type[Resource]]] = KINDS

    def check(self, workload: Workload) -> list[str]:
        """Name what is wrong with account, region, access and references. No network."""
        problems = []
        if not _ACCOUNT.match(workload.account):
            problems.append(f"account {workload.account!r} is not a 12-digit AWS account id")
        if workload.region not in known_regions():
            problems.append(f"region {workload.region!r} is not a region that this AWS SDK knows")
        problems += _access_problems(workload)
        return problems or _place_problems(workload)

    def access(self, run: Run, settings: Settings, vault: Vault) -> AwsAccess:
        """Bind a run to the responder's sessions; raises GuardError for a drill outside the sandbox."""
        return AwsAccess(run, settings)

    def vault(self, settings: Settings) -> Vault:
        """Open the S3 Object Lock store that the settings name."""
        module = importlib.import_module("providers.aws.vault")
        return cast("Vault", module.S3Vault.open(settings))

    def check_store(self, settings: Settings) -> tuple[str, ...]:
        """Name what is wrong with the bucket's versioning, lock and default retention. Read-only."""
        module = importlib.import_module("providers.aws.vault")
        return cast("tuple[str, ...]", module.S3Vault.open(settings).check())

    def signer(self, settings: Settings, mode: Mode) -> Signer:
        """Open the key that signs evidence packages of this mode."""
        module = importlib.import_module("providers.aws.signing")
        return cast("Signer", module.open_signer(settings, mode))

    def own_principals(self, access: AwsAccess) -> tuple[str, ...]:
        """List the responder, the orchestrator behind it, and the evidence role."""
        return permissions.own_principals(access)

    def missing_permissions(self, access: AwsAccess, needs: Iterable[Need]) -> tuple[str, ...]:
        """Simulate what the plan needs against the responder's policies. Read-only."""
        return permissions.missing(access, needs)

    def policies(
        self, needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings
    ) -> JsonObject:
        """Write the least-privilege policy documents by role."""
        return permissions.documents(needs, workloads, settings)

    def discover(self, search: Search, settings: Settings) -> Proposal:
        """Propose workloads from the account's tags; raises UsageError when the place is not AWS's."""
        problems = self.check(own_workload(search, Cloud.AWS))
        if problems:
            raise UsageError("; ".join(problems))
        return discovery.discover(search, settings)


@lru_cache(maxsize=1)
def known_regions() -> frozenset[str]:
    """Every region in the installed SDK's endpoint data."""
    endpoints = botocore.session.get_session().get_component("data_loader").load_data("endpoints")
    return frozenset(region for partition in endpoints["partitions"] for region in partition["regions"])


def _access_problems(workload: Workload) -> list[str]:
    problems = [f"access.{key} is not known to AWS" for key in sorted(set(workload.access) - _ACCESS_KEYS)]
    role, external_id = workload.access.get("role_arn", ""), workload.access.get("external_id", "")
    match = _ROLE.match(role)
    if role and not match:
        problems.append(f"access.role_arn {role!r} is not a role ARN")
    if match and match.group(1) != workload.account:
        problems.append(f"access.role_arn is in account {match.group(1)}, the workload in {workload.account}")
    if external_id and not _EXTERNAL_ID.match(external_id):
        problems.append("access.external_id has characters that STS does not accept")
    return problems


def _place_problems(workload: Workload) -> list[str]:
    """Compare the account and region that each ARN carries with the workload's own; one problem per place."""
    elsewhere: dict[str, list[Resource]] = defaultdict(list)
    for resource in workload.resources():
        # ARN format: arn:partition:service:region:account-id:resource
        _, _, _, region, account, *_ = (*resource.ref.split(":", 5), "", "", "", "")
        if resource.ref.startswith("arn:") and account not in {"", workload.account}:
            elsewhere[f"in account {account}, the workload in {workload.account}"].append(resource)
        elif resource.ref.startswith("arn:") and region not in {"", workload.region}:
            elsewhere[f"in region {region}, the workload in {workload.region}"].append(resource)
    return [_misplaced(place, resources) for place, resources in elsewhere.items()]


def _misplaced(place: str, resources: list[Resource]) -> str:
    first = f"{resources[0].kind} {resources[0].ref}"
    if len(resources) == 1:
        return f"{first} is {place}"
    return f"{first} and {len(resources) - 1} more resources are {place}"


PROVIDER = AwsProvider()
