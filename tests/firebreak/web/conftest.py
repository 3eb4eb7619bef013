"""The web application on a real dev server, with scripted activities behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from firebreak.devserver import DevServer, dev_server
from tests.firebreak.web.hooks import Hooks, hooks_on, settings_for, sources_file
from tests.firebreak.web.senders import Keys, keys_in_environment
from tests.workflows.stage import Stage, stage_at


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One for each module: a list waits for the runs of another module, whose workers are gone."""
    with dev_server(tmp_path_factory.mktemp("temporal"), memory=True) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(server: DevServer) -> AsyncIterator[Stage]:
    async with stage_at(server) as running:
        yield running


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    with keys_in_environment() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hooks(stage: Stage, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Hooks:
    folder: Path = tmp_path_factory.mktemp("web")
    settings = settings_for(folder, stage.settings.task_queue, answer_seconds=30)
    return hooks_on(stage.client, settings, keys, sources_file(folder, keys))
