"""Capture on Azure: the streaming that all clouds share, with the way to the subscription."""

from __future__ import annotations

from firebreak.capture import Capture
from providers.azure.session import AzureAccess, AzureMeasure


class AzureCapture(Capture[AzureAccess], AzureMeasure):
    """The parent of every Azure capture."""
