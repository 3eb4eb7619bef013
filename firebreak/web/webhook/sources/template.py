"""The fields of the templates that we publish for sources whose body the user writes (docs/webhooks.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from firebreak.web.webhook.alert import ResourceRef
from firebreak.web.webhook.fields import flag, identifier, moment, resource, text


def resources(fields: Any) -> tuple[ResourceRef, ...]:
    """``resource_id`` with ``account_id`` and ``region``: filled from columns, never from a message."""
    account, region = text(fields, "account_id", "account"), text(fields, "region")
    return resource(identifier(fields, "resource_id"), account, region)


def confirmed(fields: Any) -> bool:
    """``confirmed``, where the rule is one that is never wrong."""
    return flag(fields, "confirmed")


def sample(fields: Any) -> bool:
    """``sample``, for trying the connection."""
    return flag(fields, "sample")


def at(fields: Any, *names: str) -> datetime | None:
    """``time``, or the source's own name for it."""
    return moment(fields, "time", *names)
