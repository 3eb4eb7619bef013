"""The web application on a real Temporal server, its sources, and shorthands for sending to it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from firebreak import start
from firebreak.inventoryfile import InventoryFile
from firebreak.model import Workload
from firebreak.settings import Settings, WebSettings
from firebreak.web.app import create_app
from firebreak.web.services import Services
from firebreak.web.webhook.configuration import Source, load
from tests.firebreak.web.senders import AUDIENCE, CALLER, ISSUER, JWKS_URL, TOPIC, Keys, Sent, Sign, moments

ACCOUNT, REGION = "222222222222", "eu-central-1"
PAYLOADS = Path(__file__).parent / "payloads"
PEER = "10.9.8.7"
"""The ingress of these tests."""
AGENTS = 400


def agent(number: int) -> dict[str, Any]:
    """An inventory entry that nothing else shares a resource with."""
    return {
        "id": f"agent-{number:04d}",
        "cloud": "aws",
        "account": ACCOUNT,
        "region": REGION,
        "identities": [{"kind": "iam-role", "ref": f"arn:aws:iam::{ACCOUNT}:role/agents/agent-{number:04d}"}],
        "network": [{"kind": "ec2-instance", "ref": f"i-{number:017x}"}],
        "artifacts": [
            {"kind": "s3-object", "ref": f"arn:aws:s3:::agents/{number:04d}/model", "role": "model"}
        ],
        "evidence_sources": [
            {"kind": "log-group", "ref": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/agents/{number:04d}"}
        ],
    }


def ids_of(workload: Workload) -> dict[str, str]:
    """How payloads name the workload's resources."""
    role = workload.identities[0].ref
    return {
        "$RESOURCE": role,
        "$ROLE_NAME": role.rsplit("/", 1)[1],
        "$INSTANCE": workload.network[0].ref,
        "$ACCOUNT": workload.account,
        "$REGION": workload.region,
    }


UNKNOWN = {
    "$RESOURCE": f"arn:aws:iam::{ACCOUNT}:role/agents/nobody",
    "$ROLE_NAME": "nobody",
    "$INSTANCE": "i-ffffffffffffffff0",
    "$ACCOUNT": ACCOUNT,
    "$REGION": REGION,
}
"""Resources that no workload of the inventory has."""


def payload(kind: str, ids: Mapping[str, str], at: datetime | None = None, **values: Any) -> dict[str, Any]:
    """A body as that kind of source sends it; ``values`` are set at dotted paths (``__`` for a dot)."""
    text = (PAYLOADS / f"{kind}.json").read_text(encoding="utf-8")
    filled = {**ids, **moments(at or datetime.now(UTC)), "$UNIQUE": secrets.token_hex(8)}
    for name in sorted(filled, key=len, reverse=True):
        text = text.replace(name, filled[name])
    body: dict[str, Any] = json.loads(text)
    for path, value in values.items():
        put(body, path.split("__"), value)
    return body


def put(body: Any, path: list[str], value: Any) -> None:
    """Set a value inside a body; a number is an index."""
    for name in path[:-1]:
        body = body[int(name)] if name.isdigit() else body.setdefault(name, {})
    body[path[-1]] = value


@dataclass
class Hooks:
    """A web application, and what is needed to send to it and to look behind it."""

    app: FastAPI
    services: Services
    keys: Keys
    sources: Mapping[str, Source]
    queue: list[Workload] = field(default_factory=list)

    @property
    def temporal(self) -> Client:
        """The client that the application has."""
        return self.services.temporal

    def workload(self) -> Workload:
        """A workload that no other test has touched."""
        return self.queue.pop()

    async def post(self, source: str, sent: Sent, *, peer: str = PEER) -> httpx.Response:
        """Send a request as it is."""
        transport = httpx.ASGITransport(self.app, client=(peer, 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://firebreak") as client:
            return await client.post(
                f"/hooks/{source}", content=sent.body, headers=sent.headers, params=sent.query
            )

    async def runs(self, workload: Workload) -> int:
        """How many containments the workload has on the server, zero or one; no visibility that lags."""
        try:
            await self.temporal.get_workflow_handle(start.workflow_id(workload)).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return 0
        return 1


def sent(sign: Sign, body: Any, at: datetime | None = None) -> Sent:
    """A signed request with that body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return sign(raw, at or datetime.now(UTC))


def sources_file(folder: Path, keys: Keys, workloads: str = "agent-*") -> Path:
    """A file of sources: each kind of adapter with a mode that its vendor can really send."""
    oidc = {
        "mode": "oidc",
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwks_url": JWKS_URL,
        "caller_claim": "appid",
        "callers": [CALLER],
    }
    google = {**oidc, "caller_claim": "email", "callers": ["push@agents.iam.gserviceaccount.com"]}
    hmac = {"mode": "hmac", "secrets": [_secret("new", "HMAC"), _secret("old", "OLD_HMAC")]}
    standard = {
        "mode": "standard_webhooks",
        "secrets": [_secret("new", "STANDARD"), _secret("old", "OLD_STANDARD")],
    }
    token = {"mode": "static_token", "secrets": [_secret("t1", "TOKEN")]}
    mtls = {"mode": "mtls", "certificates": [keys.pin], "header": "X-Client-Cert"}
    sns = {"mode": "sns", "topics": [TOPIC]}
    modes: dict[str, tuple[str, dict[str, Any]]] = {
        "sentinel": ("sentinel", oidc),
        "azure-monitor": ("azure_monitor", oidc),
        "splunk": ("splunk", {**token, "header": "", "query": "token"}),
        "splunk-observability": (
            "splunk_observability",
            {**hmac, "header": "X-SFX-Signature", "prefix": "", "encoding": "base64"},
        ),
        "guardduty": ("guardduty", token),
        "guardduty-sns": ("guardduty", sns),
        "security-hub": ("security_hub", sns),
        "security-hub-v2": ("security_hub_v2", sns),
        "scc": ("scc", google),
        "gcp-monitoring": ("gcp_monitoring", token),
        "pagerduty": ("pagerduty", hmac),
        "elastic": ("elastic", mtls),
        "datadog": ("datadog", token),
        "falco": ("falcosidekick", mtls),
        "wiz": ("wiz", sns),
        "ocsf": ("ocsf", standard),
    }
    listed: list[dict[str, Any]] = [
        {"name": name, "adapter": adapter, "authentication": mode, "workloads": [workloads]}
        for name, (adapter, mode) in modes.items()
    ]
    usual: dict[str, Any] = {"adapter": "ocsf", "authentication": standard, "workloads": [workloads]}
    listed += [
        {**usual, "name": "drills", "mode": "drill"},
        {**usual, "name": "asks", "starts": "approval"},
        {**usual, "name": "elsewhere", "workloads": ["other-*"]},
        {**usual, "name": "narrow", "workloads_per_minute": 2, "alerts_per_minute": 5, "pages_per_minute": 3},
    ]
    for each in listed:
        if each["name"] != "narrow":
            each |= {"workloads_per_minute": 10_000, "alerts_per_minute": 10_000, "pages_per_minute": 10_000}
    path = folder / "sources.json"
    path.write_text(json.dumps({"version": 1, "sources": listed}))
    return path


def senders(keys: Keys) -> dict[str, Sign]:
    """How each source of the file signs."""
    return {
        "sentinel": keys.oidc(),
        "azure-monitor": keys.oidc(),
        "splunk": keys.url_token(),
        "splunk-observability": keys.hmac_base64(),
        "guardduty": keys.token(),
        "guardduty-sns": keys.sns(),
        "security-hub": keys.sns(),
        "security-hub-v2": keys.sns(),
        "scc": keys.pubsub(),
        "gcp-monitoring": keys.token(),
        "pagerduty": keys.hmac_hex(),
        "elastic": keys.mtls(),
        "datadog": keys.token(),
        "falco": keys.mtls(),
        "wiz": keys.sns(),
        "ocsf": keys.standard(),
    }


def settings_for(folder: Path, task_queue: str, agents: int = AGENTS, **web: Any) -> Settings:
    """Settings over an inventory of that many agents."""
    path = folder / "workloads.yaml"
    path.write_text(json.dumps({"version": 1, "workloads": [agent(n) for n in range(1, agents + 1)]}))
    return Settings(
        inventory=path, task_queue=task_queue, web=WebSettings(trusted_proxies=(f"{PEER}/32",), **web)
    )


def hooks_on(temporal: Client, settings: Settings, keys: Keys, sources: Path) -> Hooks:
    """The application over that server."""
    services = Services(settings, temporal, InventoryFile(settings))
    loaded = load(sources)
    app = create_app(services, loaded, read_keys=keys.read)
    workloads = list(services.inventory.current().workloads.values())
    return Hooks(app, services, keys, {each.name: each for each in loaded}, workloads)


def _secret(name: str, variable: str) -> dict[str, str]:
    return {"id": name, "env": f"WEBHOOK_TEST_{variable}"}
