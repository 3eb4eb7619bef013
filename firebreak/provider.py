"""What a cloud's folder under ``providers/`` offers besides its measures."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from securesystemslib.signer import Signer

from firebreak.errors import PermanentCloudError
from firebreak.evidence.vault import Vault
from firebreak.measure import Measure, load
from firebreak.model import Cloud, JsonObject, Mode, Resource, Run, Target, Workload
from firebreak.settings import Settings

Need = tuple[type[Measure[Any]], Target]
"""A measure and one target that it will act on."""


class Provider(Protocol):
    """One cloud. ``providers.<cloud>.PROVIDER`` is its instance."""

    kinds: Mapping[str, Mapping[str, type[Resource]]]
    """Inventory group (``identities``, ``network``, ...) to kind to the class that validates it."""

    def check(self, workload: Workload) -> list[str]:
        """Problems of the workload's own fields (account, region, access), in words. No I/O."""
        ...

    def access(self, run: Run, settings: Settings, vault: Vault) -> Any:
        """The responder's sessions for that workload. In a drill it refuses (GuardError) any account that
        is not listed as sandbox. No change is made."""
        ...

    def vault(self, settings: Settings) -> Vault:
        """The evidence store that the settings name."""
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

    def policies(self, needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings) -> JsonObject:
        """Least-privilege policy documents by role (responder, evidence, orchestrator)."""
        ...


def provider(cloud: Cloud) -> Provider:
    """The provider of a cloud; raises PermanentCloudError when it is not installed."""
    load(cloud)
    module = importlib.import_module(f"providers.{cloud.value}")
    if not hasattr(module, "PROVIDER"):
        raise PermanentCloudError(f"providers.{cloud.value} defines no PROVIDER")
    return cast("Provider", module.PROVIDER)
