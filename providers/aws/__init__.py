"""Amazon Web Services: importing this package registers its measures."""

from providers.aws import accesskeys, artifacts, forensics, identity, network, trust
from providers.aws.provider import PROVIDER

__all__ = ["PROVIDER", "accesskeys", "artifacts", "forensics", "identity", "network", "trust"]
