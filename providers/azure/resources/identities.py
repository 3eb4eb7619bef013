"""What an inventory may declare of an Azure workload's identities, and the calls that prove their loss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from firebreak.declarations import Declared
from firebreak.model import Resource
from providers.azure.resources.declared import GUID, arm_id

ObjectId = Annotated[str, Field(pattern=rf"^{GUID}$")]
OptionalId = Annotated[str, Field(pattern=rf"^(?:{GUID})?$")]

# Microsoft identity platform, "Azure resource ids": the audience that each plane's tokens are issued for.
AUDIENCES = {
    "management.azure.com": "https://management.azure.com/",
    "graph.microsoft.com": "https://graph.microsoft.com/",
    ".blob.core.windows.net": "https://storage.azure.com/",
    ".queue.core.windows.net": "https://storage.azure.com/",
    ".vault.azure.net": "https://vault.azure.net/",
    ".openai.azure.com": "https://cognitiveservices.azure.com/",
    ".cognitiveservices.azure.com": "https://cognitiveservices.azure.com/",
    ".services.ai.azure.com": "https://ai.azure.com/",
    # Azure Government and Azure operated by 21Vianet: "Compare Azure Government and global Azure"
    "management.usgovcloudapi.net": "https://management.usgovcloudapi.net/",
    "graph.microsoft.us": "https://graph.microsoft.us/",
    ".blob.core.usgovcloudapi.net": "https://storage.azure.com/",
    ".vault.usgovcloudapi.net": "https://vault.usgovcloudapi.net/",
    ".openai.azure.us": "https://cognitiveservices.azure.us/",
    "management.chinacloudapi.cn": "https://management.chinacloudapi.cn/",
    "microsoftgraph.chinacloudapi.cn": "https://microsoftgraph.chinacloudapi.cn/",
    ".blob.core.chinacloudapi.cn": "https://storage.azure.com/",
    ".vault.azure.cn": "https://vault.azure.cn/",
}

COSMOS_HOSTS = (".documents.azure.com", ".documents.azure.us", ".documents.azure.cn")
"""Its tokens are for the account's own address ("Connect to Azure Cosmos DB for NoSQL by using Entra ID")."""

_URL = re.compile(r"^https://[a-z0-9.-]+/[\u0021-\u007e]{0,2000}$")


_VAULT_URL = (
    r"https://[a-z0-9-]{3,24}\.vault\.(?:azure\.net|usgovcloudapi\.net|azure\.cn)"
    r"/secrets/[A-Za-z0-9-]{1,127}"
)
_SECRET_ID = arm_id("Microsoft.KeyVault/vaults/secrets", name="[A-Za-z0-9-]{1,127}")


def audience_of(url: str) -> str:
    """Return the audience of the tokens that a host takes, empty where no token may be sent to it."""
    host = urlsplit(url).hostname or ""
    if any(_is(host, name) for name in COSMOS_HOSTS):
        return f"https://{host}/"
    return next((aud for name, aud in AUDIENCES.items() if _is(host, name)), "")


def _is(host: str, name: str) -> bool:
    return host.endswith(name) and len(host) > len(name) if name.startswith(".") else host == name


class Probe(BaseModel):
    """A cheap GET that the identity is allowed in peace; its refusal proves the revocation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Full address, for example ``https://management.azure.com/subscriptions/...?api-version=2021-04-01``."""

    @field_validator("url")
    @classmethod
    def _a_token_may_go_there(cls, value: str) -> str:
        if not _URL.match(value):
            raise ValueError("a probe is a plain https address without user, port and fragment")
        if not audience_of(value):
            raise ValueError(f"a token may only be sent to {', '.join((*AUDIENCES, *COSMOS_HOSTS))}")
        return value

    @property
    def audience(self) -> str:
        """For whom the token is issued."""
        return audience_of(self.url)

    @property
    def title(self) -> str:
        """The probe as people read it."""
        return f"GET {self.url.partition('?')[0]}"


class _Identity(Declared):
    """A principal of Microsoft Entra ID that a workload's code acts as."""

    tenant_id: ObjectId
    probes: tuple[Probe, ...] = ()
    probe_vm: Annotated[str, Field(pattern=rf"^(?:{arm_id('Microsoft.Compute/virtualMachines')})?$")] = ""
    """Virtual machine whose metadata service issues the identity's tokens, asked by run command."""
    leave_groups: bool = True
    """Whether memberships that lead to roles are ended, which takes Graph's GroupMember.ReadWrite.All."""
    used_by: tuple[str, ...] = ()
    """This workload's own resources (ARM ids) and federated subjects: not counted as blast radius."""


class ManagedIdentity(_Identity):
    """A user-assigned managed identity."""

    kind: Literal["managed-identity"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.ManagedIdentity/userAssignedIdentities')}$")]
    principal_id: ObjectId
    client_id: ObjectId


class ServicePrincipal(_Identity):
    """A service principal: of an app registration, of an agent, or of a system-assigned identity."""

    kind: Literal["service-principal"]
    ref: ObjectId
    """The service principal's object id, not the application's."""
    client_id: ObjectId
    application_object_id: OptionalId = ""
    """The app registration, where it is in the same tenant; empty for what another tenant owns."""
    credential_secret: Annotated[str, Field(pattern=rf"^(?:{_VAULT_URL}|{_SECRET_ID})?$")] = ""
    """Key Vault secret with a client secret of the application, read for the live probe: its address, or its
    ARM id, which lets the responder's role name just this secret."""
    agent_user: OptionalId = ""
    """The agent's own user account, whose sign-in sessions are revoked as well."""

    def secret_url(self, vault_suffix: str) -> str:
        """The secret's address."""
        if not self.credential_secret.startswith("/"):
            return self.credential_secret
        *_, vault, _, secret = self.credential_secret.split("/")
        return f"https://{vault}.{vault_suffix}/secrets/{secret}"

    @property
    def secret_scope(self) -> str:
        """The secret's ARM id, empty where only its address is declared."""
        return self.credential_secret if self.credential_secret.startswith("/") else ""


class AiAccount(Declared):
    """An Azure AI services or Azure OpenAI account, whose keys are credentials of their own."""

    kind: Literal["ai-account"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.CognitiveServices/accounts')}$")]
    regenerate_keys: bool = False
    """Whether the keys are known to the workload: they are made anew, which cannot be undone."""


KINDS: Mapping[str, type[Resource]] = {
    "managed-identity": ManagedIdentity,
    "service-principal": ServicePrincipal,
    "ai-account": AiAccount,
}
