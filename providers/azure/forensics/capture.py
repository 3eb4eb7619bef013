"""Capture on Azure: the streaming that all clouds share, with the way to the subscription."""

from __future__ import annotations

from firebreak.capture import Capture
from firebreak.model import Resource, Target, Workload
from providers.azure.session import AzureAccess, AzureMeasure


class AzureCapture(Capture[AzureAccess], AzureMeasure):
    """The parent of every Azure capture."""


def target_of(workload: Workload, resource: Resource) -> Target:
    """The target that one declared resource is."""
    return Target(kind=resource.kind, ref=resource.ref, account=workload.account, region=workload.region)
