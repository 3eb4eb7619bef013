"""Every history ever recorded replays under today's workflows, converter and sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from firebreak import worker
from firebreak.codec import data_converter
from firebreak.settings import Settings
from tests.replay.record import HISTORIES, SCENES

RECORDED = {path: path.read_text() for path in sorted(HISTORIES.glob("*/*.json"))}


def replayer() -> Replayer:
    return Replayer(
        workflows=worker.WORKFLOWS,
        workflow_runner=worker._runner(),
        data_converter=data_converter(Settings()),
    )


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_a_recorded_history_replays(path: Path) -> None:
    await replayer().replay_workflow(WorkflowHistory.from_json(path.stem, RECORDED[path]))


def test_every_kind_of_run_is_recorded_for_every_version() -> None:
    assert RECORDED
    for version in {path.parent for path in RECORDED}:
        assert {path.stem for path in version.glob("*.json")} >= {scene.__name__ for scene in SCENES}


async def test_a_workflow_that_would_act_otherwise_is_noticed() -> None:
    text = next(text for path, text in RECORDED.items() if path.stem == "contained")
    other = text.replace('"firebreak.chain"', '"firebreak.contain"')
    assert other != text
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json("other", other))
