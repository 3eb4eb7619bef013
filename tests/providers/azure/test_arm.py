"""Raw ARM and Graph: operations are awaited to their end, pages are followed, and tokens stay at home."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from firebreak.errors import PermanentCloudError, TransientCloudError
from providers.azure import arm as module
from providers.azure import rest
from providers.azure.answers import RestError, translated
from providers.azure.arm import Arm
from providers.azure.credentials import correlation_id, work_on
from providers.azure.graph import Graph
from tests.providers.azure.scripted import Scripted, serving

V = "2024-01-01"
NSG = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n"
OPERATION = "/subscriptions/s/providers/Microsoft.Network/locations/l/operations/1"
READY = {"id": NSG, "properties": {"provisioningState": "Succeeded", "x": 1}}
UPDATING = {"id": NSG, "properties": {"provisioningState": "Updating"}}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    with serving() as script:
        yield script


@pytest.fixture
def arm(service: Scripted) -> Arm:
    return Arm(service.url, lambda: "the-token")


def test_a_resource_is_read_with_the_token_and_the_pinned_version(service: Scripted, arm: Arm) -> None:
    service.says("GET", NSG, 200, READY)
    assert arm.get(NSG, V) == READY
    assert service.asked[0].path == f"{NSG}?api-version={V}"
    assert service.asked[0].headers["authorization"] == "Bearer the-token"


def test_every_call_names_the_incident(service: Scripted, arm: Arm) -> None:
    service.says("GET", NSG, 200, READY)
    work_on("INC-7")
    arm.get(NSG, V)
    headers = service.asked[0].headers
    assert headers["x-ms-client-request-id"] == correlation_id("INC-7")
    assert headers["user-agent"] == "firebreak INC-7"


def test_what_is_not_there_is_none_and_another_error_is_an_error(service: Scripted, arm: Arm) -> None:
    assert arm.get(NSG, V) is None
    service.says("GET", NSG, 403, {"error": {"code": "AuthorizationFailed", "message": "no"}})
    with pytest.raises(RestError) as raised:
        arm.get(NSG, V)
    assert (raised.value.status, raised.value.code) == (403, "AuthorizationFailed")


def test_a_put_waits_for_its_operation_and_returns_what_was_made(service: Scripted, arm: Arm) -> None:
    service.says("PUT", NSG, 201, UPDATING, Azure_AsyncOperation="{url}" + OPERATION, Retry_After="0")
    service.says("GET", OPERATION, 200, {"status": "InProgress"})
    service.says("GET", OPERATION, 200, {"status": "Succeeded"})
    service.says("GET", NSG, 200, READY)
    assert arm.put(NSG, {"location": "l"}, V) == READY
    assert service.paths("GET").count(OPERATION) == 2


def test_a_put_without_an_operation_is_read_until_provisioned(service: Scripted, arm: Arm) -> None:
    service.says("PUT", NSG, 200, UPDATING)
    service.says("GET", NSG, 200, UPDATING)
    service.says("GET", NSG, 200, READY)
    assert arm.put(NSG, {}, V) == READY


def test_a_finished_put_needs_no_further_read(service: Scripted, arm: Arm) -> None:
    service.says("PUT", NSG, 200, READY)
    assert arm.put(NSG, {}, V) == READY
    assert service.paths("GET") == []


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_a_failed_operation_is_an_error_with_its_code(service: Scripted, arm: Arm, state: str) -> None:
    failure = {"status": state, "error": {"code": "SubnetInUse", "message": "no"}}
    service.says("PUT", NSG, 201, UPDATING, Azure_AsyncOperation="{url}" + OPERATION)
    service.says("GET", OPERATION, 200, failure)
    with pytest.raises(PermanentCloudError, match="SubnetInUse"), translated(NSG):
        arm.put(NSG, {}, V)


def test_a_resource_that_failed_to_provision_is_an_error(service: Scripted, arm: Arm) -> None:
    service.says("PUT", NSG, 200, {"properties": {"provisioningState": "Failed"}})
    with pytest.raises(RestError, match="provisioning failed"):
        arm.put(NSG, {}, V)


def test_an_operation_without_end_is_tried_again_later(
    service: Scripted, arm: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPERATION_SECONDS", 0.05)
    service.says("PUT", NSG, 201, UPDATING, Azure_AsyncOperation="{url}" + OPERATION)
    service.says("GET", OPERATION, 200, {"status": "InProgress"})
    with pytest.raises(TransientCloudError, match="has not ended"):
        arm.put(NSG, {}, V)


def test_an_action_by_location_returns_its_result(service: Scripted, arm: Arm) -> None:
    result = "/subscriptions/s/results/1"
    service.says("POST", f"{NSG}/check", 202, None, Location="{url}" + result)
    service.says("GET", result, 202)
    service.says("GET", result, 200, {"access": "Deny"})
    assert arm.post(f"{NSG}/check", {"a": 1}, V) == {"access": "Deny"}


def test_an_action_by_status_returns_its_output(service: Scripted, arm: Arm) -> None:
    service.says("POST", f"{NSG}/check", 202, None, Azure_AsyncOperation="{url}" + OPERATION)
    service.says("GET", OPERATION, 200, {"status": "Succeeded", "properties": {"output": "x"}})
    assert arm.post(f"{NSG}/check", None, V) == {"output": "x"}


def test_a_delete_waits_and_says_whether_there_was_anything(service: Scripted, arm: Arm) -> None:
    service.says("DELETE", NSG, 202, None, Location="{url}" + OPERATION)
    service.says("GET", OPERATION, 202)
    service.says("GET", OPERATION, 204)
    assert arm.delete(NSG, V) is True
    service.says("DELETE", f"{NSG}2", 204)
    assert arm.delete(f"{NSG}2", V) is False
    assert arm.delete(f"{NSG}3", V) is False


def test_conditions_are_sent(service: Scripted, arm: Arm) -> None:
    service.says("PUT", NSG, 200, READY)
    service.says("PATCH", NSG, 200, READY)
    arm.put(NSG, {}, V, etag='W/"1"')
    arm.put(NSG, {}, V, create_only=True)
    arm.patch(NSG, {}, V, etag='W/"2"')
    matches = [each.headers.get("if-match", "") for each in service.asked]
    assert matches == ['W/"1"', "", 'W/"2"']
    assert service.asked[1].headers["if-none-match"] == "*"


def test_every_page_is_followed(service: Scripted, arm: Arm) -> None:
    service.says("GET", "/things", 200, {"value": [{"n": 1}], "nextLink": "{url}/more?$skiptoken=x"})
    service.says("GET", "/more", 200, {"value": [{"n": 2}]})
    assert list(arm.pages("/things", V)) == [{"n": 1}, {"n": 2}]
    assert service.paths("GET")[1] == "/more?$skiptoken=x"


@pytest.mark.parametrize(
    "link", ["https://elsewhere.example/more", "http://127.0.0.1:1/more", "https://127.0.0.1/more"]
)
def test_a_page_on_another_host_never_sees_the_token(service: Scripted, arm: Arm, link: str) -> None:
    service.says("GET", "/things", 200, {"value": [{"n": 1}], "nextLink": link})
    with pytest.raises(PermanentCloudError, match="its token must not go"):
        list(arm.pages("/things", V))
    assert len(service.asked) == 1


def test_an_operation_on_another_host_never_sees_the_token(service: Scripted, arm: Arm) -> None:
    service.says("PUT", NSG, 201, UPDATING, Azure_AsyncOperation="https://elsewhere.example/operation")
    with pytest.raises(PermanentCloudError, match="its token must not go"):
        arm.put(NSG, {}, V)


def test_a_redirect_is_not_followed_and_is_no_answer(service: Scripted, arm: Arm) -> None:
    service.says("GET", NSG, 302, None, Location="{url}/elsewhere")
    service.says("GET", "/elsewhere", 200, READY)
    with pytest.raises(RestError):
        arm.get(NSG, V)
    assert service.paths("GET") == [f"{NSG}?api-version={V}"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hiccup_is_spanned(service: Scripted, arm: Arm, status: int) -> None:
    service.says("GET", NSG, status, None, Retry_After="0")
    service.says("GET", NSG, 200, READY)
    assert arm.get(NSG, V) == READY


def test_a_long_throttle_is_left_to_the_caller(service: Scripted, arm: Arm) -> None:
    service.says("GET", NSG, 429, None, Retry_After="60")
    started_at = time.monotonic()
    with pytest.raises(TransientCloudError), translated(NSG):
        arm.get(NSG, V)
    assert time.monotonic() - started_at < 2
    assert len(service.asked) == 1


def test_an_action_is_not_repeated_when_nobody_knows_whether_it_was_done(service: Scripted, arm: Arm) -> None:
    service.says("POST", f"{NSG}/regenerateKey", 500)
    with pytest.raises(RestError):
        arm.post(f"{NSG}/regenerateKey", {}, V)
    assert len(service.asked) == 1


def test_a_service_out_of_reach_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "ATTEMPTS", 1)
    with pytest.raises(TransientCloudError, match="could not be reached"), translated(NSG):
        Arm("http://127.0.0.1:1", lambda: "t").get(NSG, V)


def test_graph_follows_its_own_links_on_its_own_host(service: Scripted) -> None:
    graph = Graph(f"{service.url}/v1.0", lambda: "t")
    page = {"value": [{"n": 1}], "@odata.nextLink": "{url}/v1.0/more"}
    service.says("GET", "/v1.0/servicePrincipals", 200, page)
    service.says("GET", "/v1.0/more", 200, {"value": [{"n": 2}]})
    assert list(graph.pages("/servicePrincipals")) == [{"n": 1}, {"n": 2}]
    service.says("GET", "/v1.0/users", 200, {"value": [], "@odata.nextLink": "https://elsewhere.example/"})
    with pytest.raises(PermanentCloudError, match="its token must not go"):
        list(graph.pages("/users"))


def test_graph_verbs(service: Scripted) -> None:
    graph = Graph(f"{service.url}/v1.0", lambda: "t")
    service.says("PATCH", "/v1.0/servicePrincipals/1", 204)
    service.says("DELETE", "/v1.0/servicePrincipals/1", 204)
    assert graph.get("/servicePrincipals/1") is None
    assert graph.patch("/servicePrincipals/1", {"accountEnabled": False}) == {}
    assert graph.delete("/servicePrincipals/1") is True
    assert graph.delete("/servicePrincipals/2") is False
