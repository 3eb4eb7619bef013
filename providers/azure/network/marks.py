"""Say on a resource that workloads share who of them has changed it, and what it was before.

A mark is a tag, merged and deleted one by one (Resource Manager, "Tags - Update At Scope"), so that two
workloads do not overwrite each other. The one that releases last restores; what it restores is what the
first one found.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from firebreak.measure import on_any
from firebreak.model import JsonObject
from firebreak.session import owner_mark
from providers.azure.answers import translated
from providers.azure.session import AzureAccess

TAGS = "2021-04-01"
"""api-version of Microsoft.Resources/tags."""
USE_TAGS = on_any("Microsoft.Resources/tags/read", "Microsoft.Resources/tags/write")


@dataclass(frozen=True)
class Marks:
    """The marks on one taggable resource about something in it: a queue of a namespace, for example."""

    access: AzureAccess
    holder: str
    """The resource that carries the tags."""
    about: str
    """What was changed."""

    @property
    def own(self) -> str:
        """The name of this workload's tag."""
        return f"{self._prefix}{owner_mark(self.access.run)}"

    def all(self) -> dict[str, str]:
        """Every workload's mark about the thing: tag to the value before."""
        with translated(self.holder):
            found = self.access.arm().get(self._path, TAGS) or {}
        tags: dict[str, Any] = (found.get("properties") or {}).get("tags") or {}
        return {name: str(value) for name, value in tags.items() if name.startswith(self._prefix)}

    def original(self, current: str) -> str:
        """What the thing was before any workload changed it."""
        return next(iter(self.all().values()), current)

    def add(self, before: str) -> bool:
        """Mark the thing as changed by this workload; False when it is marked already."""
        if self.own in self.all():
            return False
        self._patch("Merge", {self.own: before})
        return True

    def remove(self) -> bool:
        """Take this workload's mark away; True when nobody else's is left."""
        present = self.all()
        if self.own in present:
            self._patch("Delete", {self.own: present.pop(self.own)})
        return not present

    @property
    def _prefix(self) -> str:
        return f"firebreak-{sha256(self.about.lower().encode()).hexdigest()[:12]}-"

    @property
    def _path(self) -> str:
        return f"{self.holder}/providers/Microsoft.Resources/tags/default"

    def _patch(self, operation: str, tags: dict[str, str]) -> None:
        body: JsonObject = {"operation": operation, "properties": {"tags": tags}}
        with translated(self.holder):
            self.access.arm().patch(self._path, body, TAGS)
