"""What the blob service answers when it refuses.

Source: Azure Storage REST API, "Status and error codes" and "Blob service error codes".
"""

from __future__ import annotations

from drills.sandbox.azure.errors import ArmError


class BlobError(ArmError):
    """A refusal of the blob service, worded by the envelope of its host."""
