"""Azure, as the end-to-end tests play on it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from drills.sandbox.azure.client import AzureSandbox
from drills.sandbox.azure.sample.accounts import EVIDENCE_ACCOUNT, WORKLOAD_ACCOUNT
from drills.sandbox.azure.sample.admin import Admin, Call
from drills.sandbox.azure.sample.seeding import Sample, seed
from firebreak.model import Cloud, JsonObject
from tests.e2e.estate import Json, comparable
from tests.e2e.scene import Made, Scene

KEEPER = "firebreak-evidence"
VAULT_AUDIENCE, VAULT_VERSION = "https://vault.azure.net", "7.4"

EPHEMERAL = frozenset(
    {
        "etag",
        "modified_at",
        "updated_at",
        "updatedAt",
        "updatedOn",
        "updatedBy",
        "createdOn",  # a role assignment that is made again, under its name
        "createdBy",
        "lastModifiedAt",
        "revision",  # Azure DevOps counts every update
        "delivered",  # Event Grid: the agent's own work
        "_etag",
        "_ts",
    }
)
"""Times, counters and tags of versions: the only fields that are not compared."""


APART = (EVIDENCE_ACCOUNT, "fbevidence", "insights-logs-flowlogflowevent")
"""The evidence's own place, and the flow logs: what Azure itself writes all the time."""
RECORDS = ("/Microsoft.Compute/snapshots/", "/Microsoft.SecurityInsights/")
"""What a containment makes as evidence, and a release leaves."""
SECRETS = {
    "applications ": ("passwordCredentials", "secrets"),
    "servicePrincipals ": ("passwordCredentials", "secrets"),
    "/Microsoft.CognitiveServices/accounts/": ("extra",),
}
"""What nobody can give back: secrets that were removed, keys that were made anew."""


class AzureScene(Scene):
    """The Azure sandbox: calls are told apart by the principal and by the subscription they are about."""

    cloud = Cloud.AZURE
    denials = frozenset({"AuthorizationFailed", "AuthorizationPermissionMismatch", "Forbidden"})
    throttles = frozenset({"TooManyRequests", "ServerBusy", "Throttled"})

    def __init__(self, sandbox: AzureSandbox) -> None:
        self.sandbox = sandbox

    def seed(self, inventory_path: Path, **how: Any) -> Sample:
        return seed(self.sandbox, inventory_path, **how)

    def describe(self) -> dict[str, Json]:
        everything = self.sandbox.request("GET", "/everything")
        return {
            name: settled(comparable(value, EPHEMERAL))
            for name, value in everything.items()
            if not any(each in name for each in APART)
        }

    def calls(self, since: int, *, mutating: bool = False) -> list[Made]:
        return [
            Made(
                name=call["operation"],
                account=account_of(call),
                who=call["principal_name"],
                status=call["status"],
                error=call["error_code"] or "",
                target=(call["hostname"], call["path"].lower()),
                given=call["body"],
                raw=call,
            )
            for call in self.sandbox.calls(since, mutating=mutating).calls
        ]

    def makes_another(self, made: Made) -> bool:
        return False  # names are the caller's own, so that a PUT creates once

    def slow_identity(self, seconds: float) -> None:
        self.sandbox.configure(role_propagation_seconds=seconds)

    def export_key(self, sample: Any, path: Path) -> Path:
        url = f"{sample.signing_key.removeprefix('azurekms:')}?api-version={VAULT_VERSION}"
        admin = Admin(self.sandbox, EVIDENCE_ACCOUNT)
        key = admin.call(Call("GET", url, audience=VAULT_AUDIENCE)).json()["key"]
        admin.close()
        public = EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), SECP256R1()).public_key()
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return path

    def is_kept(self, name: str, before: Json, after: Json) -> bool:
        if before is None:
            return any(kind in name for kind in RECORDS)
        if after is None:
            return False
        irreversible = next((fields for kind, fields in SECRETS.items() if kind in name), ())
        return bool(irreversible) and without(before, irreversible) == without(after, irreversible)

    def kind_of(self, name: str) -> str:
        kind, _, rest = name.partition(" ")
        if "firebreak-canary" in rest or "/.firebreak/" in rest:
            return ""
        return f"{kind} {rest.rsplit('/', 2)[-2]}" if kind == "resource" else kind


def settled(value: Json) -> Json:
    """A description without what means the same as its absence: no tags, and keys that are allowed."""
    if not isinstance(value, dict):
        return value
    if value.get("tags") == {}:
        del value["tags"]
    properties = value.get("properties")
    if isinstance(properties, dict) and properties.get("disableLocalAuth") is False:
        del properties["disableLocalAuth"]
    return value


def without(value: Json, fields: tuple[str, ...]) -> Json:
    """A description without some of its fields."""
    return {key: each for key, each in value.items() if key not in fields}


def account_of(call: JsonObject) -> str:
    """The account in question: the evidence's for its keeper, the workload's for everybody else."""
    if call["host"] == "login":
        return ""
    about_evidence = call["principal_name"] == KEEPER or EVIDENCE_ACCOUNT in call["path"]
    return EVIDENCE_ACCOUNT if about_evidence else WORKLOAD_ACCOUNT


def _number(text: str) -> int:
    """A coordinate as JSON Web Keys write it (RFC 7518, section 6.2.1)."""
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")


def admin(stack: Any) -> Admin:
    """Every right in the workload's subscription."""
    return Admin(stack.sandbox, stack.sample.workload_account)
