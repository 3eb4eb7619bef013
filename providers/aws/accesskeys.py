"""Phase 1 on AWS, long-lived credentials: no key of the workload's user authenticates any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Control
from providers.aws import principals
from providers.aws.answers import error_code, translated
from providers.aws.documents import document
from providers.aws.identity import DENY_ALL
from providers.aws.principals import PROBE_USER
from providers.aws.probes import UserKey
from providers.aws.resources import IamUser
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_iam.literals import StatusTypeType

ACTIVE: StatusTypeType = "Active"
INACTIVE: StatusTypeType = "Inactive"


class DisableAccessKeys(AwsMeasure, cloud=Cloud.AWS, phase=Phase.IDENTITY_REVOKE, name="disable-access-keys"):
    """Make every access key and service-specific credential of the workload's user inactive.

    A console password is left alone: IAM can only delete or replace it, and then nobody can give it back.
    ``aws.deny-all`` on the same user denies everything that a console session may do, so this measure
    proves that the deny stands whenever the user has a password.
    """

    permissions = (
        *on_target(
            "iam:GetUser",
            "iam:GetUserPolicy",
            "iam:GetLoginProfile",
            "iam:ListAccessKeys",
            "iam:UpdateAccessKey",
            "iam:ListServiceSpecificCredentials",
            "iam:UpdateServiceSpecificCredential",
        ),
        *PROBE_USER,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared users."""
        return principals.targets(workload, IamUser)

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:
        """The user's declared secret."""
        return principals.places(action, target, workload)

    @property
    def iam(self) -> IAMClient:
        """The responder's way to IAM."""
        return self.access.client("iam")

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """The others that the inventory says use the same user."""
        return next((each.shared_with for each in self.run.workload.identities if each.ref == target.ref), ())

    def snapshot(self, target: Target) -> JsonObject:
        """Read every credential's status, and try the declared key."""
        principals.read(self.access, target)
        return {
            "access_keys": self._keys(target),
            "service_credentials": self._service_credentials(target),
            "console_password": self._has_password(target),
            "control": UserKey(self.access, target).take().json(),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Switch off whatever is active now, including keys made since the snapshot."""
        keys = self._switch_keys(target, dict.fromkeys(self._keys(target), INACTIVE))
        services = self._switch_services(target, dict.fromkeys(self._service_credentials(target), INACTIVE))
        return self.done(target, state, changed=bool(keys or services), switched_off=[*keys, *services])

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The declared key is dead, every credential reads inactive, and a password is of no use."""
        subject = "the user's access key"
        probe = UserKey(self.access, target).observe(Control.of(change.before), subject, dead_only=True)
        statuses = {**self._keys(target), **self._service_credentials(target)}
        active = sorted(each for each, status in statuses.items() if status == ACTIVE)
        text = f"still active: {', '.join(active)}" if active else f"{len(statuses)} credentials, none active"
        listed = found(Method.CONFIGURATION, text, holds=not active, statuses=statuses)
        return (probe, listed, *self._password_contained(target))

    def revert(self, change: Change) -> Finding:
        """Restore each recorded status; a key made since then stays inactive."""
        target, before = change.target, change.before
        self._switch_keys(target, before["access_keys"])
        self._switch_services(target, before["service_credentials"])
        wanted = {**before["access_keys"], **before["service_credentials"]}
        actual = {**self._keys(target), **self._service_credentials(target)}
        wrong = sorted(each for each, status in wanted.items() if actual.get(each) != status)
        text = f"not as before: {', '.join(wrong)}" if wrong else f"{len(wanted)} credentials as before"
        new = sorted(set(actual) - set(wanted))
        return found(Method.CONFIGURATION, text, holds=not wrong, made_meanwhile_and_left_inactive=new)

    def _keys(self, target: Target) -> dict[str, StatusTypeType]:
        with translated(target.ref):
            pages = self.iam.get_paginator("list_access_keys").paginate(UserName=principals.name_of(target))
            return {key["AccessKeyId"]: key["Status"] for page in pages for key in page["AccessKeyMetadata"]}

    def _service_credentials(self, target: Target) -> dict[str, StatusTypeType]:
        with translated(target.ref):
            answer = self.iam.list_service_specific_credentials(UserName=principals.name_of(target))
        return {
            each["ServiceSpecificCredentialId"]: each["Status"]
            for each in answer["ServiceSpecificCredentials"]
        }

    def _has_password(self, target: Target) -> bool:
        with translated(target.ref):
            try:
                self.iam.get_login_profile(UserName=principals.name_of(target))
            except ClientError as error:
                if error_code(error) != "NoSuchEntity":
                    raise
                return False
        return True

    def _switch_keys(self, target: Target, wanted: dict[str, StatusTypeType]) -> list[str]:
        switched = _different(self._keys(target), wanted)
        for key in switched:
            with translated(target.ref):
                self.iam.update_access_key(
                    UserName=principals.name_of(target), AccessKeyId=key, Status=wanted[key]
                )
        return switched

    def _switch_services(self, target: Target, wanted: dict[str, StatusTypeType]) -> list[str]:
        switched = _different(self._service_credentials(target), wanted)
        for credential in switched:
            with translated(target.ref):
                self.iam.update_service_specific_credential(
                    UserName=principals.name_of(target),
                    ServiceSpecificCredentialId=credential,
                    Status=wanted[credential],
                )
        return switched

    def _password_contained(self, target: Target) -> tuple[Finding, ...]:
        if not self._has_password(target):
            return ()
        policy = f"{DENY_ALL}-{self.run.workload.id}"
        denied = principals.inline_policy(self.access, target, policy) == document("deny-all")
        verb = "denies" if denied else "does not deny"
        text = f"a console password exists; {DENY_ALL} {verb} what it could do"
        return (found(Method.EFFECTIVE_POLICY, text, holds=denied),)


def _different(actual: dict[str, StatusTypeType], wanted: dict[str, StatusTypeType]) -> list[str]:
    """Name what exists and is not as wanted."""
    return [each for each, status in actual.items() if each in wanted and wanted[each] != status]
