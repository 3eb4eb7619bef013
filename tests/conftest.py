"""What every test process is held to: no network beyond this machine, no settings of the developer's."""

from __future__ import annotations

import gc
import ipaddress
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from drills.sandbox.aws.client import SandboxClient, start_sandbox
from drills.sandbox.azure.client import AzureSandbox
from drills.sandbox.azure.client import start_sandbox as start_azure_sandbox

_FOREIGN_SETTINGS = ("AWS_", "AZURE_", "FIREBREAK_", "TEMPORAL_", "BOTO")


class NetworkRefusedError(RuntimeError):
    """A test tried to leave the machine; no OSError, so that no retry loop can swallow it."""


def pytest_configure() -> None:
    """Forget the developer's cloud settings, and refuse every address beyond this machine from here on."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN_SETTINGS)]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    sys.addaudithook(_refuse_network)
    # How long an example takes is the machine's affair; benchmarks measure.
    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """Leave out of every later garbage collection what was loaded to collect thousands of tests."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let Temporal's native threads come to rest, or the interpreter may crash while it exits.

    https://github.com/temporalio/sdk-python/issues/300
    """
    if "temporalio.bridge" in sys.modules:
        time.sleep(0.25)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxClient]:
    """One AWS sandbox process for all tests of this pytest process."""
    with start_sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def azure_sandbox() -> Iterator[AzureSandbox]:
    """One Azure sandbox process for all tests of this pytest process."""
    with start_azure_sandbox() as running:
        yield running


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        if isinstance(address, tuple) and not _is_local(address[0]):
            raise NetworkRefusedError(f"a test tried to reach {address[0]}")
    elif event == "socket.getaddrinfo" and not _is_local(arguments[0]):
        raise NetworkRefusedError(f"a test tried to look up {arguments[0]}")


def _is_local(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
