"""What the freezes share: deny statements in resource policies, and probes that must be refused.

An explicit Deny to everyone also binds the responder, so its own refused attempts are the proof. Only what
lifts the freeze again is left to it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from botocore.exceptions import BotoCoreError, ClientError

from firebreak.measure import found
from firebreak.model import Finding, JsonObject, Method, Run
from firebreak.session import owner_mark
from providers.aws.answers import DENIED_CODES, error_code, status_of

SID = "FirebreakFreeze"
_LOCKS = tuple(threading.Lock() for _ in range(64))


@contextmanager
def exclusive(ref: str) -> Iterator[None]:
    """Let one thread at a time read and rewrite a resource's policy.

    Several workloads may share a bucket or repository, and neither service offers a conditional write.
    Another process can still come between; then the proof fails, and applying again repairs it.
    """
    with _LOCKS[crc32(ref.encode()) % len(_LOCKS)]:
        yield


def sid_of(run: Run) -> str:
    """Name a workload's statements: its next incident finds them, another workload adds its own."""
    return f"{SID}{owner_mark(run)}"


def frozen_by_another(policy: str | None, sid: str, ending: str = "") -> bool:
    """Tell whether another workload's freeze, which made its own control, already binds the resource."""
    others = [name for name in _names(policy) if name.startswith(SID) and not name.startswith(sid)]
    return any(name.endswith(ending) for name in others)


def has_any_statement(policy: str | None, sid: str) -> bool:
    """Tell whether a freeze of that name was begun."""
    return any(name.startswith(sid) for name in _names(policy))


def deny(
    sid: str, actions: Sequence[str], resources: Sequence[str] = (), *, except_for: Sequence[str] = ()
) -> JsonObject:
    """Build a statement that denies the actions to everyone but the given principals."""
    statement: JsonObject = {"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": list(actions)}
    if resources:  # an ECR repository policy has none: it can only mean its repository
        statement["Resource"] = list(resources)
    if except_for:
        statement["Condition"] = {"ArnNotLike": {"aws:PrincipalArn": list(except_for)}}
    return statement


def with_statements(policy: str | None, statements: Iterable[JsonObject]) -> str:
    """Add statements to a policy, in the place of their namesakes."""
    document: JsonObject = json.loads(policy) if policy else {"Version": "2012-10-17", "Statement": []}
    new = list(statements)
    names = {each["Sid"] for each in new}
    kept = [each for each in _statements(document) if each.get("Sid") not in names]
    return json.dumps({**document, "Statement": kept + new})


def without_statements(policy: str | None, sid: str) -> str | None:
    """Remove one workload's statements; None when nothing is left."""
    if not policy:
        return None
    document = json.loads(policy)
    kept = [each for each in _statements(document) if not str(each.get("Sid", "")).startswith(sid)]
    return json.dumps({**document, "Statement": kept}) if kept else None


def has_statements(policy: str | None, statements: Iterable[JsonObject]) -> bool:
    """Tell whether a policy carries every one of the statements, unchanged in meaning."""
    if not policy:
        return False
    present = [_normal(each) for each in _statements(json.loads(policy))]
    return all(_normal(each) in present for each in statements)


def same_policy(one: str | None, other: str | None) -> bool:
    """Tell whether two policies say the same, whatever their spelling."""
    if not one or not other:
        return not one and not other
    first, second = json.loads(one), json.loads(other)
    alike = [_normal(each) for each in _statements(first)] == [_normal(each) for each in _statements(second)]
    return alike and first.get("Version") == second.get("Version")


def restored_policy(current: str | None, before: str | None, sid: str) -> str | None:
    """Say what the policy has to be after release: as before, and otherwise as others made it meanwhile."""
    rest = without_statements(current, sid)
    return before if same_policy(rest, before) else rest


def restore_policy(
    read: Callable[[], str | None],
    put: Callable[[str], object],
    delete: Callable[[], object],
    *,
    before: str | None,
    sid: str,
) -> bool:
    """Lift the freeze from a policy; tells whether it then reads as it has to. Call it in ``exclusive``."""
    policy = read()
    wanted = restored_policy(policy, before, sid)
    if wanted and not same_policy(policy, wanted):
        put(wanted)
    if policy and not wanted:
        delete()
    return same_policy(read(), wanted)


def restored(after: JsonObject, before: JsonObject, *, policy_restored: bool) -> Finding:
    """Compare what is there after release with what was there before."""
    wrong = [name for name in before if name not in {"policy", "control"} and after[name] != before[name]]
    wrong += [] if policy_restored else ["policy"]
    observed = f"differs from before: {', '.join(wrong)}" if wrong else "as before"
    return found(Method.CONFIGURATION, observed, holds=not wrong, differs=wrong)


def _names(policy: str | None) -> list[str]:
    return [str(each.get("Sid", "")) for each in _statements(json.loads(policy))] if policy else []


def _statements(document: JsonObject) -> list[JsonObject]:
    statements = document.get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


def _normal(statement: JsonObject) -> JsonObject:
    """Services may return lists of one as text, lists in another order, and "*" as {"AWS": "*"}."""
    return {key: _sorted(value) for key, value in statement.items()}


def _sorted(value: Any) -> Any:
    if value == {"AWS": "*"}:
        return ["*"]
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in value.items()}
    return sorted(value, key=str) if isinstance(value, list) else [value]


def refused(
    title: str,
    attempt: Callable[[], object],
    *,
    controlled: bool,
    also: frozenset[str] = frozenset(),
    allowed: frozenset[str] = frozenset(),
) -> Finding:
    """Try what must be refused, once; only a refusal holds, and only with its positive control.

    ``also`` names further codes that mean the freeze refused, ``allowed`` those that mean it did not.
    """
    try:
        attempt()
    except ClientError as error:
        return _refusal(title, error, controlled=controlled, also=also, allowed=allowed)
    except BotoCoreError as error:
        return found(Method.LIVE_PROBE, f"{title}: {type(error).__name__}", holds=False, inconclusive=True)
    return found(Method.LIVE_PROBE, f"{title}: not refused", holds=False)


def _refusal(
    title: str, error: ClientError, *, controlled: bool, also: frozenset[str], allowed: frozenset[str]
) -> Finding:
    code = error_code(error)
    seen = f"{title}: {code} ({status_of(error)})"
    request_id = str(error.response.get("ResponseMetadata", {}).get("RequestId", ""))
    if code in allowed:
        return found(Method.LIVE_PROBE, f"{seen}, so not refused", holds=False, request_id=request_id)
    if code not in DENIED_CODES | also:
        return found(Method.LIVE_PROBE, seen, holds=False, inconclusive=True, request_id=request_id)
    if not controlled:
        seen += ", but it never worked before: no positive control"
    return found(
        Method.LIVE_PROBE,
        f"denied: {seen}",
        holds=controlled,
        inconclusive=not controlled,
        request_id=request_id,
    )
