"""What a cloud's folder under ``providers/`` offers besides its measures."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import Field

from firebreak.errors import PermanentCloudError
from firebreak.evidence.vault import Vault
from firebreak.measure import Measure, load
from firebreak.model import Cloud, FrozenModel, JsonObject, Mode, Resource, Run, Target, Workload
from firebreak.settings import Settings

if TYPE_CHECKING:  # the library looks for every cloud's SDK, which each command would wait for
    from securesystemslib.signer import Signer

Need = tuple[type[Measure[Any]], Target]
"""A measure and one target that it will act on."""


class Search(FrozenModel):
    """Where to look for workloads, and the tag by which their resources are recognised."""

    account: str
    region: str
    access: dict[str, str] = Field(default_factory=dict)
    """How to reach the account; the keys are the provider's, as in a workload."""
    tag: str
    value: str = ""
    """Only the workload of this value; empty for all."""


class Proposal(FrozenModel):
    """What was found: workloads that an inventory accepts, and what they lack."""

    workloads: tuple[Workload, ...]
    notes: dict[str, tuple[str, ...]]
    """Workload id to what only a person can add or decide."""
    left_out: tuple[str, ...]
    """Resources that carry the tag and are not proposed, each with the reason."""


class Provider(Protocol):
    """One cloud. ``providers.<cloud>.PROVIDER`` is its instance."""

    kinds: Mapping[str, Mapping[str, type[Resource]]]
    """Inventory group (``identities``, ``network``, ...) to kind to the class that validates it."""

    def check(self, workload: Workload) -> list[str]:
        """Problems of the workload's own fields (account, region, access), in words. No I/O."""
        ...

    def access(self, run: Run, settings: Settings, vault: Vault) -> Any:
        """The responder's sessions for that workload. In a drill it refuses (GuardError) any account that
        is not listed as sandbox. No change is made.
        """
        ...

    def vault(self, settings: Settings) -> Vault:
        """The evidence store that the settings name."""
        ...

    def check_store(self, settings: Settings) -> tuple[str, ...]:
        """What is wrong with how the evidence store itself is set up, in words. Read-only."""
        ...

    def signer(self, settings: Settings, mode: Mode) -> Signer:
        """The key that signs evidence packages; drills have another one."""
        ...

    def own_principals(self, access: Any) -> tuple[str, ...]:
        """The identities that Firebreak itself runs as; they are never a target."""
        ...

    def missing_permissions(self, access: Any, needs: Iterable[Need]) -> tuple[str, ...]:
        """What the responder may not do of what the plan needs, as ``action on resource``. Read-only."""
        ...

    def policies(
        self, needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings
    ) -> JsonObject:
        """Least-privilege policy documents by role (responder, evidence, orchestrator, discovery)."""
        ...

    def discover(self, search: Search, settings: Settings) -> Proposal:
        """Propose the workloads that an account's tags tell of. Read-only."""
        ...


def provider(cloud: Cloud) -> Provider:
    """The provider of a cloud; raises PermanentCloudError when it is not installed."""
    load(cloud)
    module = importlib.import_module(f"providers.{cloud.value}")
    if not hasattr(module, "PROVIDER"):
        raise PermanentCloudError(f"providers.{cloud.value} defines no PROVIDER")
    return cast("Provider", module.PROVIDER)
