"""Try what the workload could do in AWS, as the workload; an error code decides what an answer means.

firebreak/probing.py judges the answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from firebreak.errors import PermanentCloudError
from firebreak.evidence.vault import Vault
from firebreak.measure import now
from firebreak.model import Finding, Run, Target
from firebreak.probing import Answer, Control, Kind, control_of, judge, unproved
from providers.aws.answers import DEAD_CREDENTIAL_CODES, DENIED_CODES, error_code, status_of, translated
from providers.aws.resources import IamRole, IamUser, Probe, declared
from providers.aws.session import AwsAccess, borrowed

if TYPE_CHECKING:
    from types_boto3_sts import STSClient

# Role chaining allows at most one hour (IAM user guide, "Roles terms and concepts").
PROBE_SECONDS = 3600


def classify(call: str, error: ClientError | BotoCoreError) -> Answer:
    """Decide what a refusal means; throttling, 5xx, bad signatures and lost packets mean nothing."""
    if not isinstance(error, ClientError):
        return Answer(call, Kind.UNKNOWN, type(error).__name__, 0)
    code, request_id = error_code(error), error.response.get("ResponseMetadata", {}).get("RequestId", "")
    kind = (
        Kind.DENIED if code in DENIED_CODES else Kind.DEAD if code in DEAD_CREDENTIAL_CODES else Kind.UNKNOWN
    )
    return Answer(call, kind, code, status_of(error), request_id)


@dataclass(frozen=True)
class Credential:
    """A credential of the workload: a secret; it lives in memory and in the vault's sealed store only."""

    keys: dict[str, str]
    expires_at: datetime | None = None
    label: str = ""

    def try_out(self, probe: Probe, region: str) -> Answer:
        """Make one call with this credential."""
        try:
            with borrowed(self.keys, probe.service, region) as client:
                answer = getattr(client, xform_name(probe.operation))(**probe.parameters)
        except (ClientError, BotoCoreError) as error:
            return classify(probe.title, error)
        except AttributeError as error:
            raise PermanentCloudError(
                f"{probe.service} has no operation {probe.operation}",
                remedy="correct the probe in the inventory",
            ) from error
        metadata = answer.get("ResponseMetadata", {})
        return Answer(
            probe.title, Kind.ALLOWED, "", metadata.get("HTTPStatusCode", 0), metadata.get("RequestId", "")
        )

    @property
    def expired(self) -> bool:
        """True once its own time is over, which would look like a revocation."""
        return self.expires_at is not None and self.expires_at <= now()


def try_all(credential: Credential, probes: Sequence[Probe], region: str) -> list[Answer]:
    """Make every probe once."""
    return [credential.try_out(probe, region) for probe in probes]


def session_name(run: Run, role: IamRole | None) -> str:
    """Name the probe's session: for a shared role, as one of this workload's own sessions."""
    if role is not None and role.session_names:
        return role.session_names[0].replace("*", "firebreak-probe").replace("?", "x")[:64]
    return f"firebreak-probe-{run.incident_id}"[:64]


def assume(access: AwsAccess, role_arn: str, name: str) -> Credential:
    """Assume the workload's role as the responder; raises the SDK's own error, to be classified."""
    sts: STSClient = access.client("sts")
    answer = sts.assume_role(RoleArn=role_arn, RoleSessionName=name, DurationSeconds=PROBE_SECONDS)
    issued = answer["Credentials"]
    keys = {
        "access_key_id": issued["AccessKeyId"],
        "secret_access_key": issued["SecretAccessKey"],
        "session_token": issued["SessionToken"],
    }
    return Credential(keys, issued["Expiration"], f"session {name}")


class ProbeSession:
    """A session of the workload's role, taken before the change and kept sealed until the end of the run."""

    def __init__(
        self,
        access: AwsAccess,
        vault: Vault,
        measure: str,
        target: Target,
        probes: tuple[Probe, ...] | None = None,
    ) -> None:
        """Use the role's declared probes, or the given ones."""
        self._access = access
        self._vault = vault
        self._target = target
        self._role = declared(access.run.workload, IamRole, target.ref)
        self._probes = probes
        place = sha256(f"{target.key} {target.parent}".encode()).hexdigest()[:16]
        self._key = f"sealed/{access.run.incident_id}/{measure}/{place}"

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The calls to try."""
        if self._probes is not None:
            return self._probes
        return self._role.probes if self._role else ()

    def take(self) -> Control:
        """Assume the role, try every probe, and keep the session; explains why where that fails."""
        if not self.probes:
            return Control((), "the inventory declares no probe for it")
        name = session_name(self._access.run, self._role)
        try:
            credential = assume(self._access, self._target.ref, name)
        except (ClientError, BotoCoreError) as error:
            return Control((), f"the responder could not assume it: {classify('sts:AssumeRole', error).text}")
        control = control_of(try_all(credential, self.probes, self._access.region))
        if control.works:
            self._keep(credential)
        return control

    def observe(self, control: Control, subject: str) -> Finding:
        """Try again what worked, with the session from before the change."""
        if not control.works:
            return unproved(subject, control.why_not)
        credential = self._kept()
        if credential is None:
            return unproved(subject, "the session taken before the change is gone")
        if credential.expired:
            return unproved(subject, "the session taken before the change ended by its own time")
        return judge(try_all(credential, self.probes, self._access.region), control, subject)

    def _keep(self, credential: Credential) -> None:
        expires = credential.expires_at.isoformat() if credential.expires_at else None
        secret = {"keys": credential.keys, "expires_at": expires, "label": credential.label}
        self._vault.hide(self._key, json.dumps(secret).encode())

    def _kept(self) -> Credential | None:
        secret = self._vault.reveal(self._key)
        if secret is None:
            return None
        kept: dict[str, Any] = json.loads(secret)
        expires = datetime.fromisoformat(kept["expires_at"]) if kept["expires_at"] else None
        return Credential(kept["keys"], expires, kept["label"])


class UserKey:
    """The user's own access key, read from Secrets Manager each time and kept nowhere."""

    def __init__(self, access: AwsAccess, target: Target) -> None:
        self._access = access
        self._user = declared(access.run.workload, IamUser, target.ref)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The declared probes."""
        return self._user.probes if self._user else ()

    def take(self) -> Control:
        """Try every probe before the change."""
        if self._user is None or not self._user.probe_secret:
            return Control((), "the inventory declares no probe_secret for it")
        if not self.probes:
            return Control((), "the inventory declares no probe for it")
        return control_of(try_all(self._credential(), self.probes, self._access.region))

    def observe(self, control: Control, subject: str, *, dead_only: bool = False) -> Finding:
        """Try again what worked."""
        if not control.works:
            return unproved(subject, control.why_not)
        answers = try_all(self._credential(), self.probes, self._access.region)
        return judge(answers, control, subject, dead_only=dead_only)

    def _credential(self) -> Credential:
        secret = self._user.probe_secret if self._user else ""
        with translated(secret):
            text = self._access.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
        try:
            kept = json.loads(text)
            keys = {name: str(kept[name]) for name in ("access_key_id", "secret_access_key")}
        except (ValueError, KeyError, TypeError) as error:
            raise PermanentCloudError(
                "the probe secret is not a JSON object with access_key_id and secret_access_key",
                resource=secret,
            ) from error
        return Credential(keys, label="access key")
