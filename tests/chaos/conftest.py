"""A stack of processes for each test of the chaos suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.sandbox.aws.client import SandboxClient
from tests.chaos.rig import Rig, rig


@pytest.fixture
def chaos(sandbox: SandboxClient, tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, sandbox) as made:
        made.start_workers()
        yield made
