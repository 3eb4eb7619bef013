"""Preflight: is everything in place that a containment will need? Read-only; each check names its remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeNamespaceResponse
from temporalio.client import Client
from temporalio.service import RPCError

from firebreak import inventory, ownership
from firebreak.connect import RETENTION, connect
from firebreak.errors import EvidenceError, FirebreakError, MissingPermissionError, UsageError
from firebreak.evidence.vault import Vault
from firebreak.inventory import Inventory
from firebreak.liveness import canary, clock_ahead
from firebreak.measure import measures, now
from firebreak.model import Cloud, FrozenModel, Mode, Run, Workload
from firebreak.notify import channels, commenting
from firebreak.pollers import ACTIVITIES, POLLED_WITHIN, WORKFLOWS, listed, living
from firebreak.provider import Provider, provider
from firebreak.settings import LinkSettings, Settings, load_settings
from firebreak.start import cloud_queue
from workflows.oncall import SAME_TIME_SECONDS

WEB_EXTRA = "firebreak[web]"
"""Holds what people and their rules are reached through; the worker of a cloud does without."""
STORE_REMEDY = (
    "give the store versions and locks, and no default retention: every exhibit is locked on its own"
)

ValueT = TypeVar("ValueT")


class Outcome(StrEnum):
    """What a check found."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Check(FrozenModel):
    """One thing that was looked at."""

    name: str
    outcome: Outcome
    detail: str
    remedy: str = ""
    exit_code: int = 0


class Examination:
    """The checks made so far."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    async def look(
        self, name: str, check: Callable[[], Awaitable[tuple[str, ValueT]]], *, optional: bool = False
    ) -> ValueT | None:
        """Make one check; returns what later checks build on, or None when it failed.

        An optional one is skipped where what it needs is not installed.
        """
        try:
            detail, value = await check()
        except FirebreakError as error:
            self._failed(name, error)
        except RPCError as error:
            self._failed(name, FirebreakError(f"Temporal answered {error.status.name}: {error.message}"))
        except ModuleNotFoundError as error:
            lacking = f"needs {error.name}, which is not installed here"
            if optional:
                self.skip(name, lacking)
            else:
                self._failed(name, FirebreakError(lacking, remedy=f"install {WEB_EXTRA}"))
        else:
            self.checks.append(Check(name=name, outcome=Outcome.OK, detail=detail))
            return value
        return None

    def skip(self, name: str, why: str) -> None:
        """Note a check that could not be made."""
        self.checks.append(Check(name=name, outcome=Outcome.SKIPPED, detail=why))

    @property
    def exit_code(self) -> int:
        """0 when nothing failed; 2 when the settings or the inventory did; 1 otherwise."""
        codes = [check.exit_code for check in self.checks if check.outcome is Outcome.FAILED]
        return 0 if not codes else UsageError.exit_code if UsageError.exit_code in codes else 1

    def _failed(self, name: str, error: FirebreakError) -> None:
        named = f" [{error.resource}]" if error.resource and error.resource not in error.message else ""
        self.checks.append(
            Check(
                name=name,
                outcome=Outcome.FAILED,
                detail=f"{error.message}{named}",
                remedy=error.remedy,
                exit_code=error.exit_code,
            )
        )


async def examine(cloud: Cloud | None) -> Examination:
    """Make every check; a cloud's own only where its credentials are, which the caller says by naming it."""
    made = Examination()
    await made.look("import names", _names)
    settings = await made.look("settings", _settings)
    if settings is None:
        made.skip("everything else", "needs the settings")
        return made
    loaded = await made.look("inventory", lambda: _inventory(settings))
    await made.look("rules", lambda: _rules(settings), optional=settings.console.policy_file is None)
    await made.look("messages", lambda: _messages(settings))
    workloads = list(loaded.workloads.values()) if loaded else []
    await _examine_temporal(made, settings, [cloud] if cloud else sorted({each.cloud for each in workloads}))
    if cloud is None:
        made.skip("clouds", "name --cloud on a machine that holds that cloud's credentials")
    else:
        await _examine_cloud(made, settings, cloud, [each for each in workloads if each.cloud is cloud])
    return made


async def _names() -> tuple[str, None]:
    await asyncio.to_thread(ownership.check_names)
    return "no other distribution holds them", None


async def _settings() -> tuple[str, Settings]:
    return "every variable is well-formed", load_settings()


async def _inventory(settings: Settings) -> tuple[str, Inventory]:
    loaded = await asyncio.to_thread(inventory.load, settings.inventory)
    return f"{len(loaded.workloads)} workloads in {loaded.path}", loaded


async def _rules(settings: Settings) -> tuple[str, None]:
    from firebreak.policy.rules import Rules  # noqa: PLC0415 - of an extra

    file = settings.console.policy_file
    await asyncio.to_thread(Rules.load, file)
    return f"who may do what is read from {file or 'the default rules'}", None


async def _messages(settings: Settings) -> tuple[str, None]:
    """Whether every channel and signed links could be used; nothing is sent."""
    if settings.links != LinkSettings():
        from firebreak.links import Links  # noqa: PLC0415 - of an extra

        Links.open(settings)
    found = await asyncio.to_thread(channels, settings)
    commenting(settings)
    return f"{', '.join(channel.name for channel in found)}; nothing was sent", None


async def _examine_temporal(made: Examination, settings: Settings, clouds: list[Cloud]) -> None:
    client = await made.look("temporal", lambda: _connected(settings))
    if client is None:
        made.skip("workers", "need the Temporal server")
        return
    await made.look("retention", lambda: _retention(client))
    queue = settings.task_queue
    await made.look("clock", lambda: _clock(client, queue))
    polled = await made.look("workflow worker", lambda: _polled(client, queue, WORKFLOWS, "workflows"))
    if polled:
        await made.look("canary workflow", lambda: _canary(client, queue))
    for cloud in clouds:
        await made.look(f"{cloud} worker", _cloud_polled(client, settings, cloud))


async def _connected(settings: Settings) -> tuple[str, Client]:
    client = await connect(settings)
    await _described(client)
    return f"{client.service_client.config.target_host}, namespace {client.namespace}", client


async def _described(client: Client) -> DescribeNamespaceResponse:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    return await client.workflow_service.describe_namespace(request)


async def _retention(client: Client) -> tuple[str, None]:
    """Whether a run is remembered until its workload is given back."""
    kept = (await _described(client)).config.workflow_execution_retention_ttl.ToTimedelta()
    if kept < RETENTION:
        raise FirebreakError(
            f"runs are forgotten {_days(kept)} after their end, and no longer found by a release then",
            resource=client.namespace,
            remedy=f"temporal operator namespace update --namespace {client.namespace} --retention 720h "
            "(Temporal Cloud: in the namespace's settings)",
        )
    return f"runs are found for {_days(kept)} after their end", None


def _days(period: timedelta) -> str:
    days = period / timedelta(days=1)
    return f"{days:g} day{'s' if days != 1 else ''}"


def _cloud_polled(
    client: Client, settings: Settings, cloud: Cloud
) -> Callable[[], Awaitable[tuple[str, int]]]:
    return lambda: _polled(client, cloud_queue(settings, cloud), ACTIVITIES, cloud.value)


async def _polled(client: Client, queue: str, kind: TaskQueueType.ValueType, role: str) -> tuple[str, int]:
    found = living(await listed(client, queue, kind), now())
    if not found:
        raise FirebreakError(
            f"nobody has polled {queue} for {POLLED_WITHIN.total_seconds():.0f} s",
            remedy=f"start firebreak worker --role {role}",
        )
    return f"{queue} is polled by {', '.join(found)}", len(found)


async def _clock(client: Client, queue: str) -> tuple[str, None]:
    """Whether this clock agrees with the server's: triggers, evidence and signatures carry its time."""
    ahead = await clock_ahead(client, queue)
    if abs(ahead) > SAME_TIME_SECONDS:
        raise FirebreakError(
            f"this machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Temporal's",
            remedy="keep both by NTP",
        )
    return f"within {SAME_TIME_SECONDS:.0f} s of the Temporal server's", None


async def _canary(client: Client, queue: str) -> tuple[str, None]:
    if not await canary(client, queue):
        raise FirebreakError(
            "no workflow runs to its end", resource=queue, remedy="restart the workflow worker"
        )
    return "a workflow ran to its end", None


@dataclass(frozen=True)
class _Account:
    """One workload as the responder reaches it. Every method blocks."""

    provider: Provider
    settings: Settings
    vault: Vault
    workload: Workload

    def credentials(self) -> tuple[str, Any]:
        run = Run(incident_id="doctor", mode=Mode.LIVE, workload=self.workload, triggered_at=now())
        access = self.provider.access(run, self.settings, self.vault)
        principals = self.provider.own_principals(access)
        return f"account {self.workload.account} as {', '.join(principals)}", access

    def permissions(self, access: Any) -> tuple[str, None]:
        needs = [
            (measure, target)
            for measure in measures(self.workload.cloud)
            for target in measure.applies_to(self.workload)
        ]
        missing = self.provider.missing_permissions(access, needs)
        if missing:
            raise MissingPermissionError(
                f"the responder lacks {'; '.join(missing)}",
                remedy=f"apply firebreak permissions --cloud {self.workload.cloud}",
            )
        return f"everything that {len(needs)} steps need", None


async def _examine_cloud(
    made: Examination, settings: Settings, cloud: Cloud, workloads: list[Workload]
) -> None:
    found = await made.look("measures", lambda: asyncio.to_thread(_provider, cloud))
    vault = (
        await made.look("evidence store", lambda: asyncio.to_thread(_store, found, settings, cloud))
        if found
        else None
    )
    if found is None or vault is None:
        made.skip("credentials and permissions", "need the evidence store")
        return
    await made.look("signing key", lambda: asyncio.to_thread(_signing_key, found, settings))
    for workload in workloads:
        await _examine_account(made, _Account(found, settings, vault, workload))


async def _examine_account(made: Examination, account: _Account) -> None:
    name = account.workload.id
    access = await made.look(f"credentials for {name}", lambda: asyncio.to_thread(account.credentials))
    if access is None:
        made.skip(f"permissions for {name}", "need the credentials")
        return
    await made.look(f"permissions for {name}", lambda: asyncio.to_thread(account.permissions, access))


def _provider(cloud: Cloud) -> tuple[str, Provider]:
    return f"{len(measures(cloud))} for {cloud}", provider(cloud)


def _store(found: Provider, settings: Settings, cloud: Cloud) -> tuple[str, Vault]:
    """Read how the store is set up, and the lock of one object where there is one; nothing is written."""
    place = settings.evidence_of(cloud).store
    vault = found.vault(settings)
    problems = found.check_store(settings)
    if problems:
        raise EvidenceError("; ".join(problems), resource=place, remedy=STORE_REMEDY)
    uri = next(iter(vault.list("")), "")
    if not uri:
        return f"{place} is empty; it keeps versions and can lock them", vault
    locked_until = vault.find(uri).locked_until
    if locked_until is None:
        raise EvidenceError("the store holds an unlocked object", resource=uri, remedy=STORE_REMEDY)
    return f"{place} keeps versions and locks them; the first until {locked_until:%Y-%m-%d}", vault


def _signing_key(found: Provider, settings: Settings) -> tuple[str, None]:
    key = found.signer(settings, Mode.LIVE).public_key
    return f"{key.scheme}, key id {key.keyid[:16]}", None
