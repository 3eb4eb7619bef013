from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from drills.sandbox.azure.client import AzureSandbox, SandboxError

ARM = "https://management.azure.com"
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"


def code(answer: Any) -> str:
    return str(answer.body["error"]["code"])


def test_hosts_nobody_plays_are_refused_by_the_proxy(sandbox: AzureSandbox) -> None:
    with pytest.raises(OSError, match="403"):
        sandbox.send("GET", "https://example.com/")


def test_look_alike_hosts_are_refused(sandbox: AzureSandbox) -> None:
    for host in ("evilmanagement.azure.com", "management.azure.com.example.com", "blob.core.windows.net"):
        with pytest.raises(OSError, match="403"):
            sandbox.send("GET", f"https://{host}/")


def test_only_clients_that_trust_the_private_authority_connect(sandbox: AzureSandbox) -> None:
    way = urlsplit(sandbox.proxy)
    connection = http.client.HTTPSConnection(
        way.hostname or "", way.port, context=ssl.create_default_context(capath="/nonexistent")
    )
    connection.set_tunnel("management.azure.com", 443)
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/")


def test_httpx_reaches_graph_by_the_environment_alone(sandbox: AzureSandbox) -> None:
    token = sandbox.admin_token(audience="https://graph.microsoft.com")
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.get("https://graph.microsoft.com/v1.0/servicePrincipals").status_code == 200


def test_one_connection_serves_many_calls(sandbox: AzureSandbox) -> None:
    token = sandbox.admin_token()
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        for _ in range(20):
            assert client.get(f"{ARM}/subscriptions?api-version=2022-12-01").status_code == 200


def test_calls_wait_for_latency_side_by_side(sandbox: AzureSandbox) -> None:
    token = sandbox.admin_token()
    sandbox.configure(latency_ms=400)
    with ThreadPoolExecutor(8) as pool:
        url = f"{ARM}/subscriptions?api-version=2022-12-01"
        answers = [pool.submit(sandbox.send, "GET", url, token=token) for _ in range(8)]
        assert {answer.result().status for answer in answers} == {200}
    ended = [datetime.fromisoformat(call["at"]) for call in sandbox.calls().calls]
    assert max(ended) - min(ended) < timedelta(seconds=8 * 0.4 / 2)


def test_a_call_without_a_version_is_refused(tenant: Any) -> None:
    answer = tenant.call(tenant.sandbox.admin_token(), "GET", f"{tenant.subscription}/resourceGroups", "")
    assert (answer.status, code(answer)) == (400, "MissingApiVersionParameter")


def test_an_unknown_version_is_refused_and_the_known_ones_are_named(tenant: Any) -> None:
    answer = tenant.call(
        tenant.sandbox.admin_token(), "GET", f"{tenant.subscription}/resourceGroups", "1999-01-01"
    )
    assert (answer.status, code(answer)) == (400, "NoRegisteredProviderFound")
    assert "2021-04-01" in answer.body["error"]["message"]


def test_unknown_types_and_namespaces_are_told_apart(tenant: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    answer = tenant.call(admin, "GET", f"{group}/providers/Microsoft.ManagedIdentity/nonsense/x")
    assert (answer.status, code(answer)) == (404, "InvalidResourceType")
    answer = tenant.call(admin, "GET", f"{group}/providers/Microsoft.Nonsense/things/x")
    assert (answer.status, code(answer)) == (404, "InvalidResourceNamespace")


def test_ids_are_found_without_case_and_shown_as_created(tenant: Any) -> None:
    tenant.managed_identity(tenant.group("MyGroup"), "Agent-One")
    path = f"{tenant.subscription.upper()}/RESOURCEGROUPS/mygroup/Providers/microsoft.managedidentity"
    answer = tenant.call(
        tenant.sandbox.admin_token(), "GET", f"{path}/userassignedidentities/AGENT-ONE", "2024-11-30"
    )
    assert answer.status == 200
    assert answer.body["id"].endswith(f"/resourceGroups/MyGroup/providers/{IDENTITIES}/Agent-One")


def test_double_slashes_are_one(tenant: Any) -> None:
    group = tenant.group()
    assert tenant.call(tenant.sandbox.admin_token(), "GET", f"/{group}").status == 200


def test_a_name_that_begins_like_another_is_another(tenant: Any) -> None:
    tenant.managed_identity(tenant.group("ai"), "agent")
    tenant.managed_identity(tenant.group("ai-two"), "agent")
    answer = tenant.call(
        tenant.sandbox.admin_token(),
        "GET",
        f"{tenant.subscription}/resourceGroups/ai/providers/{IDENTITIES}",
        "2024-11-30",
    )
    assert len(answer.body["value"]) == 1


def test_missing_things_are_named_by_what_is_missing(tenant: Any) -> None:
    admin = tenant.sandbox.admin_token()
    group = tenant.group()
    somewhere = "/subscriptions/00000000-0000-4000-8000-00000000dead/resourceGroups/x"
    assert code(tenant.call(admin, "GET", somewhere)) == "SubscriptionNotFound"
    nowhere = f"{tenant.subscription}/resourceGroups/none"
    assert code(tenant.call(admin, "GET", nowhere)) == "ResourceGroupNotFound"
    inside = f"{nowhere}/providers/{IDENTITIES}/x"
    assert code(tenant.call(admin, "GET", inside, "2024-11-30")) == "ResourceGroupNotFound"
    absent = f"{group}/providers/{IDENTITIES}/x"
    assert code(tenant.call(admin, "GET", absent, "2024-11-30")) == "ResourceNotFound"


def test_a_stale_etag_is_refused_and_the_fresh_one_accepted(tenant: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    path = f"{group}/providers/Microsoft.Network/networkSecurityGroups/quarantine"
    version, body = "2025-05-01", {"location": "westeurope", "properties": {}}
    made = tenant.sandbox.arm("PUT", path, version, body)
    tenant.sandbox.arm("PUT", path, version, {**body, "tags": {"a": "b"}})
    stale = tenant.call(admin, "PUT", path, version, body, If_Match=made["etag"])
    assert (stale.status, code(stale)) == (412, "PreconditionFailed")
    fresh = tenant.sandbox.arm("GET", path, version)["etag"]
    assert tenant.call(admin, "PUT", path, version, body, If_Match=fresh).status == 200
    only_new = tenant.call(admin, "PUT", path, version, body, If_None_Match="*")
    assert only_new.status == 412


def test_lists_come_in_pages(tenant: Any) -> None:
    for number in range(5):
        tenant.group(f"group-{number}")
    tenant.sandbox.configure(page_size=2)
    token = tenant.sandbox.admin_token()
    url: str | None = f"{ARM}{tenant.subscription}/resourceGroups?api-version=2021-04-01"
    pages = []
    while url:
        body = tenant.sandbox.send("GET", url, token=token).body
        pages.append([one["name"] for one in body["value"]])
        url = body.get("nextLink")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({name for page in pages for name in page}) == 5


def test_every_answer_bears_its_request_id_and_the_allowance(tenant: Any) -> None:
    admin = tenant.sandbox.admin_token()
    answer = tenant.call(admin, "GET", tenant.subscription, "2022-12-01")
    assert answer.headers["x-ms-request-id"]
    assert answer.headers["x-ms-correlation-request-id"]
    assert int(answer.headers["x-ms-ratelimit-remaining-subscription-reads"]) > 0


def test_a_body_that_is_not_json_is_refused(sandbox: AzureSandbox, tenant: Any) -> None:
    url = f"{ARM}{tenant.group()}?api-version=2021-04-01"
    answer = sandbox.send("PUT", url, b"{", token=sandbox.admin_token())
    assert (answer.status, code(answer)) == (400, "InvalidRequestContent")


def test_calls_are_recorded_with_who_what_and_whether_it_changed_something(tenant: Any) -> None:
    reader = tenant.principal("Reader")
    since = tenant.sandbox.calls().next
    tenant.call(reader, "GET", tenant.subscription, "2022-12-01")
    tenant.call(reader, "PUT", f"{tenant.subscription}/resourceGroups/x", body={"location": "westeurope"})
    read, write = tenant.sandbox.calls(since, principal=reader.object_id).calls
    assert (read["operation"], read["mutating"], read["status"]) == (
        "Microsoft.Resources/subscriptions/read",
        False,
        200,
    )
    assert (write["mutating"], write["status"], write["error_code"]) == (True, 403, "AuthorizationFailed")
    assert write["body"] == {"location": "westeurope"}
    assert len(tenant.sandbox.calls(since, mutating=True).calls) == 1


def test_secrets_never_reach_the_record(tenant: Any, credential: Any) -> None:
    someone = tenant.principal()
    credential(someone).get_token(f"{ARM}/.default")
    added = tenant.graph_admin("POST", f"applications/{someone.application_object_id}/addPassword", {})
    record = json.dumps(tenant.sandbox.calls().calls)
    assert someone.client_secret not in record
    assert added.body["secretText"] not in record


def test_reset_forgets_everything(tenant: Any) -> None:
    group = tenant.group()
    someone = tenant.principal("Owner")
    token = tenant.sandbox.mint(someone.object_id)
    tenant.sandbox.configure(lro_seconds=9)
    tenant.sandbox.reset()
    assert tenant.sandbox.calls().calls == []
    assert tenant.sandbox.configure()["lro_seconds"] == 0
    assert tenant.call(token, "GET", group).status == 403


def test_settings_are_checked(sandbox: AzureSandbox) -> None:
    with pytest.raises(SandboxError, match="unknown settings: speed"):
        sandbox.configure(speed=1)
    with pytest.raises(SandboxError, match="at least 0"):
        sandbox.configure(lro_seconds=-1)


def test_the_control_api_is_not_on_the_played_hosts(sandbox: AzureSandbox) -> None:
    url = f"{ARM}/_sandbox/health?api-version=2021-04-01"
    assert sandbox.send("GET", url, token=sandbox.admin_token()).status == 404
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{sandbox.url}/subscriptions")
