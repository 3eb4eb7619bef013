"""The way back to the SIEM: every page as an OCSF event to a webhook, to Splunk or to Sentinel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
from standardwebhooks.webhooks import Webhook

from activities.inputs import Page
from activities.notify import Channel
from firebreak.errors import NotDeliveredError, SettingsError
from firebreak.model import JsonObject
from firebreak.notify.http import client
from firebreak.notify.ocsf import event
from firebreak.settings import SentinelSettings, SiemSettings

INGESTION_API = "2023-01-01"
"""Azure Monitor, "Logs Ingestion API in Azure Monitor"."""
_SUCCESS = range(200, 300)


class Sender:
    """What the three have in common: one request, and the same words for every failure."""

    name: str

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    async def post(self, url: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send; raises NotDeliveredError without the address or a header, which may hold secrets."""
        try:
            async with client(self._timeout) as sender:
                answer = await sender.post(url, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise NotDeliveredError(f"{self.name} cannot be reached: {type(error).__name__}") from error
        if answer.status_code not in _SUCCESS:
            raise NotDeliveredError(f"{self.name} answered {answer.status_code}")
        return answer


class OcsfWebhook(Sender):
    """Any receiver of Standard Webhooks (https://www.standardwebhooks.com)."""

    name = "siem webhook"

    def __init__(self, settings: SiemSettings) -> None:
        super().__init__(settings.timeout_seconds)
        self._url = settings.webhook_url
        try:
            self._signer = Webhook(settings.webhook_secret.get_secret_value())
        except (RuntimeError, ValueError) as error:
            raise SettingsError(
                "FIREBREAK_SIEM__WEBHOOK_SECRET is no secret of Standard Webhooks", remedy="use whsec_BASE64"
            ) from error

    async def deliver(self, page: Page) -> None:
        """Send one signed event; its id stays the same when it is sent again."""
        body, sent_at = event(page), datetime.now(UTC)
        content = json.dumps(body)
        uid = str(body["metadata"]["uid"])
        headers = {
            "content-type": "application/json",
            "webhook-id": uid,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": self._signer.sign(uid, sent_at, content),
        }
        await self.post(self._url, content.encode(), headers)


class SplunkCollector(Sender):
    """Splunk's HTTP Event Collector ("Format events for HTTP Event Collector")."""

    name = "splunk"

    def __init__(self, settings: SiemSettings) -> None:
        super().__init__(settings.timeout_seconds)
        self._url = settings.splunk_url
        self._token = settings.splunk_token

    async def deliver(self, page: Page) -> None:
        """Send one event with its own time."""
        body = event(page)
        wrapped = {"time": body["time"] / 1000, "source": "firebreak", "sourcetype": "ocsf", "event": body}
        headers = {"authorization": f"Splunk {self._token.get_secret_value()}"}
        await self.post(self._url, json.dumps(wrapped).encode(), headers)


class SentinelStream(Sender):
    """A stream of a data collection rule, with an application's own token."""

    name = "sentinel"

    def __init__(self, settings: SentinelSettings, timeout: float) -> None:
        super().__init__(timeout)
        self._settings = settings

    async def deliver(self, page: Page) -> None:
        """Send one record; the column TimeGenerated is what every table of Azure Monitor has."""
        body = event(page)
        made_at = datetime.fromtimestamp(body["time"] / 1000, UTC)
        record = {"TimeGenerated": made_at.isoformat(), "Event": body}
        stream = f"dataCollectionRules/{self._settings.rule_id}/streams/{self._settings.stream}"
        await self.post(
            f"{self._settings.endpoint.rstrip('/')}/{stream}?api-version={INGESTION_API}",
            json.dumps([record]).encode(),
            {"content-type": "application/json", "authorization": f"Bearer {await self._token()}"},
        )

    async def _token(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret.get_secret_value(),
            "scope": self._settings.scope,
        }
        url = f"{self._settings.authority.rstrip('/')}/{self._settings.tenant_id}/oauth2/v2.0/token"
        content = httpx.Request("POST", url, data=form).content
        answer = await self.post(url, content, {"content-type": "application/x-www-form-urlencoded"})
        return _token_of(answer)


def siems(settings: SiemSettings) -> Iterator[Channel]:
    """A channel for each SIEM of the settings."""
    if settings.webhook_url:
        yield OcsfWebhook(settings)
    if settings.splunk_url:
        yield SplunkCollector(settings)
    if settings.sentinel is not None:
        yield SentinelStream(settings.sentinel, settings.timeout_seconds)


def _token_of(answer: httpx.Response) -> str:
    try:
        document: JsonObject = answer.json()
        return str(document["access_token"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotDeliveredError("sentinel: the token endpoint sent no token") from error
