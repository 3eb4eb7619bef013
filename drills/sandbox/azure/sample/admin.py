"""The administrator's hands while a sandbox is seeded: Azure Resource Manager, data planes, the directory."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import httpx

from drills.sandbox.azure.client import AzureSandbox, SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]
ARM, GRAPH = "https://management.azure.com", "https://graph.microsoft.com"
STORAGE_AUDIENCE = "https://storage.azure.com"
GROUPS_VERSION, AUTHORIZATION_VERSION, PIM_VERSION = "2021-04-01", "2022-04-01", "2020-10-01"
# Versioning for the Azure Storage services: what the blob calls below need.
STORAGE_VERSION = "2021-12-02"
LOCATION = "westeurope"
CALL_SECONDS = 30.0
POLL_SECONDS = 0.02
CONNECTIONS = 8


@dataclass(frozen=True)
class Call:
    """One request to a played host."""

    method: str
    url: str
    audience: str = ARM
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Admin:
    """The tenant's administrator, at work in one subscription."""

    def __init__(self, sandbox: AzureSandbox, subscription: str) -> None:
        """Reach the sandbox as every client does: by its proxy, trusting its authority."""
        self.sandbox = sandbox
        self.subscription = subscription
        self.location = LOCATION
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()
        self._client = client_of(sandbox.proxy, str(sandbox.ca_file))

    @property
    def scope(self) -> str:
        """The subscription's id."""
        return f"/subscriptions/{self.subscription}"

    def token(self, audience: str) -> str:
        """Return a token of the administrator."""
        with self._lock:
            if audience not in self._tokens:
                self._tokens[audience] = self.sandbox.admin_token(audience=audience)
            return self._tokens[audience]

    def call(self, call: Call) -> httpx.Response:
        """Make a call; raises SandboxError for any refusal."""
        headers = {"Authorization": f"Bearer {self.token(call.audience)}", **call.headers}
        answer = self._client.request(
            call.method, call.url, json=call.json, content=call.content, headers=headers
        )
        if answer.is_error:
            raise SandboxError(f"{call.method} {call.url}: {answer.status_code} {answer.text}")
        return answer

    def arm(self, method: str, path: str, version: str, body: Json | None = None) -> Json:
        """Call Azure Resource Manager and wait until it is done."""
        url = f"{ARM}{path}?api-version={version}"
        answer = self.call(Call(method, url, json=body))
        operation = answer.headers.get("Azure-AsyncOperation")
        if operation is None:
            return _document(answer)
        self._wait(operation, path)
        return _document(self.call(Call("GET", url)))

    def put(self, path: str, body: Json, version: str) -> Json:
        """Write a resource; returns its document."""
        return self.arm("PUT", path, version, body)

    def group(self, name: str) -> str:
        """Make a resource group; returns its id."""
        place = f"{self.scope}/resourceGroups/{name}"
        self.put(place, {"location": self.location}, GROUPS_VERSION)
        return place

    def resource(self, ref: str, version: str, properties: Json | None = None, **more: Any) -> Json:
        """Make a resource in the sample's region; returns its document."""
        return self.put(ref, {"location": self.location, "properties": properties or {}, **more}, version)

    def assign(self, principal: str, role: str, scope: str) -> str:
        """Give a principal a role (built-in name, GUID or id) at a scope."""
        return self.sandbox.grant(principal, role, scope)

    def define_role(self, name: str, scope: str, *actions: str, data: tuple[str, ...] = ()) -> str:
        """Make a custom role; returns its id."""
        made = uuid5(NAMESPACE_URL, scope + name)
        ref = f"{self.scope}/providers/Microsoft.Authorization/roleDefinitions/{made}"
        permission = {
            "actions": list(actions),
            "notActions": [],
            "dataActions": list(data),
            "notDataActions": [],
        }
        properties = {
            "roleName": name,
            "type": "CustomRole",
            "permissions": [permission],
            "assignableScopes": [scope],
        }
        self.put(ref, {"properties": properties}, AUTHORIZATION_VERSION)
        return ref

    def graph(self, method: str, path: str, body: Json | None = None) -> Json:
        """Call Microsoft Graph."""
        return _document(self.call(Call(method, f"{GRAPH}/v1.0{path}", audience=GRAPH, json=body)))

    def upload(self, account: str, container: str, name: str, body: bytes) -> None:
        """Put a blob."""
        url = f"https://{account}.blob.core.windows.net/{container}/{name}"
        self.call(Call("PUT", url, audience=STORAGE_AUDIENCE, content=body, headers=BLOB_HEADERS))

    def post_form(self, url: str, form: Mapping[str, str]) -> Json:
        """Post a form without credentials of one's own, as token endpoints take it."""
        answer = self._client.post(url, data=dict(form))
        if answer.is_error:
            raise SandboxError(f"POST {url}: {answer.status_code} {answer.text}")
        return _document(answer)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _wait(self, operation: str, path: str) -> None:
        status: Json = {"status": "InProgress"}
        while status["status"] not in {"Succeeded", "Failed", "Canceled"}:
            status = _document(self.call(Call("GET", operation)))
            time.sleep(POLL_SECONDS if status["status"] == "InProgress" else 0)
        if status["status"] != "Succeeded":
            raise SandboxError(f"{path}: {status}")


BLOB_HEADERS = {"x-ms-version": STORAGE_VERSION, "x-ms-blob-type": "BlockBlob"}


def client_of(proxy: str, ca_file: str) -> httpx.Client:
    """Return a client whose every call goes to the sandbox."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    return httpx.Client(
        proxy=proxy,
        verify=ssl.create_default_context(cafile=ca_file),
        trust_env=False,
        timeout=CALL_SECONDS,
        limits=limits,
    )


def _document(answer: httpx.Response) -> Json:
    found = answer.json() if answer.content else {}
    return found if isinstance(found, dict) else {}
