"""What an inventory may declare of an Azure workload: one class per kind, each with strict references."""

from __future__ import annotations

from collections.abc import Mapping

from firebreak.model import Resource
from providers.azure.resources import artifacts, evidence, identities, network
from providers.azure.resources.declared import declared

__all__ = ["KINDS", "declared"]

KINDS: Mapping[str, Mapping[str, type[Resource]]] = {
    "identities": identities.KINDS,
    **network.KINDS,
    **artifacts.KINDS,
    **evidence.KINDS,
}
"""Inventory group to kind to class: network.py also holds the channels, artifacts.py stores and pipelines."""
