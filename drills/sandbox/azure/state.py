"""Hold what the whole sandbox process shares: the lock, the settings and the reset hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

# One lock around every handler: modules of services need none of their own. Latency and faults wait outside.
lock = threading.RLock()


class SettingsError(ValueError):
    """A setting is unknown or has an impossible value."""


class Settings:
    """Behave like this cloud would: how slow it answers and how late its changes take effect."""

    def __init__(self) -> None:
        """Start without settings; modules define theirs."""
        self._defaults: dict[str, float] = {}
        self._values: dict[str, float] = {}
        self._watchers: dict[str, list[Callable[[], None]]] = {}

    def define(self, name: str, default: float) -> None:
        """Add a setting."""
        self._defaults[name] = default
        self._values[name] = default

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def update(self, changes: Mapping[str, object]) -> None:
        """Take over the given settings, or none of them when one is wrong."""
        unknown = sorted(set(changes) - set(self._defaults))
        if unknown:
            raise SettingsError(f"unknown settings: {', '.join(unknown)}")
        self._values.update({name: _non_negative(name, value) for name, value in changes.items()})
        for name in changes:
            for changed in self._watchers.get(name, ()):
                changed()

    def watch(self, name: str, changed: Callable[[], None]) -> None:
        """Call a function whenever a setting was changed."""
        self._watchers.setdefault(name, []).append(changed)

    def all(self) -> dict[str, float]:
        """Return every setting."""
        return dict(self._values)

    def reset(self) -> None:
        """Return to the defaults."""
        self._values = dict(self._defaults)


def _non_negative(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise SettingsError(f"{name} must be a number of at least 0")
    return float(value)


settings = Settings()
define = settings.define
define("latency_ms", 0.0)
define("latency_jitter_ms", 0.0)
# "Troubleshoot Azure RBAC": a change of role assignments can take up to 10 minutes to take effect.
define("role_propagation_seconds", 0.0)
define("lro_seconds", 0.0)
define("page_size", 100.0)
# "Access tokens in the Microsoft identity platform": 60 to 90 minutes; managed identities: about 24 hours.
define("token_seconds", 3599.0)
define("managed_identity_token_seconds", 86400.0)

_reset_hooks: list[Callable[[], None]] = [settings.reset]


def on_reset(hook: Callable[[], None]) -> Callable[[], None]:
    """Run this function whenever the sandbox is reset, in the order of registration."""
    _reset_hooks.append(hook)
    return hook


def reset() -> None:
    """Forget everything the sandbox accumulated."""
    with lock:
        for hook in _reset_hooks:
            hook()
