"""Read what an inventory declares, and say plainly where it does not exist, before anything is planned."""

from __future__ import annotations

from firebreak.errors import AbsentError
from firebreak.model import JsonObject
from providers.azure.answers import translated
from providers.azure.session import AzureAccess


def existing(access: AzureAccess, ref: str, version: str, what: str) -> JsonObject:
    """Read a resource; raises AbsentError, which names it, where there is none."""
    with translated(ref):
        found = access.arm().get(ref, version)
    if found is None:
        raise absent(ref, what)
    return found


def absent(ref: str, what: str) -> AbsentError:
    """The refusal of what is declared and not there."""
    return AbsentError(f"{what} does not exist", resource=ref, remedy="correct the inventory")
