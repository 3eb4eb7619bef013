"""The responder reaches the workload's subscription and no other, as itself, and names the incident."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.mgmt.resource.locks import ManagementLockClient
from azure.mgmt.storage import StorageManagementClient

from firebreak.errors import GuardError, TransientCloudError, UsageError
from firebreak.model import Mode
from firebreak.session import owner_mark
from firebreak.settings import GuardSettings
from providers.azure.answers import Outcome, RestError, outcome, translated
from providers.azure.credentials import correlation_id
from providers.azure.endpoints import CLOUDS, endpoints
from providers.azure.session import AzureAccess
from tests.providers.azure.conftest import ARM_URL, EVIDENCE, REGION, TENANT, WORKLOAD, World

GROUPS = "2021-04-01"


def test_production_addresses_are_the_default_and_every_cloud_has_its_own() -> None:
    assert endpoints().arm == ARM_URL
    assert endpoints().authority == "login.microsoftonline.com"
    hosts = [endpoints(name).arm for name in CLOUDS]
    assert len(set(hosts)) == len(CLOUDS) == 3
    with pytest.raises(UsageError, match="public, usgov, china"):
        endpoints("mars")


def test_raw_arm_works_as_the_responder(world: World) -> None:
    group = world.group()
    found = world.access().arm().get(group, GROUPS)
    assert found is not None
    assert found["location"] == REGION
    assert world.access().arm().get(f"{group}x", GROUPS) is None


def test_an_sdk_client_works_as_the_responder_and_is_shared(world: World) -> None:
    access = world.access()
    client = access.client(StorageManagementClient)
    group = world.group().rpartition("/")[2]
    assert list(client.storage_accounts.list_by_resource_group(group)) == []
    assert access.client("azure.mgmt.storage:StorageManagementClient") is not None
    assert world.access().client(StorageManagementClient) is client


def test_clients_are_shared_between_threads(world: World) -> None:
    access = world.access()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: access.client(ManagementLockClient), range(32)))
    assert len({id(each) for each in made}) == 1


def test_every_call_names_its_incident(world: World) -> None:
    group, access = world.group(), world.access()
    since = world.sandbox.calls().next
    access.arm().put(f"{group}", {"location": REGION, "tags": {"a": "b"}}, GROUPS)
    entries = [
        each
        for each in world.admin().pages(
            f"/subscriptions/{WORKLOAD}/providers/Microsoft.Insights/eventtypes/management/values",
            "2015-04-01",
            query={"$filter": "eventTimestamp ge '2020-01-01T00:00:00Z'"},
        )
        if each.get("resourceId", "").lower() == group.lower()
    ]
    ours = correlation_id(access.run.incident_id)
    assert any(each.get("httpRequest", {}).get("clientRequestId") == ours for each in entries)
    assert world.sandbox.calls(since, mutating=True).calls[0]["principal"] == world.responder.object_id


def test_a_drill_outside_the_sandbox_accounts_is_refused_before_any_call(world: World) -> None:
    since = world.sandbox.calls().next
    with pytest.raises(GuardError, match="a drill may not touch"):
        world.access(mode=Mode.DRILL)
    assert world.sandbox.calls(since).calls == []


def test_a_drill_in_a_sandbox_account_is_allowed(world: World) -> None:
    allowed = world.settings.model_copy(update={"guard": GuardSettings(sandbox_accounts=(WORKLOAD.upper(),))})
    assert AzureAccess(world.run(world.workload(), mode=Mode.DRILL), allowed).account == WORKLOAD


def test_a_subscription_that_is_not_reached_is_refused_before_any_change(world: World) -> None:
    elsewhere = world.workload(account=EVIDENCE)
    with pytest.raises(GuardError, match="does not reach the subscription"):
        world.access(elsewhere).arm()


def test_an_unknown_subscription_is_refused(world: World) -> None:
    unknown = world.workload(account=WORKLOAD.replace("1", "9"))
    with pytest.raises(GuardError, match="does not reach the subscription"):
        world.access(unknown).client(StorageManagementClient)


def test_another_tenants_subscription_is_refused(world: World, fresh: Callable[[str], str]) -> None:
    other = world.sandbox.create_tenant()
    stranger = world.principal(fresh("stranger"), tenant=other)
    access = {"tenant_id": other, "client_id": stranger.client_id}
    with pytest.raises(GuardError, match="does not reach the subscription"):
        world.access(world.workload(access=access)).arm()


def test_a_credential_of_another_application_is_refused(
    world: World, fresh: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AZURE_CLIENT_ID and a secret name one application, the inventory another."""
    other = world.principal(fresh("other"))
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE")
    monkeypatch.setenv("AZURE_CLIENT_ID", other.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", other.client_secret)
    with pytest.raises(GuardError, match="wrong application"):
        world.access().arm()


def test_the_sdks_own_settings_choose_the_credential(
    world: World, fresh: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = world.principal(fresh("own"))
    world.grant(own, "Reader", f"/subscriptions/{WORKLOAD}")
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE")
    monkeypatch.setenv("AZURE_CLIENT_ID", own.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", own.client_secret)
    credential = world.access(world.workload(access={})).reached()
    assert credential.claims(f"{ARM_URL}/.default")["oid"] == own.object_id


def test_a_borrowed_token_signs_and_is_kept_nowhere(world: World, fresh: Callable[[str], str]) -> None:
    agent = world.principal(fresh("agent"))
    world.grant(agent, "Reader", f"/subscriptions/{WORKLOAD}")
    token = world.sandbox.mint(agent.object_id)
    since = world.sandbox.calls().next
    access = world.access()
    assert access.borrowed(token).get(f"/subscriptions/{WORKLOAD}/resourceGroups", GROUPS) is not None
    assert access.arm().get(f"/subscriptions/{WORKLOAD}/resourceGroups", GROUPS) is not None
    principals = [each["principal"] for each in world.sandbox.calls(since).calls if each["host"] == "arm"]
    assert principals[0] == agent.object_id
    assert principals[-1] == world.responder.object_id
    assert token not in repr(access)


def test_a_token_is_issued_anew_each_time_and_a_refusal_has_its_code(
    world: World, fresh: Callable[[str], str]
) -> None:
    agent = world.principal(fresh("agent"))
    form = {
        "grant_type": "client_credentials",
        "client_id": agent.client_id,
        "client_secret": agent.client_secret,
        "scope": f"{ARM_URL}/.default",
    }
    access = world.access()
    first = access.issue(TENANT, form)["access_token"]
    assert access.issue(TENANT, form)["access_token"] != first
    graph = access.graph()
    graph.patch(f"servicePrincipals/{agent.object_id}", {"accountEnabled": False})
    with pytest.raises(RestError) as raised:
        access.issue(TENANT, form)
    assert raised.value.code == "AADSTS7000112"
    assert outcome(raised.value) is Outcome.DEAD


def test_throttling_beyond_a_hiccup_is_left_to_the_workflow(world: World) -> None:
    access = world.access()
    arm = access.arm()
    world.sandbox.inject("throttle", host="arm", times=20, retry_after=30)
    try:
        with pytest.raises(TransientCloudError, match="TooManyRequests"), translated(access.scope):
            arm.get(f"{access.scope}/resourceGroups", GROUPS)
    finally:
        world.sandbox.clear_faults()


def test_the_mark_of_a_workload_tells_two_apart(world: World) -> None:
    one, other = world.run(world.workload()), world.run(world.workload(id="other"))
    assert owner_mark(one) == owner_mark(world.run(world.workload(account=WORKLOAD.upper())))
    assert owner_mark(one) != owner_mark(other)
    assert 3 <= len(owner_mark(one)) <= 23
    assert owner_mark(one).isalnum()
