"""An imaginary cloud, and the engine that acts on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from firebreak.engine import Engine
from tests.firebreak.imaginary import World, engine_of, imaginary_cloud, settings_for


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with imaginary_cloud(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def engine(world: World) -> Engine:
    return engine_of(settings_for(world.root))
