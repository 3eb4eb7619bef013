"""Register the types of Microsoft.Network, which have their api-versions and their ways in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drills.sandbox.azure.generic import resource_type

if TYPE_CHECKING:
    from typing import Unpack

    from drills.sandbox.azure.generic import Hooks

VERSIONS = ("2024-05-01", "2024-07-01", "2025-01-01", "2025-05-01", "2025-07-01", "2026-03-01")


def network_type(name: str, title: str, **hooks: Unpack[Hooks]) -> None:
    """Register a type by its name and its title in the reference; only an outermost one has a location."""
    hooks.setdefault("source", f"Network REST API, {title}")
    hooks.setdefault("asynchronous", True)
    hooks.setdefault("needs_location", name.count("/") == 1)
    resource_type(name, versions=VERSIONS, **hooks)
