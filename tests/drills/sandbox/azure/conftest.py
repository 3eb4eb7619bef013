"""Empty the process's sandbox before every test, and lead the SDKs to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, ArmAnswer, AzureSandbox, Identity

ARM = "https://management.azure.com"
GRAPH = "https://graph.microsoft.com"
SUBSCRIPTION = f"/subscriptions/{HOME_SUBSCRIPTION}"
GROUPS = "2021-04-01"


@pytest.fixture(scope="module")
def running_sandbox(azure_sandbox: AzureSandbox) -> Iterator[AzureSandbox]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in azure_sandbox.environment().items():
            patch.setenv(name, value)
        yield azure_sandbox


@pytest.fixture
def sandbox(running_sandbox: AzureSandbox) -> AzureSandbox:
    running_sandbox.reset()
    return running_sandbox


@dataclass(frozen=True)
class Tenant:
    """The home tenant as a test prepares it and as its principals see it."""

    sandbox: AzureSandbox
    subscription: str = SUBSCRIPTION

    def group(self, name: str = "Ai") -> str:
        """The id of a new resource group."""
        self.sandbox.arm("PUT", f"{SUBSCRIPTION}/resourceGroups/{name}", GROUPS, {"location": "westeurope"})
        return f"{SUBSCRIPTION}/resourceGroups/{name}"

    def managed_identity(self, group: str, name: str = "agent") -> dict[str, Any]:
        path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        return dict(self.sandbox.arm("PUT", path, "2024-11-30", {"location": "westeurope"}))

    def principal(self, *roles: str, scope: str = SUBSCRIPTION, graph: tuple[str, ...] = ()) -> Identity:
        made = self.sandbox.create_principal(f"app-{uuid4().hex[:6]}", graph=graph)
        for role in roles:
            self.sandbox.grant(made.object_id, role, scope)
        return made

    def call(
        self,
        who: Identity | str,
        method: str,
        path: str,
        version: str = GROUPS,
        body: dict[str, Any] | None = None,
        **headers: str,
    ) -> ArmAnswer:
        """Call ARM as a principal, or with a token."""
        token = who if isinstance(who, str) else self.sandbox.mint(who.object_id)
        mark = "&" if "?" in path else "?"
        url = f"{ARM}{path}{mark}api-version={version}" if version else f"{ARM}{path}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.sandbox.send(method, url, body, token=token, headers=sent)

    def graph(
        self, who: Identity | str, method: str, path: str, body: dict[str, Any] | None = None
    ) -> ArmAnswer:
        """Call Graph as a principal, or with a token."""
        token = who if isinstance(who, str) else self.sandbox.mint(who.object_id, GRAPH)
        return self.sandbox.send(method, f"{GRAPH}/v1.0/{path}", body, token=token)

    def graph_admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> ArmAnswer:
        return self.graph(self.sandbox.admin_token(audience=GRAPH), method, path, body)


@pytest.fixture
def tenant(sandbox: AzureSandbox) -> Tenant:
    return Tenant(sandbox)


@pytest.fixture
def credential() -> Callable[[Identity], ClientSecretCredential]:
    def of(identity: Identity) -> ClientSecretCredential:
        return ClientSecretCredential(identity.tenant, identity.client_id, identity.client_secret)

    return of


@pytest.fixture
def refused() -> Callable[..., tuple[int | None, str]]:
    """The status and code of an SDK's call that must fail."""

    def call(function: Callable[..., Any], *arguments: Any, **more: Any) -> tuple[int | None, str]:
        with pytest.raises(HttpResponseError) as caught:
            function(*arguments, **more)
        error = caught.value.error
        return caught.value.status_code, str(error.code if error else "")

    return call
