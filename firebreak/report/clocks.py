"""Clocks of reporting duties, read from a dated file: they are data for counsel, never constants in code."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AwareDatetime, Field, ValidationError

from firebreak.errors import SettingsError
from firebreak.model import FrozenModel

StartsAt = Literal["awareness", "classification", "notification"]


class Clock(FrozenModel):
    """One duty and how long it gives."""

    regime: str
    applies_to: str
    duty: str
    starts_at: StartsAt
    hours: Annotated[int, Field(ge=1)]
    source: str


class Deadlines(FrozenModel):
    """All clocks, and when who last looked at them."""

    reviewed_on: date
    reviewed_by: str
    clocks: tuple[Clock, ...]


class Deadline(FrozenModel):
    """A clock in one incident."""

    clock: Clock
    due_at: AwareDatetime | None
    """None until somebody classified the incident or notified an authority."""


def load(path: Path | None = None) -> Deadlines:
    """Read a file of clocks, or Firebreak's own; raises SettingsError naming what is wrong."""
    source = path or resources.files("firebreak.report") / "deadlines.yaml"
    try:
        return Deadlines.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(
            f"the file of reporting duties cannot be used: {error}", resource=str(source)
        ) from error


def due(deadlines: Deadlines, aware_at: datetime) -> tuple[Deadline, ...]:
    """Every clock with the moment it ends, those that run already first, the earliest on top."""
    found = [
        Deadline(
            clock=clock,
            due_at=aware_at + timedelta(hours=clock.hours) if clock.starts_at == "awareness" else None,
        )
        for clock in deadlines.clocks
    ]
    return tuple(sorted(found, key=lambda each: (each.due_at is None, each.due_at or aware_at)))
