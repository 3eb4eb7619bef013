from __future__ import annotations

import sys
from pathlib import Path

import pytest

from firebreak import ownership
from firebreak.errors import GuardError


def test_another_distribution_with_our_import_name_is_named() -> None:
    installed = {
        "firebreak": ["firebreak"],
        "workflows": ["firebreak", "llama-index-workflows"],
        "yaml": ["PyYAML"],
    }
    assert ownership.strangers(installed) == {"workflows": ["llama-index-workflows"]}


def test_this_environment_is_clean() -> None:
    ownership.check_names()


def test_a_folder_that_shadows_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drills").mkdir()
    (tmp_path / "drills" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "drills", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(GuardError, match="drills from") as caught:
        ownership.check_names()
    assert caught.value.exit_code == 4
