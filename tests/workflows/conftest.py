"""One real dev server for all workflow tests of a process, and simulated time for those that need it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from firebreak.devserver import DevServer, dev_server
from tests.workflows.stage import Stage, skipping_stage, stage_at


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with dev_server(tmp_path_factory.mktemp("temporal"), memory=True) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(server: DevServer) -> AsyncIterator[Stage]:
    """On the real dev server."""
    async with stage_at(server) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def skipping() -> AsyncIterator[Stage]:
    """In simulated time. A server of its own, since one that has seen an update skips no more time."""
    async with skipping_stage() as running:
        yield running
