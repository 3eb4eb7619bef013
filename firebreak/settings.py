"""Settings: read once from ``FIREBREAK_*`` variables, frozen, and passed down.

Nested names use a double underscore, for example ``FIREBREAK_PROOF__CONSECUTIVE=3``. Temporal's address
comes from Temporal's own variables (``TEMPORAL_ADDRESS``, ...), credentials from each SDK's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from firebreak.errors import SettingsError
from firebreak.model import Cloud, Mode
from firebreak.variables import DELIMITER, PREFIX, problems


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EvidenceSettings(_Section):
    """Where evidence is kept and who signs it."""

    store: str = ""
    """Uri of the immutable store: ``s3://BUCKET/PREFIX``, or the https URL of a blob container."""
    access: dict[str, str] = Field(default_factory=dict)
    """How to reach the evidence account; the keys are the provider's (AWS: role_arn, external_id, region;
    Azure: tenant_id, client_id, cloud)."""
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    retention_mode: Literal["GOVERNANCE", "COMPLIANCE"] = "COMPLIANCE"
    signing_key: str = ""
    """``file:PATH`` of a PEM private key, ``awskms:KEY_ARN``, or ``azurekms:KEY_URL`` of a Key Vault key with
    its version. Drills use ``drill_signing_key``."""
    drill_signing_key: str = ""
    seal_key: str = ""
    """``awskms:KEY_ARN`` or ``azurekms:KEY_URL`` that encrypts short-lived probe sessions in the store."""

    def signing_key_of(self, mode: Mode) -> str:
        """The key for packages of that mode."""
        return self.drill_signing_key if mode is Mode.DRILL else self.signing_key


SHARED = ("retention_days", "retention_mode", "signing_key", "drill_signing_key")
"""What a cloud's own evidence settings take over from the general ones unless they say otherwise."""


class ProofSettings(_Section):
    """How often an observation must repeat before it counts."""

    consecutive: Annotated[int, Field(ge=1, le=20)] = 3
    """Denials in a row that a live probe needs."""
    spacing_seconds: Annotated[float, Field(ge=0.05, le=60)] = 5.0
    """Time between two observations. With 3 in a row: IAM's propagation is spanned for 10 s."""


class GuardSettings(_Section):
    """What containment refuses to touch."""

    protected_principals: tuple[str, ...] = ()
    """ARNs or ids of break-glass and shared administration identities."""
    max_targets: Annotated[int, Field(ge=1)] = 100
    sandbox_accounts: tuple[str, ...] = ()
    """The only accounts that a drill may touch."""


class NotifySettings(_Section):
    """How the on-call is reached, beside the log. Only the workflow worker uses it."""

    urls: tuple[SecretStr, ...] = ()
    """Apprise URLs (https://github.com/caronc/apprise/wiki): Slack, Teams, mail, SNS and so on."""
    pagerduty_key: SecretStr = SecretStr("")
    """Integration key of a PagerDuty service (Events API v2); empty for none."""
    pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    timeout_seconds: Annotated[float, Field(gt=0, le=15)] = 10.0
    """For one channel; the activity that delivers a page has 20 s."""


class WebSettings(_Section):
    """Where ``firebreak serve`` listens, and whose alerts it takes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """0 takes a free one."""
    sources: Path | None = None
    """File of the alert sources (docs/webhooks.md)."""
    embedded: bool = False
    """Part of an embedded stack on this machine: may start without a source, on a loopback address only."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of the ingress; only they may say who the client is."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 256 * 1024
    answer_seconds: Annotated[float, Field(gt=0, le=60)] = 4.5
    """Time to make an alert durable. EventBridge gives an API destination 5 s, then it retries."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 32
    """Alerts being made durable at one time."""
    remember_days: Annotated[int, Field(ge=1, le=60)] = 8
    """How long a delivery is known again; longer than any sender retries (Pub/Sub: 7 days)."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """When set, a client certificate of this authority is asked for; each source says if it needs one."""


class OidcSettings(_Section):
    """The identity provider of people, and of programs that call the API."""

    issuer: str
    """Exactly as in the provider's discovery document and in every token."""
    client_id: str
    client_secret: SecretStr = SecretStr("")
    scopes: str = "openid profile email"
    name_claim: str = "email"
    """How decisions name the person; has to be one that people cannot change themselves."""
    role_claim: str = "roles"
    role_map: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Value of the claim to Firebreak's roles; without an entry a value means nothing."""
    api_audience: str = ""
    """Audience of bearer tokens for ``/api/v1``; empty for the client id."""


class ConsoleSettings(_Section):
    """Who may log in, and by which rules."""

    public_url: str = ""
    """Where people reach the console, ``https://firebreak.example.org``; also given to the workflow worker,
    it stands in messages that ask for a decision."""
    oidc: OidcSettings | None = None
    session_key: SecretStr = SecretStr("")
    """At least 32 characters; signs session cookies. Made anew with every start when empty."""
    session_hours: Annotated[float, Field(gt=0, le=24)] = 1.0
    """After that the identity provider is asked again, so that a role that was taken away is gone."""
    policy_file: Path | None = None
    """Own rules in Cedar (firebreak/policy/default.cedar is the default)."""
    one_time_logins: dict[str, SecretStr] = Field(default_factory=dict)
    """Name to a token that logs that person in once; for an embedded stack only."""
    break_glass_hash: SecretStr = SecretStr("")
    """Made by ``firebreak break-glass``; empty for no local account. Its use pages the on-call."""
    evidence_keys: tuple[Path, ...] = ()
    """Public keys (PEM) that the console verifies packages with; it then needs to read the evidence store."""
    drill_evidence_keys: tuple[Path, ...] = ()
    """The same for the packages of drills, which have a key of their own."""
    live_streams: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Live pages at one time and process; further ones load themselves again every few seconds."""
    audit_log: Path | None = None
    """Where logins, what people ask for and what they are refused are appended, a JSON line each; for None
    they stand in the process's log alone."""


class LinkedPerson(_Section):
    """Somebody who may decide by signed link."""

    subject: Annotated[str, Field(min_length=1, max_length=128)]
    """The identity provider's id of the person, as the rules know it."""
    name: Annotated[str, Field(min_length=1, max_length=128)]
    """As their login names them (``FIREBREAK_CONSOLE__OIDC__NAME_CLAIM``): one person has one name."""
    roles: tuple[str, ...]
    """Firebreak's roles; what they permit is asked of the rules when a link is used."""
    url: SecretStr
    """Apprise URL that reaches this person and nobody else."""


class LinkSettings(_Section):
    """Links by which one named person answers one question without logging in."""

    people: tuple[LinkedPerson, ...] = ()
    """Empty for no links. The workflow worker sends them, the web process takes them: give both the same."""
    secrets: tuple[SecretStr, ...] = ()
    """At least 32 characters each. The first signs, all of them are taken; put a new one first."""
    life_minutes: Annotated[float, Field(gt=0, le=1440)] = 60.0
    """A link ends then, and never after the question that it answers."""


class SentinelSettings(_Section):
    """A data collection rule of Microsoft Sentinel (Logs Ingestion API)."""

    endpoint: str
    """``https://NAME.REGION.ingest.monitor.azure.com``."""
    rule_id: str
    """Immutable id of the data collection rule, ``dcr-...``."""
    stream: str
    """For example ``Custom-Firebreak_CL``."""
    tenant_id: str
    client_id: str
    client_secret: SecretStr
    authority: str = "https://login.microsoftonline.com"
    scope: str = "https://monitor.azure.com/.default"


class SiemSettings(_Section):
    """Where phases and verdicts are reported to as OCSF events."""

    webhook_url: str = ""
    webhook_secret: SecretStr = SecretStr("")
    """``whsec_...`` of Standard Webhooks: signs what is sent to ``webhook_url``."""
    splunk_url: str = ""
    """HTTP Event Collector, ``https://HOST:8088/services/collector/event``."""
    splunk_token: SecretStr = SecretStr("")
    sentinel: SentinelSettings | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=15)] = 10.0


def _pinned(url: str) -> str:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if not (parts.scheme == "https" or local) or not parts.hostname:
        raise ValueError("must be an https URL")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("must be an address alone, without user, query or fragment")
    return url.rstrip("/")


def _sendable(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not (value and value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII, without a line end")
    return secret


PinnedUrl = Annotated[str, AfterValidator(_pinned)]
Token = Annotated[SecretStr, AfterValidator(_sendable)]
AlertSources = Annotated[tuple[str, ...], Field(min_length=1)]
"""Names in the file of sources (docs/webhooks.md) whose alerts are commented there."""


class PagerDutyComments(_Section):
    """Notes on incidents (REST API; the key of the Events API is another one)."""

    token: Token
    from_email: Annotated[str, Field(pattern=r"^[!-~]+@[!-~]+$")]
    """A user of the account, in whose name notes are written."""
    url: PinnedUrl = "https://api.pagerduty.com"
    """``https://api.eu.pagerduty.com`` for accounts in the EU."""
    sources: AlertSources = ("pagerduty",)


class SplunkComments(_Section):
    """Comments on notable events of Splunk Enterprise Security."""

    url: PinnedUrl
    """Management port of the search head, ``https://HOST:8089``."""
    token: Token
    sources: AlertSources = ("splunk",)


class ElasticComments(_Section):
    """Notes on alerts of Elastic Security."""

    url: PinnedUrl
    """Kibana, with ``/s/SPACE`` for a space that is not the default one."""
    api_key: Token
    timeline_id: str = ""
    """A Timeline to keep the notes in; needed before 8.16."""
    sources: AlertSources = ("elastic",)


class SentinelComments(_Section):
    """Comments on incidents of one workspace of Microsoft Sentinel."""

    workspace: Annotated[
        str,
        Field(
            pattern=r"^/subscriptions/[0-9A-Fa-f-]{36}/resourceGroups/[A-Za-z0-9._()-]{1,90}"
            r"/providers/Microsoft\.OperationalInsights/workspaces/[A-Za-z0-9-]{1,90}$"
        ),
    ]
    """ARM id of the Log Analytics workspace."""
    tenant_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")]
    client_id: str
    client_secret: SecretStr
    url: PinnedUrl = "https://management.azure.com"
    authority: PinnedUrl = "https://login.microsoftonline.com"
    scope: str = "https://management.azure.com/.default"
    sources: AlertSources = ("sentinel",)


class WizComments(_Section):
    """Notes on issues of Wiz."""

    url: PinnedUrl
    """``https://api.DATACENTER.app.wiz.io/graphql``."""
    client_id: str
    client_secret: SecretStr
    token_url: PinnedUrl = "https://auth.app.wiz.io/oauth/token"  # noqa: S105 - an address
    sources: AlertSources = ("wiz",)


class SccComments(_Section):
    """The security mark ``firebreak`` on findings of Google Security Command Center."""

    parent: Annotated[str, Field(pattern=r"^(organizations|folders|projects)/[0-9a-z-]{1,64}$")]
    """Only findings below it are marked."""
    service_account: SecretStr
    """JSON of the key file."""
    url: PinnedUrl = "https://securitycenter.googleapis.com"
    token_url: PinnedUrl = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    sources: AlertSources = ("scc",)


class CommentSettings(_Section):
    """Where the alerts that a run is about are commented. Only the workflow worker uses it."""

    pagerduty: PagerDutyComments | None = None
    splunk: SplunkComments | None = None
    elastic: ElasticComments | None = None
    sentinel: SentinelComments | None = None
    wiz: WizComments | None = None
    scc: SccComments | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=15)] = 10.0
    """For one comment, with the token that it may need."""

    def chosen(self) -> tuple[str, ...]:
        """The sources whose alerts are commented."""
        sections = (self.pagerduty, self.splunk, self.elastic, self.sentinel, self.wiz, self.scc)
        return tuple(source for each in sections if each is not None for source in each.sources)

    @model_validator(mode="after")
    def _one_place_each(self) -> CommentSettings:
        if len(set(self.chosen())) < len(self.chosen()):
            raise ValueError("a source is named twice")
        return self


class WorkerSettings(_Section):
    """Capacity of one worker process."""

    threads: Annotated[int, Field(ge=1, le=1000)] = 48
    """Blocking SDK calls at one time."""
    activities: Annotated[int, Field(ge=1, le=10_000)] = 400
    """Activities in progress at one time; most of them wait between two observations."""
    metrics_address: str = ""
    """``HOST:PORT`` for Prometheus metrics; empty for none."""


class Settings(BaseSettings):
    """Everything that can be configured, with production defaults."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, frozen=True, extra="ignore"
    )

    inventory: Path = Path("workloads.yaml")
    task_queue: str = "firebreak"
    """Queue of the workflows; activities of a cloud use ``<task_queue>-<cloud>``."""
    payload_keys: dict[str, SecretStr] = Field(default_factory=dict)
    """Key id to base64 AES-256 key; when set, Temporal payloads and failures are encrypted."""
    payload_key_id: str = ""
    """The key that encrypts; the others still decrypt."""
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    evidence: EvidenceSettings = EvidenceSettings()
    evidence_by_cloud: dict[Cloud, EvidenceSettings] = Field(default_factory=dict)
    """A cloud whose evidence goes elsewhere: ``FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__STORE``, ..."""
    proof: ProofSettings = ProofSettings()
    guard: GuardSettings = GuardSettings()
    console: ConsoleSettings = ConsoleSettings()
    notify: NotifySettings = NotifySettings()
    links: LinkSettings = LinkSettings()
    siem: SiemSettings = SiemSettings()
    comments: CommentSettings = CommentSettings()
    worker: WorkerSettings = WorkerSettings()
    web: WebSettings = WebSettings()

    def evidence_of(self, cloud: Cloud) -> EvidenceSettings:
        """Where evidence about that cloud's workloads is kept and who signs it."""
        own = self.evidence_by_cloud.get(cloud)
        if own is None:
            return self.evidence
        shared = {name: getattr(self.evidence, name) for name in SHARED if name not in own.model_fields_set}
        return own.model_copy(update=shared)


def load_settings() -> Settings:
    """Read the environment once; raises SettingsError naming each variable that is wrong."""
    if wrong := problems(Settings, os.environ):
        raise _invalid(wrong)
    try:
        return Settings()
    except ValidationError as error:
        raise _invalid(
            f"{PREFIX}{DELIMITER.join(str(part) for part in each['loc']).upper()}: {each['msg']}"
            for each in error.errors()
        ) from error


def _invalid(wrong: Iterable[str]) -> SettingsError:
    return SettingsError(f"invalid settings: {'; '.join(wrong)}", remedy="correct the environment variables")
