"""Phase 3 on AWS: nothing can be modified, deleted or promoted, and every artifact's hash is on record."""

from providers.aws.artifacts import images, models, objects, pipelines, tables

__all__ = ["images", "models", "objects", "pipelines", "tables"]
