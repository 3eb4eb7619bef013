"""Every history ever recorded replays under today's workflows, converter and sandbox."""

from __future__ import annotations

import base64
import importlib
import inspect
import json
import re
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

import workflows
from firebreak import worker
from firebreak.codec import data_converter
from firebreak.settings import Settings
from tests.replay.record import HISTORIES, SCENES, UNRELEASED

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


def test_every_kind_of_run_is_recorded() -> None:
    """Under the newest code; an older version could not do all of it."""
    assert {path.stem for path in RECORDED if path.parent.name == UNRELEASED} == {
        scene.__name__ for scene in SCENES
    }


def test_every_change_of_the_workflows_is_in_some_history() -> None:
    """Each id that the code asks ``workflow.patched`` about has a run that went the new way."""
    asked = {patch for module in modules() for patch in asked_in(module)}
    assert asked
    assert asked - {patch for text in RECORDED.values() for patch in patches(text)} == set()


def modules() -> list[ModuleType]:
    return [importlib.import_module(f"workflows.{each.name}") for each in iter_modules(workflows.__path__)]


def asked_in(module: ModuleType) -> list[str]:
    """The values of the constants that a module gives to ``workflow.patched``."""
    names = re.findall(r"workflow\.patched\((\w+)\)", inspect.getsource(module))
    return [getattr(module, name) for name in names]


def patches(text: str) -> list[str]:
    """The patches that a history went by, from the markers that the SDK's core leaves."""
    markers = (
        event["markerRecordedEventAttributes"]
        for event in json.loads(text)["events"]
        if event.get("markerRecordedEventAttributes", {}).get("markerName") == "core_patch"
    )
    data = (marker["details"]["patch-data"]["payloads"][0]["data"] for marker in markers)
    return [json.loads(base64.b64decode(each))["id"] for each in data]


async def test_a_workflow_that_would_act_otherwise_is_noticed() -> None:
    text = next(text for path, text in RECORDED.items() if path.stem == "contained")
    other = text.replace('"firebreak.chain"', '"firebreak.contain"')
    assert other != text
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json("other", other))
