"""kill -9 of the Temporal server with its file: the run goes on, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client

from firebreak import devserver
from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.errors import FirebreakError
from firebreak.model import Verdict
from firebreak.settings import Settings
from tests.workflows.script import Script, standard
from tests.workflows.stage import stage_on


async def test_a_killed_server_loses_nothing(tmp_path: Path) -> None:
    port, ui_port, database = devserver.free_port(), devserver.free_port(), tmp_path / "temporal.db"
    server = devserver.launch(port, ui_port, database, tmp_path / "temporal.log")
    try:
        await devserver.ready(server)
        client = await Client.connect(server.address, data_converter=data_converter(Settings()))
        await ensure_search_attributes(client)
        async with stage_on(client) as stage:
            script = Script(standard())
            held = script.acts[2].held = asyncio.Event()
            run = await stage.play(script)
            await run.until(lambda _: run.recording.count("contain") >= 4)
            before = await run.status()
            server.kill()
            held.set()
            server = devserver.launch(port, ui_port, database, tmp_path / "temporal.log")
            await devserver.ready(server)
            document = await run.ended()
        assert document.verdict is Verdict.CONTAINED
        assert document.phases[0].verified_at == before.phases[0].verified_at is not None
        names = [step.step.measure for step in run.recording.steps if step.step.phase == 1]
        assert sorted(names) == ["aws.deny-all", "aws.revoke-sessions"]
    finally:
        server.kill()


async def test_a_server_that_cannot_start_says_so(tmp_path: Path) -> None:
    server = devserver.launch(
        devserver.free_port(), devserver.free_port(), tmp_path, tmp_path / "temporal.log"
    )
    try:
        with pytest.raises(FirebreakError, match="ended with code"):
            await devserver.ready(server)
    finally:
        server.kill()


async def test_a_server_that_stays_silent_is_given_up(tmp_path: Path) -> None:
    server = devserver.launch(devserver.free_port(), devserver.free_port(), None, tmp_path / "temporal.log")
    other = devserver.DevServer(f"127.0.0.1:{devserver.free_port()}", "", server.process)
    try:
        with pytest.raises(FirebreakError, match="does not answer"):
            await devserver.ready(other, timeout=0.3)
    finally:
        server.kill()


def test_the_binary_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(FirebreakError, match="temporal"):
        devserver.binary()
