"""A stack of processes for each test of the chaos suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rig import Rig, rig
from tests.e2e.scene import CLOUDS, Scene
from tests.e2e.scenes import scene_of


@pytest.fixture(scope="module", params=CLOUDS, ids=str)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Each cloud in turn."""
    return scene_of(request.param, request)


@pytest.fixture
def chaos(scene: Scene, tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, scene) as made:
        made.start_workers()
        yield made
