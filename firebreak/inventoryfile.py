"""The inventory for processes that stay: read again when its file changes."""

from __future__ import annotations

from threading import Lock

import structlog

from firebreak import inventory
from firebreak.errors import InventoryError
from firebreak.inventory import Inventory
from firebreak.settings import Settings

log = structlog.get_logger("firebreak.inventory")


class InventoryFile:
    """The inventory as its file says now; the last good one where the file has been broken since."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.inventory
        self._reading = Lock()
        self._content = self._path.read_bytes() if self._path.is_file() else b""
        self._loaded = inventory.load(self._path)

    def current(self) -> Inventory:
        """The newest usable inventory; blocking, and quick unless the file changed."""
        with self._reading:
            content = self._path.read_bytes() if self._path.is_file() else b""
            if content != self._content:
                self._content = content
                self._reload()
            return self._loaded

    def _reload(self) -> None:
        try:
            self._loaded = inventory.load(self._path)
        except InventoryError as error:  # an edit that went wrong must not stop containments
            log.warning("inventory.refused", why=str(error), digest_in_use=self._loaded.digest)
