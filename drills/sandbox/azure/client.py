"""Start, prepare, steer and read the Azure sandbox from another process."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from drills.sandbox.azure.connections import connection_to, forget_connections
from drills.sandbox.azure.tenancy import HOME_SUBSCRIPTION, HOME_TENANT
from drills.sandbox.client import Calls, ControlClient, JsonObject, SandboxError, launched

__all__ = [
    "HOME_SUBSCRIPTION",
    "HOME_TENANT",
    "ArmAnswer",
    "AzureSandbox",
    "Calls",
    "Identity",
    "SandboxError",
    "start_sandbox",
]

_ARM = "https://management.azure.com"
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Identity:
    """An application with its service principal and secret."""

    tenant: str
    object_id: str
    application_object_id: str
    client_id: str
    client_secret: str

    def environment(self) -> dict[str, str]:
        """Return what EnvironmentCredential and DefaultAzureCredential read."""
        return {
            "AZURE_TENANT_ID": self.tenant,
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_CLIENT_SECRET": self.client_secret,
        }


@dataclass(frozen=True)
class ArmAnswer:
    """What a played host answered; headers are found without case."""

    status: int
    body: Any
    headers: Message


@dataclass(frozen=True)
class AzureSandbox(ControlClient):
    """A running sandbox: its control API, and how clients reach the hosts it plays.

    A fault's place is its `host`.
    """

    proxy: str
    ca_file: Path

    def environment(self) -> dict[str, str]:
        """Return the standard settings that lead every client to the sandbox."""
        return {
            "HTTPS_PROXY": self.proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "SSL_CERT_FILE": str(self.ca_file),
        }

    def advance(self, seconds: float) -> None:
        """Let time pass in the sandbox without waiting."""
        self.request("POST", "/clock", {"advance_seconds": seconds})

    def create_tenant(self, tenant: str | None = None) -> str:
        """Create a tenant and return its id."""
        return str(self.request("POST", "/tenants", {"tenant": tenant})["tenant"])

    def create_subscription(self, tenant: str = HOME_TENANT, **choices: str) -> str:
        """Create a subscription (`subscription` id, `parent` management group) and return its id."""
        return str(self.request("POST", "/subscriptions", {"tenant": tenant, **choices})["subscription"])

    def create_management_group(self, name: str, **choices: str) -> str:
        """Create a management group (`tenant`, `parent`) and return its ARM id."""
        return str(self.request("POST", "/management-groups", {"name": name, **choices})["id"])

    def create_principal(
        self, name: str, *, tenant: str = HOME_TENANT, graph: tuple[str, ...] = ()
    ) -> Identity:
        """Register an application with a secret and application permissions of Graph."""
        body = {"name": name, "tenant": tenant, "graph": list(graph)}
        return Identity(**self.request("POST", "/principals", body))

    def create_group(self, name: str, *members: str, tenant: str = HOME_TENANT) -> str:
        """Create a group with these members and return its object id."""
        body = {"name": name, "tenant": tenant, "members": list(members)}
        return str(self.request("POST", "/groups", body)["object_id"])

    def create_user(self, name: str, *, tenant: str = HOME_TENANT) -> str:
        """Create a user and return its object id."""
        return str(self.request("POST", "/users", {"name": name, "tenant": tenant})["object_id"])

    def grant(self, principal: str, role: str, scope: str) -> str:
        """Assign a role (built-in name, GUID or id) and return the assignment's id."""
        body = {"principal": principal, "role": role, "scope": scope}
        return str(self.request("POST", "/grants", body)["id"])

    def admin_token(self, *, tenant: str = HOME_TENANT, audience: str = _ARM) -> str:
        """Return a token of the tenant's administrator, who may do everything."""
        body = {"tenant": tenant, "audience": audience}
        return str(self.request("POST", "/admin-token", body)["access_token"])

    def mint(self, principal: str, audience: str = _ARM, **choices: float) -> str:
        """Return a token as this service principal would have got it (`lifetime_seconds`)."""
        body = {"principal": principal, "audience": audience, **choices}
        return str(self.request("POST", "/tokens", body)["access_token"])

    def assertion(self, issuer: str, subject: str, **choices: str | float) -> str:
        """Return a token signed by an external issuer (`audience`, `lifetime_seconds`)."""
        body = {"issuer": issuer, "subject": subject, **choices}
        return str(self.request("POST", "/federation/assertion", body)["assertion"])

    def host_token(self, host: str, **choices: str) -> JsonObject:
        """Return access_token or refused, as a host's metadata endpoint says (`identity`, `resource`)."""
        return self.request("POST", "/managed-identity/token", {"host": host, **choices})

    def arm(
        self,
        method: str,
        path: str,
        version: str,
        body: JsonObject | None = None,
        *,
        token: str | None = None,
    ) -> Any:
        """Call Azure Resource Manager as the administrator (or bearer of `token`) and wait until it is done.

        Returns the document; raises SandboxError for any error.
        """
        url = f"{_ARM}{quote(path, safe=_PATH_SAFE)}?{urlencode({'api-version': version})}"
        bearer = token or str(self.request("POST", "/admin-token", {"scope": path})["access_token"])
        answer = _accepted(method, path, self.send(method, url, body, token=bearer))
        if "Azure-AsyncOperation" in answer.headers:
            return self._waited(path, url, bearer, answer)
        return answer.body

    def _waited(self, path: str, url: str, token: str, answer: ArmAnswer) -> Any:
        where, status = answer.headers["Azure-AsyncOperation"], {"status": "InProgress"}
        while status["status"] == "InProgress":
            status = _accepted("GET", path, self.send("GET", where, token=token)).body
            time.sleep(_POLL_SECONDS if status["status"] == "InProgress" else 0)
        if status["status"] != "Succeeded":
            raise SandboxError(f"{path}: {status}")
        if answer.status == HTTPStatus.ACCEPTED and "Location" in answer.headers:
            return self.send("GET", answer.headers["Location"], token=token).body
        return self.send("GET", url, token=token).body

    def send(
        self,
        method: str,
        url: str,
        body: JsonObject | bytes | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ArmAnswer:
        """Send one request to a played host and return whatever it answers."""
        target = urlsplit(url)
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        sent = {"Content-Type": "application/json"} if isinstance(body, dict) else {}
        sent |= {"Authorization": f"Bearer {token}"} if token else {}
        with connection_to(target.hostname or "", self.proxy, self.ca_file) as connection:
            connection.request(method, url.split(target.netloc, 1)[1], data, {**sent, **(headers or {})})
            response = connection.getresponse()
            raw = response.read()
        document = _document(raw, response.headers.get("Content-Type"))
        return ArmAnswer(response.status, document, response.headers)


_PATH_SAFE = "/()',$@!*;:=+~"


def _document(raw: bytes, kind: str | None) -> Any:
    return json.loads(raw) if raw and "json" in (kind or "") else raw or None


def _accepted(method: str, path: str, answer: ArmAnswer) -> ArmAnswer:
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise SandboxError(f"{method} {path}: {answer.status} {answer.body}")
    return answer


@contextmanager
def start_sandbox(*, log: Path | None = None) -> Iterator[AzureSandbox]:
    """Run a sandbox process on free ports for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="firebreak-azure-") as folder:
        ca_file = Path(folder) / "ca.pem"
        module, ca_option = "drills.sandbox.azure.server", ("--ca-file", str(ca_file))
        with launched(module, *ca_option, log=log, environment=_clean()) as process:
            ports = json.loads(process.ready)
            try:
                yield AzureSandbox(ports["url"], ports["proxy"], ca_file, pid=process.pid)
            finally:
                forget_connections(ca_file)


def _clean() -> dict[str, str]:
    """Return the environment without another sandbox's proxy."""
    return {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
