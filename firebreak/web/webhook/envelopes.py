"""What carries an alert on its way: SNS notifications, Pub/Sub pushes, Logic App wrappers."""

from __future__ import annotations

import base64
import binascii

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import MalformedError
from firebreak.web.webhook.fields import find, parsed

MAX_LAYERS = 3
"""EventBridge inside SNS inside a wrapper; deeper nesting is nobody's delivery."""


def opened(body: JsonObject) -> JsonObject:
    """The alert inside its envelopes; raises MalformedError when an envelope holds none."""
    for _ in range(MAX_LAYERS):
        inner = _inside(body)
        if inner is None:
            break
        body = inner
    return body


def _inside(body: JsonObject) -> JsonObject | None:
    if body.get("Type") == "Notification" and isinstance(body.get("Message"), str):
        return parsed(_bytes(body["Message"]))
    data = find(body, "message.data")
    if isinstance(data, str) and "subscription" in body:
        return parsed(_decoded(data))
    wrapped = body.get("body")
    if isinstance(wrapped, dict) and len(body) <= len(("body", "headers", "method")):
        return wrapped
    return None


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("message.data is not base64") from error


def _bytes(message: str) -> bytes:
    try:
        return message.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedError("Message is not text") from error
