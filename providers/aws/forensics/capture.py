"""Capture on AWS: the streaming that all clouds share, with the way to the account."""

from __future__ import annotations

from firebreak.capture import Capture
from providers.aws.session import AwsAccess, AwsMeasure


class AwsCapture(Capture[AwsAccess], AwsMeasure):
    """The parent of every AWS capture."""
