"""Let elastic IP addresses look like public ones; the emulator takes them from the loopback range."""

from __future__ import annotations

from moto.ec2.models import elastic_ip_addresses
from moto.ec2.utils import random_public_ip


def apply() -> None:
    """Replace the emulator's choice of addresses."""
    elastic_ip_addresses.random_ip = random_public_ip  # type: ignore[attr-defined]
