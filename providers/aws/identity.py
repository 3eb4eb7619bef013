"""Phase 1 on AWS, policies: deny everything to the workload's roles and users, and revoke issued sessions.

Both are explicit denies, which win over every allow, whatever its source, and over a permissions boundary
(IAM user guide, "Policy evaluation logic").
"""

from __future__ import annotations

from datetime import datetime, timedelta

from firebreak.measure import Permission, found, now
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Control
from providers.aws import principals
from providers.aws.documents import document, statements
from providers.aws.principals import (
    FIND_USERS,
    PROBE_ROLE,
    PROBE_USER,
    READ_ROLE,
    READ_USER,
    WRITE_ROLE,
    WRITE_USER,
)
from providers.aws.probes import ProbeSession, UserKey
from providers.aws.resources import IamRole, IamUser
from providers.aws.session import AwsMeasure

DENY_ALL = "FirebreakDenyAll"
REVOKE = "FirebreakRevokeOlderSessions"


def user_ids(names: tuple[str, ...]) -> list[str]:
    """Patterns of ``aws:userid`` for session names: the role's id, a colon, the session's name."""
    return [f"*:{name}" for name in names]


class _PrincipalPolicy(AwsMeasure):
    """An inline policy on a role or user, proved by the workload's own credential and by reading it back."""

    policy_prefix = ""

    @property
    def policy_name(self) -> str:
        """One policy for each workload: two that share a role are contained and released on their own."""
        return _policy_name(self.policy_prefix, self.run.workload)

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared roles and users."""
        return principals.targets(workload, IamRole, IamUser)

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """The permissions for a role, or for a user."""
        return principals.for_kind(target, cls.permissions)

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:
        """The user's declared secret."""
        return principals.places(action, target, workload)

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Everyone else who runs as the role, unless the deny is scoped to the workload's sessions."""
        return principals.other_users(self.access, target)

    def snapshot(self, target: Target) -> JsonObject:
        """Read the policy that may have that name, and take the positive control.

        Raises PermanentCloudError where IAM has no room for the denies of this phase.
        """
        principal = principals.read(self.access, target)
        principals.require_room(self.access, target, _both(self.run.workload, target))
        return {
            "policy": principals.inline_policy(self.access, target, self.policy_name),
            "boundary": principals.boundary(principal),
            "session_names": list(principals.session_names(self.run.workload, target)),
            "control": self._control(target).json(),
        }

    def _control(self, target: Target) -> Control:
        if principals.is_role(target):
            return ProbeSession(self.access, self.context.vault, self.name, target).take()
        return UserKey(self.access, target).take()

    def _probe(self, target: Target, change: Change) -> Finding:
        control = Control.of(change.before)
        if principals.is_role(target):
            session = ProbeSession(self.access, self.context.vault, self.name, target)
            return session.observe(control, "session issued before the change")
        return UserKey(self.access, target).observe(control, "the user's access key")

    def _in_force(self, target: Target, wanted: JsonObject) -> Finding:
        actual = principals.inline_policy(self.access, target, self.policy_name)
        text = (
            "is in force as written" if actual == wanted else "is absent" if actual is None else "was altered"
        )
        return found(
            Method.EFFECTIVE_POLICY,
            f"{self.policy_name} {text} on {principals.name_of(target)}",
            holds=actual == wanted,
            policy=actual,
        )

    def _write(self, target: Target, wanted: JsonObject) -> bool:
        if principals.inline_policy(self.access, target, self.policy_name) == wanted:
            return False
        principals.put_inline_policy(self.access, target, self.policy_name, wanted)
        return True


class DenyAll(_PrincipalPolicy, cloud=Cloud.AWS, phase=Phase.IDENTITY_REVOKE, name="deny-all"):
    """Attach an inline deny-all policy to the workload's role or user; scoped to its sessions if shared."""

    policy_prefix = DENY_ALL
    permissions = (*READ_ROLE, *WRITE_ROLE, *PROBE_ROLE, *FIND_USERS, *READ_USER, *WRITE_USER, *PROBE_USER)

    def apply(self, target: Target, state: State) -> Change:
        """Put the deny where it is not yet, comparing contents and not names."""
        wanted = self._wanted(target)
        changed = self._write(target, wanted)
        return self.done(target, state, changed=changed, policy=wanted, boundary=state.values["boundary"])

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The credential from before the change is refused, and the policy stands as written."""
        return self._probe(target, change), self._in_force(target, self._wanted(target))

    def revert(self, change: Change) -> Finding:
        """Put back the policy that had the name before, or none."""
        target, before = change.target, change.before["policy"]
        if before is None:
            principals.delete_inline_policy(self.access, target, self.policy_name)
        else:
            self._write(target, before)
        actual = principals.inline_policy(self.access, target, self.policy_name)
        text = "restored" if actual == before else "differs from the pre-state"
        return found(
            Method.EFFECTIVE_POLICY, f"{self.policy_name} {text}", holds=actual == before, policy=actual
        )

    def _wanted(self, target: Target) -> JsonObject:
        return _deny_all(principals.session_names(self.run.workload, target))


class RevokeSessions(_PrincipalPolicy, cloud=Cloud.AWS, phase=Phase.IDENTITY_REVOKE, name="revoke-sessions"):
    """Deny every session issued before now, by token issue time; it stays after release.

    It alone does not touch sessions issued later (IAM user guide, "Revoking IAM role temporary security
    credentials"), which is what ``aws.deny-all`` and ``aws.block-assume-role`` are for.
    """

    policy_prefix = REVOKE
    permissions = (*READ_ROLE, *WRITE_ROLE, *PROBE_ROLE, *FIND_USERS, *READ_USER, *WRITE_USER, *PROBE_USER)
    irreversible = (
        "sessions issued before containment may be in an attacker's hands and must never work again"
    )

    def apply(self, target: Target, state: State) -> Change:
        """Set the cut-off to now, unless this run has set it already; it never moves backwards."""
        existing = self._cut_off(target)
        if existing is not None and existing >= self.run.triggered_at:
            return self.done(target, state, changed=False, cut_off=_stamp(existing))
        wanted = _next_second()
        self._write(target, self._wanted(target, wanted))
        return self.done(target, state, changed=True, cut_off=wanted)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The old session is refused, and the cut-off stands at the recorded time or later."""
        standing = self._cut_off(target)
        wanted = datetime.fromisoformat(change.after["cut_off"])
        kept = standing if standing is not None and standing > wanted else wanted
        return self._probe(target, change), self._in_force(target, self._wanted(target, _stamp(kept)))

    def revert(self, change: Change) -> Finding:
        """Keep it, moved to now: a session issued while trust was being blocked must not outlive it."""
        self._write(change.target, self._wanted(change.target, _next_second()))
        raise self.cannot_revert(change)

    def _probe(self, target: Target, change: Change) -> Finding:
        if principals.is_role(target):
            return super()._probe(target, change)
        return found(
            Method.CONFIGURATION,
            "long-lived keys carry no issue time; aws.deny-all and aws.disable-access-keys contain them",
            holds=True,
        )

    def _control(self, target: Target) -> Control:
        if principals.is_role(target):
            return super()._control(target)
        return Control((), "long-lived keys carry no issue time")

    def _cut_off(self, target: Target) -> datetime | None:
        """The time in force, where the whole policy is ours."""
        actual = principals.inline_policy(self.access, target, self.policy_name)
        if actual is None:
            return None
        times = [
            each.get("Condition", {}).get("DateLessThan", {}).get("aws:TokenIssueTime")
            for each in statements(actual)
        ]
        stamp = times[0] if len(times) == 1 and isinstance(times[0], str) else ""
        return datetime.fromisoformat(stamp) if stamp and actual == self._wanted(target, stamp) else None

    def _wanted(self, target: Target, cut_off: str) -> JsonObject:
        return _revoked(principals.session_names(self.run.workload, target), cut_off)


def _both(workload: Workload, target: Target) -> dict[str, JsonObject]:
    """The policies that the two measures put beside each other, by name."""
    names = principals.session_names(workload, target)
    return {
        _policy_name(DENY_ALL, workload): _deny_all(names),
        _policy_name(REVOKE, workload): _revoked(names, _next_second()),
    }


def _policy_name(prefix: str, workload: Workload) -> str:
    return f"{prefix}-{workload.id}"


def _deny_all(names: tuple[str, ...]) -> JsonObject:
    if names:
        return document("deny-all-sessions", session_patterns=user_ids(names))
    return document("deny-all")


def _revoked(names: tuple[str, ...], cut_off: str) -> JsonObject:
    if names:
        return document("revoke-older-sessions-scoped", cut_off=cut_off, session_patterns=user_ids(names))
    return document("revoke-older-sessions", cut_off=cut_off)


def _stamp(moment: datetime) -> str:
    """A time as IAM conditions read it (ISO 8601, UTC)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_second() -> str:
    """The first whole second to come: a session issued within the present one is older than that."""
    return _stamp(now() + timedelta(seconds=1))
