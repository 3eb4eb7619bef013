"""Microsoft Azure: importing this package registers its measures."""

from providers.azure import artifacts, forensics, identity, network
from providers.azure.provider import PROVIDER

__all__ = ["PROVIDER", "artifacts", "forensics", "identity", "network"]
