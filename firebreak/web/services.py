"""What every router of the web process works with: opened once, frozen, passed down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client

from firebreak.inventoryfile import InventoryFile
from firebreak.measure import now
from firebreak.settings import Settings


@dataclass(frozen=True)
class Services:
    """The bundle; each part of the web adds what it needs."""

    settings: Settings
    temporal: Client
    inventory: InventoryFile
    clock: Callable[[], datetime] = now
