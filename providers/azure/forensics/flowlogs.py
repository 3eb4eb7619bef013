"""Preserve what the network logged: the raw files of the virtual network flow logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.exceptions import HttpResponseError

from firebreak.capture import Page
from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.measure import Permission, Scope, now, on_target
from firebreak.model import Cloud, JsonObject, Phase, Target, Workload
from providers.azure.answers import error_code, translated
from providers.azure.existence import existing
from providers.azure.forensics.blobs import READ_BLOBS, copied_page
from providers.azure.forensics.capture import AzureCapture
from providers.azure.ids import ResourceId
from providers.azure.resources.declared import declared
from providers.azure.resources.evidence import FlowLog

_VERSION = "2025-07-01"
"""api-version of ``Microsoft.Network``."""
_CONTAINER = "insights-logs-flowlogflowevent"
_ROOT = "flowLogResourceID=/"
_NO_CONTAINER = "ContainerNotFound"  # Blob service error codes
_HOUR = re.compile(r"/y=(\d{4})/m=(\d\d)/d=(\d\d)/h=(\d\d)/m=\d\d/")
"""Container and path of the files (Network Watcher, "Virtual network flow logs", "Log format")."""


class CaptureFlowLogs(
    AzureCapture, cloud=Cloud.AZURE, phase=Phase.FORENSIC_CAPTURE, name="capture-flow-logs"
):
    """Preserve the virtual network flow log files of the window, raw, from their storage account."""

    permissions = (
        *on_target("Microsoft.Network/networkWatchers/flowLogs/read"),
        Permission(READ_BLOBS, Scope.ANY),
    )
    kind = "flow log"
    acquired_by = "Get Blob"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared flow log."""
        return targets_of(workload, of_kind(workload.evidence_sources, FlowLog))

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:
        """The storage account that the inventory names; the subscription where it names none."""
        flow_log = declared(workload, FlowLog, target.ref)
        account = flow_log.storage_account if flow_log else ""
        return (account,) if account else super().places(action, target, workload)

    def discover(self, target: Target) -> list[Target]:
        """The flow log; raises PermanentCloudError where it does not exist or is off."""
        self._storage(target)
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Read where the files are delivered."""
        return {"storage": self._storage(target)}

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Copy the files of each day of the window; the file of the hour is still growing."""
        container = self._container(target)
        place = {"days": self._days(), "index": 0, "token": "", "number": 0, **position}
        roots = place.setdefault("roots", self._roots(container, target))
        folders = [f"{root}{day}" for root in roots for day in place["days"]]
        while place["index"] < len(folders):
            folder = folders[place["index"]]
            page = copied_page(self.context, container, folder, place, kind=self.kind, wanted=self._in_window)
            yield page
            place = page.position

    def _storage(self, target: Target) -> str:
        properties = existing(self.access, target.ref, _VERSION, "the flow log")["properties"]
        if not properties.get("enabled"):
            raise PermanentCloudError(
                "the flow log is switched off",
                resource=target.ref,
                remedy="enable it before an incident: it tells nothing of the time before",
            )
        return str(properties["storageId"])

    def _container(self, target: Target) -> Any:
        account = ResourceId.parse(self._storage(target)).name
        blobs = self.access.blobs(self.access.endpoints.blob_url(account))
        return blobs.get_container_client(_CONTAINER)

    def _roots(self, container: Any, target: Target) -> list[str]:
        """The folders of this flow log: written in upper case where the ids are not.

        Raises TransientCloudError where the platform has delivered nothing at all: it makes the container.
        """
        flow_log = ResourceId.parse(target.ref)
        group = f"{flow_log.subscription}_{flow_log.group}"
        name = f"{flow_log.part('networkWatchers')}_{flow_log.name}"
        with translated(container.url):
            try:
                groups = _folders(container, _ROOT, group)
                return [each for folder in groups for each in _folders(container, folder, name)]
            except HttpResponseError as error:
                if error_code(error) != _NO_CONTAINER:
                    raise
                raise TransientCloudError(
                    "no flow log has been delivered yet, or somebody deleted them all", resource=container.url
                ) from error

    def _days(self) -> list[str]:
        first, last = self.run.window_started_at.astimezone(UTC).date(), now().date()
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return [f"{day:y=%Y/m=%m/d=%d}/" for day in days]

    def _in_window(self, name: str) -> bool:
        """Whether the hour of a file ends after the window's start; a name of another form is taken too."""
        match = _HOUR.search(name)
        if not match:
            return True
        hour = datetime.strptime(" ".join(match.groups()), "%Y %m %d %H").replace(tzinfo=UTC)
        return hour + timedelta(hours=1) > self.run.window_started_at


def _folders(container: Any, above: str, name: str) -> list[str]:
    found = container.walk_blobs(name_starts_with=above, delimiter="/")
    wanted = f"{above}{name}/".lower()
    return [each.name for each in found if each.name.lower() == wanted]
