"""Phase 1 on AWS, trust: nobody obtains a fresh session of the workload's role."""

from __future__ import annotations

from typing import Final, cast

from botocore.exceptions import BotoCoreError, ClientError

from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Answer, Control, Kind, judge, unproved
from firebreak.session import owner_mark
from providers.aws import principals
from providers.aws.answers import error_code, translate, translated
from providers.aws.documents import carries, compact, document, statements, with_deny, without_deny
from providers.aws.principals import FIND_USERS, PROBE_ROLE, UNIQUE_ID
from providers.aws.probes import assume, classify, session_name
from providers.aws.resources import IamRole, declared
from providers.aws.session import AwsMeasure

TRUST_QUOTA: Final = "AssumeRolePolicySizeQuota"
"""The account's limit for the length of a trust policy (IAM API reference, GetAccountSummary)."""
UNWRITABLE = frozenset({"LimitExceeded", "MalformedPolicyDocument"})
"""What IAM answers to a trust policy that is too long, or names a principal that exists no longer."""
ASSUME = "sts:AssumeRole"
SID = "FirebreakBlockAssumeRole"


class BlockAssumeRole(AwsMeasure, cloud=Cloud.AWS, phase=Phase.IDENTITY_REVOKE, name="block-assume-role"):
    """Deny everyone to assume the workload's role, by its trust policy; the original returns on release."""

    permissions = (
        *on_target("iam:GetRole", "iam:UpdateAssumeRolePolicy"),
        *on_any("iam:GetAccountSummary"),
        *PROBE_ROLE,
        *FIND_USERS,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared roles."""
        return principals.targets(workload, IamRole)

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Everyone else who assumes the role, unless the deny is scoped to the workload's sessions."""
        return principals.other_users(self.access, target)

    def snapshot(self, target: Target) -> JsonObject:
        """Read the trust policy, and see whether the responder can assume the role now.

        Raises PermanentCloudError where a shared role has no room for the deny.
        """
        trust = principals.read(self.access, target)["AssumeRolePolicyDocument"]
        self._require_room(target, trust)
        answer = self._attempt(target)
        works = answer.kind is Kind.ALLOWED
        control = (
            Control((ASSUME,)) if works else Control((), f"the responder could not assume it: {answer.text}")
        )
        notes = [] if self._sessions(target) else [self._note(target, trust)]
        return {"trust": trust, "control": control.json(), "notes": notes}

    def apply(self, target: Target, state: State) -> Change:
        """Put the deny in front of the other statements.

        What IAM does not take back goes without the deleted principals that it names; or else the deny
        stands alone where that cuts the same principals off. What stood there is in the pre-state.
        """
        current, deny = self._trust(target), self._deny(target)
        wanted = with_deny(current, deny)
        changed = current != wanted
        if changed:
            alone = () if self._sessions(target) else (deny,)  # a shared role must keep its others
            wanted = self._put(target, wanted, _living(wanted), *alone)
        return self.done(target, state, changed=changed, trust=wanted)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """A fresh attempt to assume the role is refused, and the deny stands in the trust policy."""
        control, subject = Control.of(change.before), "fresh session"
        probe = (
            judge([self._attempt(target)], control, subject)
            if control.works
            else unproved(subject, control.why_not)
        )
        trust = self._trust(target)
        denies = carries(trust, self._deny(target))
        text = "denies every principal" if denies else "does not carry the deny"
        policy = found(Method.EFFECTIVE_POLICY, f"the trust policy {text}", holds=denies, trust=trust)
        return probe, policy

    def revert(self, change: Change) -> Finding:
        """Put the original trust policy back, field by field; a deleted principal cannot be named again."""
        target, before, current = change.target, change.before["trust"], self._trust(change.target)
        wanted = without_deny(current, before, self._deny(target)) or before
        if current not in (wanted, _living(wanted)):
            wanted = self._put(target, wanted, _living(wanted))
        actual = self._trust(target)
        same = actual in (wanted, _living(wanted))
        text = _compared(actual, before) or ("has no deny left" if same else "differs from the pre-state")
        return found(Method.EFFECTIVE_POLICY, f"trust policy {text}", holds=same, trust=actual)

    def _deny(self, target: Target) -> JsonObject:
        names, sid = self._sessions(target), f"{SID}{owner_mark(self.run)}"
        if names:
            return document("block-assume-role-sessions", sid=sid, session_names=list(names))
        return document("block-assume-role", sid=sid)

    def _sessions(self, target: Target) -> tuple[str, ...]:
        return principals.session_names(self.run.workload, target)

    def _note(self, target: Target, trust: JsonObject) -> str:
        return f"{self.name} on {target.ref}: {principals.search_limits(self.access, trust)}"

    def _require_room(self, target: Target, trust: JsonObject) -> None:
        if not self._sessions(target):
            return  # the deny alone always has room
        with translated(target.ref):
            summary = self.access.client("iam").get_account_summary()["SummaryMap"]
        needed = len(compact(_living(with_deny(trust, self._deny(target)))))
        if needed > summary[TRUST_QUOTA]:
            raise PermanentCloudError(
                f"the trust policy would have {needed} characters; IAM takes {summary[TRUST_QUOTA]}",
                resource=target.ref,
                remedy="shorten session_names by patterns, or have the quota for trust policies raised",
            )

    def _trust(self, target: Target) -> JsonObject:
        return cast("JsonObject", principals.read(self.access, target)["AssumeRolePolicyDocument"])

    def _put(self, target: Target, first: JsonObject, *others: JsonObject) -> JsonObject:
        """Write the first of these trust policies that IAM takes."""
        iam, role = self.access.client("iam"), principals.name_of(target)
        try:
            iam.update_assume_role_policy(RoleName=role, PolicyDocument=compact(first))
        except (ClientError, BotoCoreError) as error:
            if not (others and isinstance(error, ClientError) and error_code(error) in UNWRITABLE):
                raise translate(error, target.ref) from error
            return self._put(target, *others)
        return first

    def _attempt(self, target: Target) -> Answer:
        """Try to assume the role; the session that may come is dropped at once."""
        name = session_name(self.run, declared(self.run.workload, IamRole, target.ref))
        try:
            assume(self.access, target.ref, name)
        except (ClientError, BotoCoreError) as error:
            return classify(ASSUME, error)
        return Answer(ASSUME, Kind.ALLOWED, "", 200)


def _compared(actual: JsonObject, before: JsonObject) -> str:
    """How far a trust policy is back, empty where it says something else."""
    if actual == before:
        return "restored"
    return "restored without the principals that exist no longer" if actual == _living(before) else ""


def _living(trust: JsonObject) -> JsonObject:
    """The trust policy without the principals that were deleted, and without a statement of such alone."""
    kept = (_with_living_principals(each) for each in statements(trust))
    return {**trust, "Statement": [each for each in kept if each is not None]}


def _with_living_principals(statement: JsonObject) -> JsonObject | None:
    principal = statement.get("Principal")
    if not isinstance(principal, dict) or "AWS" not in principal:
        return statement
    named = [principal["AWS"]] if isinstance(principal["AWS"], str) else principal["AWS"]
    living = [each for each in named if not UNIQUE_ID.match(each)]
    if len(living) == len(named):
        return statement
    others = {kind: each for kind, each in principal.items() if kind != "AWS"}
    left = {**others, "AWS": living} if living else others
    return {**statement, "Principal": left} if left else None
