"""Phase 4 on AWS: a complete copy in immutable storage, re-read and proved undeletable."""

from providers.aws.forensics import audit, channels, investigation, logs, memory, volumes

__all__ = ["audit", "channels", "investigation", "logs", "memory", "volumes"]
