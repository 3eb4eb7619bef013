"""Whatever the API's own document allows to be sent, no answer is the server's fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from firebreak.model import Consent
from tests.firebreak.web.house import House, Provider, house_on, provider
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMMANDER = "command@example.org"


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        running.accounts[COMMANDER] = ("fb-command",)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    stage: Stage, idp: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    yield house_on(stage.client, stage, tmp_path_factory.mktemp("document"), idp)


@pytest.mark.parametrize("authenticated", [False, True])
async def test_what_the_document_allows_finds_no_server_error(house: House, *, authenticated: bool) -> None:
    """As nobody, and as a person who may do everything, about runs that exist and runs that do not."""
    waits = Consent(mode="approval", approvers=2, timeout_seconds=600, default="reject")
    incident, _ = await house.containment(consent=waits)
    await house.asked(incident)
    real = {"incident_id": incident, "workload_id": house.workload()}
    token = f"Bearer {house.provider.token(COMMANDER)}"

    def play() -> None:
        schema = schemathesis.openapi.from_asgi("/openapi.json", house.app)
        for found in schema.include(path_regex="^/api/").get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]  # our own document is valid

            @settings(max_examples=12, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def sends(case: Any) -> None:
                if authenticated:
                    case.headers["Authorization"] = token
                    case.path_parameters |= {name: real[name] for name in case.path_parameters}
                case.call_and_validate(checks=[not_a_server_error])

            sends()

    await asyncio.to_thread(play)


async def test_the_document_describes_every_operation_and_its_errors(house: House) -> None:
    async with house.browser() as browser:
        document = (await browser.get("/openapi.json")).json()
    paths = {path: verbs for path, verbs in document["paths"].items() if path.startswith("/api/")}
    assert len(paths) >= 7
    for verbs in paths.values():
        for operation in verbs.values():
            assert {"401", "403", "404", "409", "422", "503"} <= set(operation["responses"])
