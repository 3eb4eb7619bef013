"""One Temporal server for all end-to-end tests of a process; a stack for each module and cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from firebreak.devserver import DevServer, dev_server
from firebreak.model import Cloud
from tests.e2e.scene import CLOUDS, Scene
from tests.e2e.scenes import scene_of
from tests.e2e.stack import Stack, running_stack

QUICK_ON_AZURE = {"test_contained.py"}
"""The other modules take minutes on their second cloud: make slow runs them there."""
SLOW = {
    "test_alerts.py",
    "test_bad_input.py",
    "test_evidence.py",
    "test_faults.py",
    "test_guards.py",
    "test_permissions.py",
    "test_proof.py",
    "test_release.py",
    "test_targets_aws.py",
    "test_webhook.py",
}
"""Several containments each, or a hundred previews: minutes on any cloud."""


@pytest.hookimpl(tryfirst=True)  # before marks select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow everywhere, and what is slow on one cloud alone."""
    for item in items:
        if item.path.parent == Path(__file__).parent and _is_slow(item):
            item.add_marker(pytest.mark.slow)


def _is_slow(item: pytest.Item) -> bool:
    on_azure = "azure" in item.path.name or f"[{Cloud.AZURE}" in item.name
    return item.path.name in SLOW or (on_azure and item.path.name not in QUICK_ON_AZURE)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A Temporal dev server in memory."""
    with dev_server(tmp_path_factory.mktemp("temporal"), memory=True) as running:
        yield running


@pytest.fixture(scope="module", params=CLOUDS, ids=str)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Each cloud in turn; a module about one cloud alone defines its own ``scene``."""
    return scene_of(request.param, request)


@pytest.fixture(scope="module")
def stack(scene: Scene, server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The sample agent and the variants, with workers; shared by the tests of a module."""
    with running_stack(scene, server, tmp_path_factory.mktemp("stack"), variants=True) as running:
        yield running


@pytest.fixture
def fresh_stack(scene: Scene, server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the test's own, with the sample agent alone; it empties the sandbox under ``stack``."""
    with running_stack(scene, server, tmp_path_factory.mktemp("stack")) as running:
        yield running
