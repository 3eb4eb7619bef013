"""How the workload's tokens are issued to Firebreak: the ways that the probes take, each on its own.

Microsoft identity platform, "OAuth 2.0 client credentials flow": by a federated credential, or by a secret.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from firebreak.errors import PermanentCloudError
from firebreak.model import JsonObject
from providers.azure.answers import RestError, translated
from providers.azure.probes import Token
from providers.azure.resources.identities import ManagedIdentity, ServicePrincipal
from providers.azure.session import AzureAccess

TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105 - the name of a variable
"""Firebreak's own federated token (Microsoft Entra Workload ID, "Service account projection")."""
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, 2.2
SECRET_VERSION = "7.4"  # noqa: S105 - an api-version
"""api-version of Key Vault's data plane."""
COMPUTE_VERSION = "2024-07-01"
METADATA_VERSION = "2018-02-01"

Identity = ManagedIdentity | ServicePrincipal


class Way(Protocol):
    """One way to a token of the workload."""

    @property
    def name(self) -> str:
        """The way as people read it."""
        ...

    @property
    def audiences(self) -> tuple[str, ...]:
        """For whom fresh tokens are asked, in this order: more than one where tokens are kept on the way."""
        ...

    def issue(self, audience: str) -> Token:
        """Ask for a fresh token; raises RestError when refused, PermanentCloudError when unusable."""
        ...


@dataclass(frozen=True)
class Federated:
    """Firebreak's own federated token, exchanged through the credential ``firebreak-probe``."""

    access: AzureAccess
    identity: Identity
    name: str = "federated credential"

    @property
    def audiences(self) -> tuple[str, ...]:
        """Azure Resource Manager: nothing is kept."""
        return (_arm(self.access),)

    def issue(self, audience: str) -> Token:
        """Exchange the token."""
        path = os.environ.get(TOKEN_FILE, "")
        if not path:
            raise PermanentCloudError(f"Firebreak has no federated token of its own: {TOKEN_FILE} is not set")
        try:
            assertion = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise PermanentCloudError(
                f"Firebreak's federated token cannot be read: {error.strerror}", resource=path
            ) from error
        proof = {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}
        return _issued(self.access, self.identity, audience, proof)


@dataclass(frozen=True)
class Secret:
    """The application's client secret, read from Key Vault each time and kept nowhere."""

    access: AzureAccess
    identity: ServicePrincipal
    name: str = "client secret"

    @property
    def audiences(self) -> tuple[str, ...]:
        """Azure Resource Manager: nothing is kept."""
        return (_arm(self.access),)

    def issue(self, audience: str) -> Token:
        """Sign in with the secret."""
        parts = urlsplit(self.identity.secret_url(self.access.endpoints.vault_suffix))
        with translated(self.identity.credential_secret):
            vault = self.access.data(f"https://{parts.netloc}", self.access.endpoints.vault_scope)
            found = vault.find(parts.path, query={"api-version": SECRET_VERSION})
        if not found or not found.get("value"):
            raise PermanentCloudError("there is no such secret", resource=self.identity.credential_secret)
        return _issued(self.access, self.identity, audience, {"client_secret": str(found["value"])})


def _arm(access: AzureAccess) -> str:
    return access.endpoints.arm_scope.removesuffix(".default")


def _issued(access: AzureAccess, identity: Identity, audience: str, proof: dict[str, str]) -> Token:
    form = {
        "grant_type": "client_credentials",
        "client_id": identity.client_id,
        "scope": f"{audience.rstrip('/')}/.default",
        **proof,
    }
    return Token(str(access.issue(identity.tenant_id, form)["access_token"]))


@dataclass(frozen=True)
class Machine:
    """The metadata service of a virtual machine that carries the identity, asked by run command.

    It keeps tokens for about a day (managed identities, "Best practice recommendations"), so that what it
    gives may be an old one: see ``Token.issued_at``.
    """

    access: AzureAccess
    identity: Identity
    name: str = "metadata service"

    @property
    def audiences(self) -> tuple[str, ...]:
        """Others after Azure Resource Manager, whose token it has surely kept."""
        at = self.access.endpoints
        others = (at.vault_scope, at.storage_scope, at.graph_scope)
        return (_arm(self.access), *(f"{each.removesuffix('.default')}" for each in others))

    def issue(self, audience: str) -> Token:
        """Run one command that asks the metadata service."""
        vm = self.identity.probe_vm
        with translated(vm):
            done = self.access.arm().post(f"{vm}/runCommand", self._command(vm, audience), COMPUTE_VERSION)
        output = _standard_output(done)
        if "access_token" in output:
            return Token(str(output["access_token"]))
        raise RestError(400, _aadsts(output), str(output.get("error_description", output.get("error", ""))))

    def _command(self, vm: str, audience: str) -> JsonObject:
        with translated(vm):
            machine = self.access.arm().get(vm, COMPUTE_VERSION)
        if machine is None:
            raise PermanentCloudError("there is no such virtual machine", resource=vm)
        disk = machine.get("properties", {}).get("storageProfile", {}).get("osDisk", {})
        windows = str(disk.get("osType", "")).lower() == "windows"
        url = (
            f"http://169.254.169.254/metadata/identity/oauth2/token?api-version={METADATA_VERSION}"
            f"&resource={quote(audience, safe='')}"
        )
        if isinstance(self.identity, ManagedIdentity):  # without a wish it is the machine's own identity
            url += f"&client_id={self.identity.client_id}"
        if windows:
            script = (
                f"(Invoke-WebRequest -UseBasicParsing -Headers @{{Metadata='true'}} -Uri '{url}').Content"
            )
            return {"commandId": "RunPowerShellScript", "script": [script]}
        return {"commandId": "RunShellScript", "script": [f"curl -s -H Metadata:true '{url}'"]}


def _standard_output(done: JsonObject) -> JsonObject:
    """Read the JSON between the marks of a run command's message, or of the stdout part that Windows has."""
    for message in _messages(done):
        match = re.search(r"\{.*\}", message.partition("[stderr]")[0], re.DOTALL)
        if match:
            try:
                found = json.loads(match[0])
            except ValueError as error:
                raise RestError(0, "", "the machine's answer is not JSON") from error
            return found if isinstance(found, dict) else {}
    raise RestError(0, "", "the machine gave no answer")


def _messages(done: JsonObject) -> Iterator[str]:
    yield from (str(each.get("message", "")) for each in done.get("value", ()) if isinstance(each, dict))


def _aadsts(output: JsonObject) -> str:
    match = re.search(r"AADSTS\d{4,8}", str(output.get("error_description", "")))
    return match[0] if match else str(output.get("error", ""))


def ways(access: AzureAccess, identity: Identity) -> list[Way]:
    """Every declared way to a token, the one that proves most first."""
    found: list[Way] = []
    if isinstance(identity, ServicePrincipal) and identity.credential_secret:
        found.append(Secret(access, identity))
    if isinstance(identity, ManagedIdentity) or identity.application_object_id:
        found.append(Federated(access, identity))
    if identity.probe_vm:
        found.append(Machine(access, identity))
    return found
