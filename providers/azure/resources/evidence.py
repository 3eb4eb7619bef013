"""What an inventory may declare of the logs and investigations that are evidence about an Azure workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from firebreak.declarations import Declared
from firebreak.model import Resource
from providers.azure.resources.declared import GUID, arm_id

_WORKSPACE = arm_id("Microsoft.OperationalInsights/workspaces")


class ActivityLog(Declared):
    """The subscription's activity log; ``ref`` is the subscription's id."""

    kind: Literal["activity-log"]
    ref: Annotated[str, Field(pattern=rf"^{GUID}$")]


class FlowLog(Declared):
    """A virtual network flow log, delivered to the storage account that it names."""

    kind: Literal["flow-log"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.Network/networkWatchers/flowLogs')}$")]
    interval_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """How often the platform writes ("Virtual network flow logs": once a minute)."""
    continues_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """How often a flow that goes on is logged (the same page: every five minutes)."""
    storage_account: Annotated[
        str, Field(pattern=rf"^(?:{arm_id('Microsoft.Storage/storageAccounts')})?$")
    ] = ""
    """The account that it delivers to. Reading the logs is then allowed there only, not everywhere."""


class LogAnalytics(Declared):
    """A Log Analytics workspace with the workload's own logs."""

    kind: Literal["log-analytics"]
    ref: Annotated[str, Field(pattern=rf"^{_WORKSPACE}$")]
    workspace_id: Annotated[str, Field(pattern=rf"^{GUID}$")]
    tables: tuple[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")], ...] = ()
    """The tables to capture; a name may not carry anything of a query."""


class Sentinel(Declared):
    """The Log Analytics workspace that Microsoft Sentinel is enabled on."""

    kind: Literal["sentinel"]
    ref: Annotated[str, Field(pattern=rf"^{_WORKSPACE}$")]


KINDS: Mapping[str, Mapping[str, type[Resource]]] = {
    "evidence_sources": {
        "activity-log": ActivityLog,
        "flow-log": FlowLog,
        "log-analytics": LogAnalytics,
        "sentinel": Sentinel,
    }
}
