"""The channels to people, to the SIEM and to alerts that the settings name."""

from __future__ import annotations

from activities.notify import Channel, Commenting, LogChannel
from firebreak.settings import NotifySettings, Settings, SiemSettings


def channels(settings: Settings) -> tuple[Channel, ...]:
    """Every channel of the settings, the log first; raises SettingsError for one that cannot be used."""
    return (LogChannel(), *_people(settings.notify), *_siem(settings.siem))


def commenting(settings: Settings) -> Commenting | None:
    """What comments on alerts, where the settings name a place; raises SettingsError for a wrong one."""
    if not settings.comments.chosen():
        return None
    from firebreak.notify.comments import Comments  # noqa: PLC0415 - only where it is used

    return Comments(settings)


def _people(settings: NotifySettings) -> list[Channel]:
    found: list[Channel] = []
    if settings.pagerduty_key.get_secret_value():
        from firebreak.notify.pagerduty import PagerDuty  # noqa: PLC0415 - only where it is used

        found.append(PagerDuty(settings))
    if settings.urls:
        from firebreak.notify.fanout import fan_out  # noqa: PLC0415 - loads over a hundred plugins

        found += fan_out(settings)
    return found


def _siem(settings: SiemSettings) -> list[Channel]:
    if not (settings.webhook_url or settings.splunk_url or settings.sentinel):
        return []
    from firebreak.notify.siem import siems  # noqa: PLC0415 - only where it is used

    return [*siems(settings)]
