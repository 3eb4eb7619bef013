from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from azure.containerregistry import ArtifactManifestOrder, ContainerRegistryClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox

VERSION = "2023-07-01"
AUDIENCE = "https://containerregistry.azure.net"
LOCKED = {"can_write": False, "can_delete": False}
OPEN = {"can_write": True, "can_delete": True}
DISALLOWED = "REGISTRY_DISALLOWED_OPERATION"


class Bearer:
    """One principal's tokens, or the administrator's."""

    def __init__(self, sandbox: AzureSandbox, principal: str = "") -> None:
        self.sandbox, self.principal = sandbox, principal

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        given = (
            self.sandbox.mint(self.principal, AUDIENCE)
            if self.principal
            else self.sandbox.admin_token(audience=AUDIENCE)
        )
        return AccessToken(given, 4102444800)


class Registry:
    """One registry with an image, as the unmodified SDK sees it."""

    def __init__(self, sandbox: AzureSandbox) -> None:
        self.sandbox = sandbox
        group = f"/subscriptions/{HOME_SUBSCRIPTION}/resourceGroups/Ai"
        sandbox.arm("PUT", group, "2021-04-01", {"location": "westeurope"})
        self.id = f"{group}/providers/Microsoft.ContainerRegistry/registries/research"
        made = sandbox.arm("PUT", self.id, VERSION, {"location": "westeurope", "sku": {"name": "Basic"}})
        self.server = made["properties"]["loginServer"]
        self.client = self.as_principal("")
        self.digest = self.push("prod", b"layer")

    def as_principal(self, principal: str) -> ContainerRegistryClient:
        return ContainerRegistryClient(
            f"https://{self.server}", Bearer(self.sandbox, principal), retry_total=0, audience=AUDIENCE
        )

    def push(self, tag: str, layer: bytes, client: ContainerRegistryClient | None = None) -> str:
        speaker = client or self.client
        config, _ = speaker.upload_blob("agents/research", io.BytesIO(b"{}"))
        digest, size = speaker.upload_blob("agents/research", io.BytesIO(layer))
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [{"mediaType": "application/octet-stream", "digest": digest, "size": size}],
        }
        return speaker.set_manifest("agents/research", manifest, tag=tag)


@pytest.fixture
def registry(sandbox: AzureSandbox) -> Registry:
    return Registry(sandbox)


def code_of(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(HttpResponseError) as caught:
        call(*arguments, **options)
    answer: Any = caught.value.response
    answer.read()
    return str(answer.json()["errors"][0]["code"])


def test_an_image_is_pushed_listed_pulled_and_deleted(registry: Registry) -> None:
    client, name = registry.client, "agents/research"
    assert list(client.list_repository_names()) == [name]
    old = registry.push("old", b"older")
    properties = client.get_repository_properties(name)
    assert (properties.manifest_count, properties.tag_count) == (2, 2)
    listed = {each.digest for each in client.list_manifest_properties(name)}
    assert listed == {old, registry.digest}
    assert client.get_tag_properties(name, "prod").digest == registry.digest
    pulled = client.get_manifest(name, "prod")
    assert pulled.digest == registry.digest
    layer = f"sha256:{hashlib.sha256(b'layer').hexdigest()}"
    assert b"".join(client.download_blob(name, layer)) == b"layer"
    client.delete_tag(name, "old")
    client.delete_manifest(name, old)
    with pytest.raises(ResourceNotFoundError):
        client.get_manifest_properties(name, old)
    client.delete_repository(name)
    assert list(client.list_repository_names()) == []


def test_many_tags_come_in_pages(registry: Registry) -> None:
    for number in range(7):
        registry.push(f"v{number}", b"layer")
    tags = registry.client.list_tag_properties("agents/research", results_per_page=3)
    assert [each.name for each in tags] == ["prod", *(f"v{number}" for number in range(7))]
    assert ArtifactManifestOrder.LAST_UPDATED_ON_DESCENDING


def test_a_locked_repository_takes_no_push_and_loses_nothing(registry: Registry) -> None:
    client, name = registry.client, "agents/research"
    client.update_repository_properties(name, **LOCKED)
    assert code_of(registry.push, "prod", b"poison") == DISALLOWED
    assert code_of(registry.push, "new", b"layer") == DISALLOWED
    assert code_of(client.delete_tag, name, "prod") == DISALLOWED
    assert code_of(client.delete_manifest, name, registry.digest) == DISALLOWED
    assert code_of(client.delete_repository, name) == DISALLOWED
    assert client.get_manifest(name, "prod").digest == registry.digest
    client.update_repository_properties(name, **OPEN)
    registry.push("prod", b"newer")


def test_a_locked_tag_is_not_moved_and_a_locked_manifest_not_deleted(registry: Registry) -> None:
    client, name = registry.client, "agents/research"
    client.update_tag_properties(name, "prod", can_write=False)
    assert code_of(registry.push, "prod", b"poison") == DISALLOWED
    assert code_of(client.delete_tag, name, "prod") == DISALLOWED  # write off keeps from deletion as well
    registry.push("beside", b"layer")  # another tag on the same digest is not refused
    client.update_manifest_properties(name, registry.digest, can_delete=False)
    assert code_of(client.delete_manifest, name, registry.digest) == DISALLOWED
    assert code_of(client.delete_repository, name) == DISALLOWED


def test_reading_and_listing_can_be_switched_off(registry: Registry) -> None:
    client, name = registry.client, "agents/research"
    client.update_manifest_properties(name, registry.digest, can_read=False, can_list=False)
    assert code_of(client.get_manifest, name, "prod") == DISALLOWED
    assert list(client.list_manifest_properties(name)) == []


@pytest.mark.parametrize(
    ("role", "pulls", "pushes", "deletes"),
    [
        ("", False, False, False),
        ("AcrPull", True, False, False),
        ("AcrPush", True, True, False),
        ("AcrDelete", False, False, True),
    ],
)
def test_roles_decide_what_a_token_is_for(
    registry: Registry, role: str, pulls: bool, pushes: bool, deletes: bool
) -> None:
    who = registry.sandbox.create_principal("builder")
    if role:
        registry.sandbox.grant(who.object_id, role, registry.id)
    client, name = registry.as_principal(who.object_id), "agents/research"
    calls = (
        (pulls, lambda: client.get_manifest(name, "prod")),
        (pushes, lambda: registry.push("new", b"layer", client)),
        (deletes, lambda: client.delete_tag(name, "prod")),
    )
    for may, call in calls:
        if may:
            call()
        else:
            with pytest.raises(ClientAuthenticationError):
                call()


def test_a_token_keeps_its_rights_until_it_expires(registry: Registry) -> None:
    sandbox = registry.sandbox
    who = sandbox.create_principal("builder")
    grant = sandbox.grant(who.object_id, "AcrPull", registry.id)
    url = f"https://{registry.server}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    entra = sandbox.mint(who.object_id, AUDIENCE)
    body = f"grant_type=access_token&service={registry.server}&access_token={entra}".encode()
    refresh = sandbox.send("POST", f"{url}/oauth2/exchange", body, headers=form).body["refresh_token"]
    scope = "repository:agents/research:pull"
    body = (
        f"grant_type=refresh_token&service={registry.server}&scope={scope}&refresh_token={refresh}".encode()
    )
    token = sandbox.send("POST", f"{url}/oauth2/token", body, headers=form).body["access_token"]
    sandbox.arm("DELETE", grant, "2022-04-01")
    manifest = f"{url}/v2/agents/research/manifests/prod"
    assert sandbox.send("GET", manifest, token=token).status == 200
    later = sandbox.send("POST", f"{url}/oauth2/token", body, headers=form).body["access_token"]
    assert sandbox.send("GET", manifest, token=later).status == 401
    sandbox.advance(76 * 60)
    refused = sandbox.send("GET", manifest, token=token)
    assert refused.status == 401
    assert 'scope="repository:agents/research:pull"' in refused.headers["WWW-Authenticate"]


def test_quarantine_marks_only_what_is_pushed_later(registry: Registry) -> None:
    policies = {"quarantinePolicy": {"status": "enabled"}}
    registry.sandbox.arm("PATCH", registry.id, VERSION, {"properties": {"policies": policies}})
    later = registry.push("later", b"later")
    states: dict[str, str] = {}

    def keep(answer: Any) -> None:
        for each in json.loads(answer.http_response.text()).get("manifests", ()):
            states[each["digest"]] = each["changeableAttributes"].get("quarantineState", "")

    list(registry.client.list_manifest_properties("agents/research", raw_response_hook=keep))
    assert states == {registry.digest: "", later: "Quarantined"}
