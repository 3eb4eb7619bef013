from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("firebreak", "workflows", "activities", "providers", "drills")
VAGUE = {"utils.py", "helpers.py", "common.py", "base.py", "manager.py", "misc.py"}
MAX_LINES = 400
"""Without blank lines."""


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def test_the_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout


def test_the_top_level_folders_are_the_agreed_ones() -> None:
    for package in PACKAGES:
        assert (ROOT / package / "__init__.py").is_file()


def test_no_file_has_a_vague_name() -> None:
    assert [path for path in sources() if path.name in VAGUE] == []


def test_files_stay_readable() -> None:
    sizes = {str(path.relative_to(ROOT)): _written_lines(path) for path in sources()}
    assert {name: lines for name, lines in sizes.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sources()])
def test_every_module_states_its_one_responsibility(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)) or not text.strip()


def test_workflows_can_be_imported_where_no_sdk_is_installed() -> None:
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('boto3', 'botocore', 'azure', 'moto')))\n"
        "import workflows.containment, workflows.release, firebreak.worker\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


def _written_lines(path: Path) -> int:
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
