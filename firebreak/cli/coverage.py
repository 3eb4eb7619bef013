"""Which measures answer which action of the runbook, cloud by cloud: data beside this file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

import yaml
from pydantic import Field, TypeAdapter, model_validator

from firebreak.errors import SettingsError
from firebreak.measure import measures
from firebreak.model import Cloud, FrozenModel, Phase

NO_PROVIDER = "this build has no provider for the cloud"


class Unsupported(FrozenModel):
    """Why a cloud has no measure for an action."""

    unsupported: str = Field(min_length=1)


class Action(FrozenModel):
    """One action of the runbook."""

    phase: Phase
    action: str
    clouds: dict[Cloud, tuple[str, ...] | Unsupported]

    @model_validator(mode="before")
    @classmethod
    def _by_cloud(cls, value: dict[str, Any]) -> dict[str, Any]:
        named = {cloud.value for cloud in Cloud}
        return {
            "clouds": {name: each for name, each in value.items() if name in named},
            **{name: each for name, each in value.items() if name not in named},
        }

    def cell(self, cloud: Cloud) -> str:
        """The measures, or why there are none."""
        found = self.clouds.get(cloud)
        if found is None:
            return f"unsupported: {NO_PROVIDER}"
        if isinstance(found, Unsupported):
            return f"unsupported: {found.unsupported}"
        return ", ".join(f"`{name}`" for name in found)


def actions(clouds: Sequence[Cloud]) -> tuple[Action, ...]:
    """Every action; raises SettingsError unless it names each registered measure once, and in its phase."""
    text = (resources.files("firebreak.cli") / "coverage.yaml").read_text(encoding="utf-8")
    found = TypeAdapter(tuple[Action, ...]).validate_python(yaml.safe_load(text))
    _check(found, clouds)
    return found


def _check(found: Iterable[Action], clouds: Sequence[Cloud]) -> None:
    said = Counter(
        (int(action.phase), name)
        for action in found
        for cloud, named in action.clouds.items()
        if cloud in clouds and not isinstance(named, Unsupported)
        for name in named
    )
    registered = Counter((int(each.phase), each.name) for cloud in clouds for each in measures(cloud))
    if said != registered:
        raise SettingsError(
            f"coverage.yaml lacks {sorted((registered - said).elements())} "
            f"and has {sorted((said - registered).elements())} too many"
        )
