"""Guard at start-up: the project's import names must be its own.

Four of the five names are ordinary words, and other distributions use some of them
(``llama-index-workflows`` installs ``workflows``). Whatever shadows them would run with the responder's
rights. The check sees collisions and wrong folders; it is no protection against tampering.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

from firebreak.errors import GuardError

DISTRIBUTION = "firebreak"
NAMES = ("firebreak", "workflows", "activities", "providers", "drills")


def strangers(installed: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The project's names that other distributions also install, and which ones do."""
    found = {name: sorted(set(installed.get(name, ())) - {DISTRIBUTION}) for name in NAMES}
    return {name: others for name, others in found.items() if others}


def displaced() -> dict[str, str]:
    """The names that Python would import from elsewhere than beside this package."""
    home = Path(__file__).resolve().parent.parent
    found = {name: _folder(name) for name in NAMES}
    return {name: str(folder) for name, folder in found.items() if folder != home / name}


def check_names() -> None:
    """Raise GuardError when another distribution or folder holds one of the project's import names."""
    if others := strangers(packages_distributions()):
        named = "; ".join(f"{name} by {', '.join(by)}" for name, by in others.items())
        raise GuardError(
            f"import names of Firebreak are also installed by other distributions: {named}",
            remedy="install Firebreak alone in its own environment or use its container image",
        )
    if folders := displaced():
        named = "; ".join(f"{name} from {folder}" for name, folder in folders.items())
        raise GuardError(
            f"import names of Firebreak would be taken from elsewhere: {named}",
            remedy="start from another folder, and clear PYTHONPATH",
        )


def _folder(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).resolve().parent if spec and spec.origin else None
