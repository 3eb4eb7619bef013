"""Amazon Web Services: importing this package registers its measures."""

from providers.aws import artifacts, forensics, identity, network
from providers.aws.provider import PROVIDER

__all__ = ["PROVIDER", "artifacts", "forensics", "identity", "network"]
