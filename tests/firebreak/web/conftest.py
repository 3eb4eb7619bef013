"""The web application on a real dev server, with scripted activities behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client

from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import DevServer, dev_server
from firebreak.settings import Settings
from tests.firebreak.web.hooks import Hooks, hooks_on, settings_for, sources_file
from tests.firebreak.web.senders import Keys
from tests.workflows.stage import Stage, stage_on


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with dev_server(tmp_path_factory.mktemp("temporal"), memory=True) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(server: DevServer) -> AsyncIterator[Stage]:
    client = await Client.connect(server.address, data_converter=data_converter(Settings()))
    await ensure_search_attributes(client)
    async with stage_on(client) as running:
        yield running


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    made = Keys()
    with pytest.MonkeyPatch.context() as patch:
        for name, secret in made.secrets.items():
            patch.setenv(f"WEBHOOK_TEST_{name}", secret)
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hooks(stage: Stage, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Hooks:
    folder: Path = tmp_path_factory.mktemp("web")
    settings = settings_for(folder, stage.settings.task_queue, answer_seconds=30)
    return hooks_on(stage.client, settings, keys, sources_file(folder, keys))
