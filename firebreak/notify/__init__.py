"""The channels to people that the settings name."""

from __future__ import annotations

from activities.notify import Channel, LogChannel
from firebreak.settings import NotifySettings


def channels(settings: NotifySettings) -> tuple[Channel, ...]:
    """Every channel of the settings, the log first; raises SettingsError for a URL that is none."""
    found: list[Channel] = [LogChannel()]
    if settings.pagerduty_key.get_secret_value():
        from firebreak.notify.pagerduty import PagerDuty  # noqa: PLC0415 - only where it is used

        found.append(PagerDuty(settings))
    if settings.urls:
        from firebreak.notify.fanout import fan_out  # noqa: PLC0415 - loads over a hundred plugins

        found += fan_out(settings)
    return tuple(found)
