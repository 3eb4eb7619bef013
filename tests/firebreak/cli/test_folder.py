"""The folders of ``firebreak demo`` and ``firebreak up``: nobody else's files are touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from firebreak.cli.stack import claimed, emptied
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
