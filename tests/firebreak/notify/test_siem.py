"""Events for the SIEM: their shape, their signatures and what a receiver that is away means."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from activities.inputs import Page
from activities.notify import Channel
from firebreak.devserver import free_port
from firebreak.errors import NotDeliveredError, SettingsError
from firebreak.model import Cloud, Phase, Verdict
from firebreak.notify import channels
from firebreak.notify.ocsf import event
from firebreak.settings import Settings, SiemSettings
from tests.firebreak.notify.receiver import Receiver, receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "a-token-that-nobody-may-see"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def siem() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def page(kind: str = "gate", **fields: Any) -> Page:
    usual = {
        "incident_id": "INC-1",
        "kind": kind,
        "message": "phase 2 network isolate: contained",
        "phase": Phase.NETWORK_ISOLATE,
        "verdict": Verdict.CONTAINED,
        "workload_id": "agent",
        "cloud": Cloud.AWS,
        "at": AT,
    }
    return Page.model_validate(usual | fields)


def the(siem: dict[str, Any]) -> Channel:
    _, channel = channels(Settings(siem=SiemSettings.model_validate(siem)))
    return channel


def webhook(url: str) -> Channel:
    return the({"webhook_url": url, "webhook_secret": SECRET})


def splunk(url: str) -> Channel:
    return the({"splunk_url": f"{url}/services/collector/event", "splunk_token": TOKEN})


def sentinel(url: str) -> Channel:
    return the(
        {
            "sentinel": {
                "endpoint": url,
                "rule_id": "dcr-1",
                "stream": "Custom-Firebreak_CL",
                "tenant_id": "t",
                "client_id": "c",
                "client_secret": TOKEN,
                "authority": url,
            }
        }
    )


@pytest.mark.parametrize(
    ("kind", "verdict", "activity", "status"),
    [
        ("started", None, 1, 1),
        ("gate", Verdict.CONTAINED, 2, 2),
        ("decision_needed", None, 2, 2),
        ("verdict", Verdict.CONTAINED, 3, 4),
        ("verdict", Verdict.RELEASED, 3, 4),
        ("verdict", Verdict.UNPROVEN, 2, 99),
        ("verdict", Verdict.PARTIALLY_CONTAINED, 2, 99),
    ],
)
def test_an_event_is_an_incident_finding(
    kind: str, verdict: Verdict | None, activity: int, status: int
) -> None:
    made = event(page(kind, verdict=verdict))
    assert (made["class_uid"], made["category_uid"]) == (2005, 2)
    assert (made["activity_id"], made["type_uid"]) == (activity, 200500 + activity)
    assert made["status_id"] == status
    assert made["time"] == int(AT.timestamp() * 1000)
    assert made["finding_info_list"][0]["uid"] == made["metadata"]["correlation_uid"] == "INC-1"


def test_an_event_says_phase_and_verdict_in_our_words_too() -> None:
    assert event(page())["unmapped"] == {
        "kind": "gate",
        "phase": "network isolate",
        "verdict": "contained",
        "workload_id": "agent",
        "cloud": "aws",
        "mode": "live",
    }


async def test_a_webhook_is_signed_so_that_a_receiver_can_check_it(siem: Receiver) -> None:
    await webhook(siem.url).deliver(page())
    body, headers = siem.bodies[0].decode(), siem.headers[0]
    assert Webhook(SECRET).verify(body, headers)["class_uid"] == 2005
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace("contained", "released"), headers)


async def test_an_event_that_is_sent_again_keeps_its_id(siem: Receiver) -> None:
    channel = webhook(siem.url)
    await channel.deliver(page())
    await channel.deliver(page())
    first, second = (headers["webhook-id"] for headers in siem.headers)
    assert first == second


async def test_splunk_gets_an_event_with_its_own_time(siem: Receiver) -> None:
    await splunk(siem.url).deliver(page())
    (message,), (headers,) = siem.messages, siem.headers
    assert headers["authorization"] == f"Splunk {TOKEN}"
    assert (message["time"], message["sourcetype"]) == (AT.timestamp(), "ocsf")
    assert message["event"]["class_uid"] == 2005


async def test_sentinel_gets_a_record_with_a_token_of_our_own_application(siem: Receiver) -> None:
    siem.answers["/t/oauth2/v2.0/token"] = {"access_token": "issued", "expires_in": 3600}
    await sentinel(siem.url).deliver(page())
    form = parse_qs(siem.bodies[0].decode())
    assert form["grant_type"] == ["client_credentials"]
    assert form["scope"] == ["https://monitor.azure.com/.default"]
    assert siem.paths[1] == ("/dataCollectionRules/dcr-1/streams/Custom-Firebreak_CL?api-version=2023-01-01")
    assert siem.headers[1]["authorization"] == "Bearer issued"
    ((record,),) = siem.messages
    assert record["TimeGenerated"] == AT.isoformat()


async def test_a_token_endpoint_without_a_token_is_no_delivery(siem: Receiver) -> None:
    with pytest.raises(NotDeliveredError, match="sent no token"):
        await sentinel(siem.url).deliver(page())


@pytest.mark.parametrize("make", [webhook, splunk, sentinel])
async def test_a_siem_that_refuses_or_is_away_is_named_without_its_secrets(siem: Receiver, make: Any) -> None:
    siem.status = 403
    for url, words in ((siem.url, "answered 403"), (f"http://127.0.0.1:{free_port()}", "cannot be reached")):
        with pytest.raises(NotDeliveredError, match=words) as caught:
            await make(url).deliver(page())
        assert TOKEN not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)


def test_a_secret_that_cannot_sign_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="no secret of Standard Webhooks"):
        the({"webhook_url": "http://127.0.0.1", "webhook_secret": "short"})
