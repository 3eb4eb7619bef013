"""One server in simulated time, and one in real time, for all workflow tests of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import DevServer, dev_server
from firebreak.settings import Settings
from temporalio.client import Client
from tests.workflows.stage import Stage, skipping_stage, stage_on


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """In simulated time."""
    async with skipping_stage() as running:
        yield running


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with dev_server(tmp_path_factory.mktemp("temporal"), memory=True) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def real_stage(real_server: DevServer) -> AsyncIterator[Stage]:
    """On the real dev server, which knows visibility and runs in real time."""
    client = await Client.connect(real_server.address, data_converter=data_converter(Settings()))
    await ensure_search_attributes(client)
    async with stage_on(client) as running:
        yield running
