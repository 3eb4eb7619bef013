"""Phase 1 on AWS, trust: nobody obtains a fresh session of the workload's role."""

from __future__ import annotations

from typing import cast

from botocore.exceptions import BotoCoreError, ClientError

from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Answer, Control, Kind, judge, unproved
from firebreak.session import owner_mark
from providers.aws import principals
from providers.aws.answers import translated
from providers.aws.documents import carries, compact, document, with_deny, without_deny
from providers.aws.principals import FIND_USERS, PROBE_ROLE
from providers.aws.probes import assume, classify, session_name
from providers.aws.resources import IamRole, declared
from providers.aws.session import AwsMeasure

# IAM quotas, "Role trust policy length": 2,048 characters without an increase.
TRUST_LIMIT = 2048
ASSUME = "sts:AssumeRole"
SID = "FirebreakBlockAssumeRole"


class BlockAssumeRole(AwsMeasure, cloud=Cloud.AWS, phase=Phase.IDENTITY_REVOKE, name="block-assume-role"):
    """Deny everyone to assume the workload's role, by its trust policy; the original returns on release."""

    permissions = (
        *on_target("iam:GetRole", "iam:UpdateAssumeRolePolicy"),
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
        """Read the trust policy, and see whether the responder can assume the role now."""
        trust = principals.read(self.access, target)["AssumeRolePolicyDocument"]
        answer = self._attempt(target)
        works = answer.kind is Kind.ALLOWED
        control = (
            Control((ASSUME,)) if works else Control((), f"the responder could not assume it: {answer.text}")
        )
        return {"trust": trust, "control": control.json()}

    def apply(self, target: Target, state: State) -> Change:
        """Put the deny in front of the other statements."""
        current = self._trust(target)
        wanted = self._wanted(target, current)
        changed = current != wanted
        if changed:
            self._update(target, wanted)
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
        """Put the original trust policy back, field by field."""
        target, before, current = change.target, change.before["trust"], self._trust(change.target)
        wanted = without_deny(current, before, self._deny(target)) or before
        if current != wanted:
            self._update(target, wanted)
        actual = self._trust(target)
        same = actual == wanted
        text = (
            "restored" if actual == before else "has no deny left" if same else "differs from the pre-state"
        )
        return found(Method.EFFECTIVE_POLICY, f"trust policy {text}", holds=same, trust=actual)

    def _deny(self, target: Target) -> JsonObject:
        names, sid = principals.session_names(self.run.workload, target), f"{SID}{owner_mark(self.run)}"
        if names:
            return document("block-assume-role-sessions", sid=sid, session_names=list(names))
        return document("block-assume-role", sid=sid)

    def _wanted(self, target: Target, current: JsonObject) -> JsonObject:
        deny = self._deny(target)
        wanted = with_deny(current, deny)
        shared = principals.session_names(self.run.workload, target)
        # A deny alone cuts the same principals off; a shared role must keep its others.
        return deny if len(compact(wanted)) > TRUST_LIMIT and not shared else wanted

    def _trust(self, target: Target) -> JsonObject:
        return cast("JsonObject", principals.read(self.access, target)["AssumeRolePolicyDocument"])

    def _update(self, target: Target, trust: JsonObject) -> None:
        with translated(target.ref):
            self.access.client("iam").update_assume_role_policy(
                RoleName=principals.name_of(target), PolicyDocument=compact(trust)
            )

    def _attempt(self, target: Target) -> Answer:
        """Try to assume the role; the session that may come is dropped at once."""
        name = session_name(self.run, declared(self.run.workload, IamRole, target.ref))
        try:
            assume(self.access, target.ref, name)
        except (ClientError, BotoCoreError) as error:
            return classify(ASSUME, error)
        return Answer(ASSUME, Kind.ALLOWED, "", 200)
