"""One real dev server for all workflow tests of a process, and simulated time for those that need it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import DevServer, dev_server
from firebreak.settings import Settings
from tests.workflows.stage import Stage, skipping_stage, stage_on


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with dev_server(tmp_path_factory.mktemp("temporal"), memory=True) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(server: DevServer) -> AsyncIterator[Stage]:
    """On the real dev server."""
    client = await Client.connect(server.address, data_converter=data_converter(Settings()))
    await ensure_search_attributes(client)
    async with stage_on(client) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def skipping() -> AsyncIterator[Stage]:
    """In simulated time. A server of its own, since one that has seen an update skips no more time."""
    async with skipping_stage() as running:
        yield running
