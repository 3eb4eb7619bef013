"""The channels to people, to the SIEM and to alerts that the settings name."""

from __future__ import annotations

from activities.notify import Channel, Commenting, LogChannel
from firebreak.settings import Settings, SiemSettings


def channels(settings: Settings) -> tuple[Channel, ...]:
    """Every channel of the settings, the log first; raises SettingsError for one that cannot be used."""
    return (LogChannel(), *_shared(settings), *_personal(settings), *_siem(settings.siem))


def commenting(settings: Settings) -> Commenting | None:
    """What comments on alerts, where the settings name a place; raises SettingsError for a wrong one."""
    if not settings.comments.chosen():
        return None
    from firebreak.notify.comments import Comments  # noqa: PLC0415 - only where it is used

    return Comments(settings)


def _shared(settings: Settings) -> list[Channel]:
    found: list[Channel] = []
    notify, console = settings.notify, settings.console.public_url
    if notify.pagerduty_key.get_secret_value():
        from firebreak.notify.pagerduty import PagerDuty  # noqa: PLC0415 - only where it is used

        found.append(PagerDuty(notify, console))
    if notify.urls:
        from firebreak.notify.fanout import fan_out  # noqa: PLC0415 - loads over a hundred plugins

        found += fan_out(notify, console)
    return found


def _personal(settings: Settings) -> list[Channel]:
    if not settings.links.people:
        return []
    from firebreak.notify.personal import personal  # noqa: PLC0415 - only where it is used

    return [*personal(settings)]


def _siem(settings: SiemSettings) -> list[Channel]:
    if not (settings.webhook_url or settings.splunk_url or settings.sentinel):
        return []
    from firebreak.notify.siem import siems  # noqa: PLC0415 - only where it is used

    return [*siems(settings)]
