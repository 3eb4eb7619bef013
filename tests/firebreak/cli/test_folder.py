"""The folders of ``firebreak demo`` and ``firebreak up``: nobody else's files are touched."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from firebreak.cli.stack import claimed, emptied, without_runs
from firebreak.devserver import dev_server
from firebreak.errors import UsageError
from tests.firebreak.cli.conftest import Cli


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A file of the user's, in a folder that no command of ours made."""
    path = tmp_path / "home" / "thesis.txt"
    path.parent.mkdir()
    path.write_text("years of work", encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["demo", "up"])
@pytest.mark.parametrize("named", ["home", "link", "."])
def test_a_folder_with_other_files_is_refused_and_they_stay(
    cli: Cli, foreign: Path, command: str, named: str
) -> None:
    (foreign.parent.parent / "link").symlink_to(foreign.parent)
    result = cli(command, "--folder", named, *(["--json"] if command == "demo" else []))
    assert result.code == 2, result.stderr
    assert "holds files" in result.stderr
    assert [each.name for each in foreign.parent.iterdir()] == ["thesis.txt"]
    assert foreign.read_text(encoding="utf-8") == "years of work"


def test_what_the_same_command_left_is_deleted_and_nothing_behind_a_link(
    tmp_path: Path, foreign: Path
) -> None:
    folder = tmp_path / "demo"
    for _ in range(3):
        emptied(folder, "demo")
        assert [each.name for each in folder.iterdir()] == [".firebreak-demo"]
        (folder / "evidence").mkdir()
        (folder / "evidence" / "package.json").touch()
        (folder / "worker.log").touch()
        (folder / "shortcut").symlink_to(foreign.parent)
    assert foreign.exists()


def test_the_folder_one_stands_in_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert emptied(Path(), "demo") == Path.cwd()


def test_what_another_command_left_is_not(tmp_path: Path) -> None:
    claimed(tmp_path, "up")
    with pytest.raises(UsageError, match="holds files"):
        emptied(tmp_path, "demo")


def test_the_runs_of_an_earlier_up_are_forgotten(tmp_path: Path) -> None:
    place = claimed(tmp_path / "up", "up")
    for queue in ("first", "second"):
        without_runs(place)
        with dev_server(place) as server:
            assert asyncio.run(known_after_starting(server.address, queue)) == {queue}
    assert (place / ".firebreak-up").exists()


async def known_after_starting(address: str, name: str) -> set[str]:
    client = await Client.connect(address)
    await client.start_workflow("any", id=name, task_queue=name)
    return {each for each in ("first", "second") if await known(client, each)}


async def known(client: Client, workflow_id: str) -> bool:
    try:
        await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_folder_of_an_earlier_version_is_refused_with_the_way_out(
    cli: Cli, tmp_path: Path, command: str
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "worker-aws.log").touch()
    result = cli(command, "--folder", "old")
    assert result.code == 2
    assert f"of an earlier `firebreak {command}`, remove it" in " ".join(result.stderr.split())
