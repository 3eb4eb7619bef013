"""The webhook as HTTP sees it: bodies counted as they stream, one face for every failure, no 5xx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error

from tests.firebreak.web.hooks import PEER, Hooks, ids_of, payload, sent

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMIT = 256 * 1024
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["detail", "id", "Type", "body", "Message", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


def client_of(hooks: Hooks) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(hooks.app, client=(PEER, 4000))
    return httpx.AsyncClient(transport=transport, base_url="http://firebreak")


@pytest.mark.parametrize(("size", "code"), [(LIMIT, 401), (LIMIT + 1, 413)])
async def test_a_body_is_refused_from_the_first_byte_too_many(hooks: Hooks, size: int, code: int) -> None:
    async with client_of(hooks) as client:
        assert (await client.post("/hooks/ocsf", content=b"x" * size)).status_code == code


@pytest.mark.parametrize("claimed", [None, "5", "not a number"])
async def test_a_stream_is_counted_whatever_its_length_claims(hooks: Hooks, claimed: str | None) -> None:
    sent_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        for _ in range(1000):
            sent_bytes += 64 * 1024
            yield b"x" * (64 * 1024)

    headers = {"Content-Length": claimed} if claimed else {}
    async with client_of(hooks) as client:
        answer = await client.post("/hooks/ocsf", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert sent_bytes <= LIMIT + 64 * 1024


async def test_a_length_that_is_too_large_is_refused_before_the_body_is_read(hooks: Hooks) -> None:
    async with client_of(hooks) as client:
        answer = await client.post("/hooks/ocsf", content=b"x", headers={"Content-Length": "999999999"})
    assert answer.status_code == 413


async def test_a_body_that_does_not_arrive_is_408(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firebreak.web.webhook.routes.BODY_SECONDS", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with client_of(hooks) as client:
        assert (await client.post("/hooks/ocsf", content=stuck())).status_code == 408


async def test_answers_say_how_to_be_treated(hooks: Hooks) -> None:
    async with client_of(hooks) as client:
        answer = await client.post("/hooks/ocsf", content=b"{}")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["WWW-Authenticate"] == "Webhook"
    assert "server" not in answer.headers


async def test_the_route_is_in_the_document_with_every_answer_it_gives(hooks: Hooks) -> None:
    async with client_of(hooks) as client:
        document = (await client.get("/openapi.json")).json()
    answers = document["paths"]["/hooks/{source}"]["post"]["responses"]
    assert set(answers) >= {"202", "401", "408", "413", "422", "429", "503"}


async def test_readiness_tells_whether_alerts_can_be_taken(hooks: Hooks) -> None:
    async with client_of(hooks) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert (await client.get("/healthz")).json()["status"] == "alive"


@pytest.mark.parametrize("source", ["", "guardduty"])
async def test_what_the_document_describes_finds_no_server_error(hooks: Hooks, source: str) -> None:
    """With made-up names of sources, and as an authenticated source that sends anything."""

    def play() -> None:
        schema = schemathesis.openapi.from_asgi("/openapi.json", hooks.app)
        for found in schema.include(path_regex="^/(hooks|healthz|readyz)").get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]  # our own document is valid

            @settings(max_examples=60, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(), body=BODIES)
            def sends(case: Any, body: Any) -> None:
                if source and "source" in case.path_parameters:
                    case.path_parameters["source"] = source
                    case.headers["Authorization"] = f"Bearer {hooks.keys.secrets['TOKEN']}"
                    case.body = body
                    case.media_type = "application/json"
                case.call_and_validate(checks=[not_a_server_error])

            sends()

    await asyncio.to_thread(play)


async def test_authenticated_nonsense_finds_no_server_error(hooks: Hooks) -> None:
    body = payload("guardduty", ids_of(hooks.workload()))
    nonsense: list[Any] = [
        None,
        [],
        7,
        "x",
        {},
        {"Type": "SubscriptionConfirmation"},
        {"Type": ["SubscriptionConfirmation"]},
        {"body": {"body": {"body": {}}}},
    ]
    nonsense += [{**body, "detail": each} for each in nonsense]
    for each in nonsense:
        answer = await hooks.post("guardduty", sent(hooks.keys.token(), each))
        assert answer.status_code in {202, 422}, (each, answer.text)
        assert answer.json().get("status") != "started"
