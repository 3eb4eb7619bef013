"""Hold what the whole sandbox process shares: the emulator lock, the settings and the reset hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

PARTITION = "aws"
DEFAULT_REGION = "eu-central-1"

# moto keeps every account in process-global dictionaries that it iterates while other threads write to them
# ("dictionary changed size during iteration"). One lock around the emulator removes that class of stray 500s;
# latency and faults are injected outside of it, so clients still overlap.
emulator_lock = threading.RLock()


class SettingsError(ValueError):
    """A setting is unknown or has an impossible value."""


@dataclass
class Settings:
    """Behave like this account would: how slow the API is and how late its changes take effect."""

    latency_ms: float = 0.0
    latency_jitter_ms: float = 0.0
    iam_propagation_seconds: float = 0.0
    flow_aggregation_seconds: float = 60.0
    flow_delivery_seconds: float = 0.0
    ttl_change_seconds: float = 3600.0
    """How long after a change of a table's time to live the next one is refused."""

    def update(self, changes: Mapping[str, Any]) -> None:
        """Take over the given settings, or none of them when one is wrong."""
        known = {field.name for field in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            message = f"unknown settings: {', '.join(unknown)}"
            raise SettingsError(message)
        checked = {name: _non_negative(name, value) for name, value in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def reset(self) -> None:
        """Return to the defaults."""
        self.update({field.name: field.default for field in fields(self)})


def _non_negative(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        message = f"{name} must be a number of at least 0"
        raise SettingsError(message)
    return float(value)


settings = Settings()
_reset_hooks: list[Callable[[], None]] = [settings.reset]


def on_reset(hook: Callable[[], None]) -> Callable[[], None]:
    """Run this function whenever the sandbox is reset."""
    _reset_hooks.append(hook)
    return hook


def run_reset_hooks() -> None:
    """Forget everything the sandbox accumulated outside of the emulator."""
    for hook in _reset_hooks:
        hook()
