"""Phase 4 on Azure: a complete copy in immutable storage, re-read and proved undeletable."""

from providers.azure.forensics import activity, channels, disks, flowlogs, investigation, memory, workloadlogs

__all__ = ["activity", "channels", "disks", "flowlogs", "investigation", "memory", "workloadlogs"]
