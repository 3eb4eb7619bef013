from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.txt", "requirements-dev.txt")
NOT_LOCKED = {"pdf"}
"""Needs Pango, which no wheel brings; who wants it installs both (docs/dependencies.md)."""
PIN = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,-]+\])?"
    r"==(?P<version>[^ ;]+)(?: ; (?P<marker>.+?))? \\$"
)


def pins(lock: str) -> dict[str, str]:
    """The versions that a lock pins for this interpreter, by canonical name."""
    found = {}
    for line in (ROOT / lock).read_text().splitlines():
        match = PIN.match(line)
        if match and (not match["marker"] or Marker(match["marker"]).evaluate()):
            found[canonical(match["name"])] = match["version"]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(groups: tuple[str, ...]) -> list[Requirement]:
    """The requirements of the project with its extras, and of dependency groups."""
    project, chosen = PROJECT["project"], PROJECT["dependency-groups"]
    extras = [some for name, some in project["optional-dependencies"].items() if name not in NOT_LOCKED]
    lists = [project["dependencies"], *extras, *map(chosen.get, groups)]
    texts = [each for some in lists for each in some]
    return [each for each in map(Requirement, texts) if each.name != "firebreak"]


@pytest.mark.parametrize(
    ("lock", "groups"),
    [("requirements.txt", ("build",)), ("requirements-dev.txt", ("test", "lint", "lock", "build"))],
)
def test_each_lock_pins_what_the_project_asks_for(lock: str, groups: tuple[str, ...]) -> None:
    pinned = pins(lock)
    for requirement in wanted(groups):
        version = pinned.get(canonical(requirement.name))
        assert version is not None, f"{lock} lacks {requirement}"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{lock} has {requirement.name} {version}"
        )


def test_both_locks_agree() -> None:
    runtime, everything = pins("requirements.txt"), pins("requirements-dev.txt")
    assert runtime.items() <= everything.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_a_hash_and_the_lock_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks)
    for foreign in ("://", "--index", "--find-links", "--extra-index", "/opt/", "/tmp/", "file:"):  # noqa: S108
        assert foreign not in text


def test_sandbox_emulator_is_pinned_exactly() -> None:
    """The sandbox corrects this version's inner parts; another one needs its canary tests first."""
    assert pins("requirements.txt")["moto"] == "5.2.5"


def test_the_wheel_holds_the_five_packages_and_their_data(tmp_path: Path) -> None:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("the build backend is not installed here")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--wheel-dir", str(tmp_path), "."]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"firebreak", "workflows", "activities", "providers", "drills"}
    assert "firebreak/py.typed" in names
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "providers").rglob("*.json")}
    assert data <= set(names)


def test_the_project_cannot_be_uploaded_by_mistake() -> None:
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


def test_make_offers_the_promised_targets() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    targets = {line.split()[0] for line in listed.stdout.splitlines()}
    assert {"demo", "test", "lint", "bench", "soak", "slow", "docs", "lock", "clean"} <= targets


@pytest.mark.parametrize("script", [".ci/run", ".ci/lock", ".ci/audit"])
def test_scripts_are_executable_and_stop_at_the_first_error(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text()
    subprocess.run(["bash", "-n", path], check=True)  # noqa: S607


def test_locks_hold_versions_and_hashes_and_name_no_host() -> None:
    for lock in ROOT.glob("requirements*.txt"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, lock.name
        assert "--index-url" not in text, lock.name
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    names = {Path(line).name for line in listed.stdout.splitlines()}
    assert not names & {"uv.lock", "package-lock.json", "poetry.lock", "Pipfile.lock"}
