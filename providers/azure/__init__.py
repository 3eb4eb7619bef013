"""Microsoft Azure: importing this package registers its measures."""

from providers.azure.provider import PROVIDER

__all__ = ["PROVIDER"]
