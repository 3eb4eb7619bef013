"""Phase 3 on Azure: nothing can be modified, deleted or promoted, and every artifact's hash is on record."""

from providers.azure.artifacts import blobs, images, locks, models, pipelines

__all__ = ["blobs", "images", "locks", "models", "pipelines"]
