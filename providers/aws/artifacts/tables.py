"""Freeze agent memory in DynamoDB: no write, no deletion, every earlier second restorable.

DynamoDB's own deletions, by time to live, are no API calls: a resource policy does not bind them, so that is
switched off. It can be changed about once an hour (DynamoDB API reference, UpdateTimeToLive).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import TransientCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import DENIED_CODES, error_code, translated
from providers.aws.artifacts.freeze import (
    deny,
    exclusive,
    frozen_by_another,
    has_statements,
    refused,
    restore_policy,
    restored,
    sid_of,
    with_statements,
)
from providers.aws.keys import READ_KEYS
from providers.aws.permissions import responder_arns
from providers.aws.resources import DynamoDbTable
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# DynamoDB developer guide, "Supported APIs for resource-based policies".
_WRITES = (
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:DeleteTable",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
)
_SETTINGS = (
    "dynamodb:DeleteResourcePolicy",
    "dynamodb:PutResourcePolicy",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
)
# Conditions that contradict each other: where a write is allowed it fails, and changes nothing.
_NEVER = "attribute_exists(#k) AND attribute_not_exists(#k)"
_ALLOWED = frozenset({"ConditionalCheckFailedException"})
_ABSENT = "PolicyNotFoundException"
_TTL_ON = frozenset({"ENABLED", "ENABLING"})
_REFUSED_CHANGE = "ValidationException"  # a change of TTL while an earlier one is processed


class FreezeMemoryTable(AwsMeasure, cloud=Cloud.AWS, phase=Phase.ARTIFACT_FREEZE, name="freeze-memory-table"):
    """Deny every write to the table, protect it from deletion, keep every second, and stop its time to live.

    DynamoDB takes one change of time to live an hour: a release within the hour restores it when it is asked
    for again. Replicas in other regions are not frozen: the step says so, and does not hold.
    """

    permissions = (
        *on_target(
            "dynamodb:DescribeTable",
            "dynamodb:DescribeContinuousBackups",
            "dynamodb:DescribeTimeToLive",
            "dynamodb:GetResourcePolicy",
            "dynamodb:UpdateTable",
            "dynamodb:UpdateContinuousBackups",
            "dynamodb:UpdateTimeToLive",
            "dynamodb:PutResourcePolicy",
            "dynamodb:DeleteResourcePolicy",
            "dynamodb:PutItem",
            "dynamodb:DeleteItem",
        ),
        *READ_KEYS,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared table."""
        return targets_of(workload, of_kind(workload.stores, DynamoDbTable))

    def snapshot(self, target: Target) -> JsonObject:
        """Read protection, recovery, time to live, replicas and policy."""
        with translated(target.ref):
            table = self._client().describe_table(TableName=_name(target))["Table"]
            recovery, ttl = self._recovery(target), self._ttl(target)
        return {
            "deletion_protection": bool(table.get("DeletionProtectionEnabled", False)),
            "recovery": recovery.get("PointInTimeRecoveryStatus") == "ENABLED",
            "recovery_days": recovery.get("RecoveryPeriodInDays"),
            "ttl": ttl,
            "policy": self._policy(target)[0],
            "key": _key_of(table),
            "control": {"listed_only": _unfrozen(table, target)},
        }

    def apply(self, target: Target, state: State) -> Change:
        """Try the canary writes while they still work, then freeze."""
        policy, _ = self._policy(target)
        frozen = any(has_statements(policy, self._statements(target, proved=each)) for each in (True, False))
        with translated(target.ref):
            if not frozen:
                works = self._writes_work(target, state.values["key"])
                self._deny_writes(target, proved=works or frozen_by_another(policy, sid_of(self.run)))
            now = self.snapshot(target)
            if not now["recovery"]:
                self._set_recovery(target, enabled=True, days=None)
            if not now["deletion_protection"]:
                self._protect(target, enabled=True)
            stopped = bool(now["ttl"]) and self._set_ttl(target, now["ttl"], enabled=False)
        changed = stopped or not (frozen and now["recovery"] and now["deletion_protection"])
        return self.done(target, state, changed=changed, sid=sid_of(self.run))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try to write and to delete in a way that could never succeed, and read the settings back."""
        now, key = self.snapshot(target), change.before["key"]
        proved = has_statements(now["policy"], self._statements(target, proved=True))
        denied = proved or has_statements(now["policy"], self._statements(target, proved=False))
        settings = f"deletion protection {_on(now['deletion_protection'])}, recovery {_on(now['recovery'])}"
        return (
            refused("PutItem", lambda: self._put(target, key), controlled=proved, allowed=_ALLOWED),
            refused("DeleteItem", lambda: self._delete(target, key), controlled=proved, allowed=_ALLOWED),
            found(
                Method.CONFIGURATION,
                f"{settings}, writes {'' if denied else 'NOT '}denied by the resource policy",
                holds=denied and now["deletion_protection"] and now["recovery"],
            ),
            found(
                Method.CONFIGURATION,
                f"time to live still deletes, by {now['ttl']}"
                if now["ttl"]
                else "time to live deletes nothing",
                holds=not now["ttl"],
            ),
            *(found(Method.CONFIGURATION, gap, holds=False) for gap in now["control"]["listed_only"]),
        )

    def revert(self, change: Change) -> Finding:
        """Restore policy, protection, recovery and time to live as they were."""
        target, before = change.target, change.before
        with translated(target.ref):
            lifted = self._restore_policy(target, before["policy"])
            now = self.snapshot(target)
            if now["deletion_protection"] != before["deletion_protection"]:
                self._protect(target, enabled=before["deletion_protection"])
            if now["recovery"] != before["recovery"]:
                self._set_recovery(target, enabled=before["recovery"], days=before["recovery_days"])
            resume = bool(before.get("ttl")) and not now["ttl"]
            early = resume and not self._set_ttl(target, before["ttl"], enabled=True)
        finding = restored(self.snapshot(target), before, policy_restored=lifted)
        if not early:
            return finding
        told = f"{finding.observed}: DynamoDB takes one change an hour, release again after it"
        return finding.model_copy(update={"observed": told})

    def _deny_writes(self, target: Target, *, proved: bool) -> None:
        with exclusive(target.ref):
            policy, revision = self._policy(target)
            text = with_statements(policy, self._statements(target, proved=proved))
            self._put_policy(target, text, revision)

    def _restore_policy(self, target: Target, before: str | None) -> bool:
        with exclusive(target.ref):
            revision = self._policy(target)[1]
            return restore_policy(
                lambda: self._policy(target)[0],
                lambda text: self._put_policy(target, text, revision),
                lambda: self._client().delete_resource_policy(
                    ResourceArn=target.ref, ExpectedRevisionId=revision
                ),
                before=before,
                sid=sid_of(self.run),
            )

    def _put_policy(self, target: Target, text: str, revision: str) -> None:
        """Replace exactly the policy that was read (DynamoDB API reference, PutResourcePolicy)."""
        try:
            self._client().put_resource_policy(
                ResourceArn=target.ref, Policy=text, ExpectedRevisionId=revision or "NO_POLICY"
            )
        except ClientError as error:
            if error_code(error) != _ABSENT:
                raise
            raise TransientCloudError("the policy was changed meanwhile", resource=target.ref) from error

    def _client(self) -> DynamoDBClient:
        return self.access.client("dynamodb")

    def _statements(self, target: Target, *, proved: bool) -> list[JsonObject]:
        """The freeze; its name remembers, for a later process, whether the positive control succeeded."""
        sid = sid_of(self.run)
        return [
            deny(f"{sid}{'Writes' if proved else 'WritesUnproved'}", _WRITES, [target.ref]),
            deny(f"{sid}Settings", _SETTINGS, [target.ref], except_for=responder_arns(self.access)),
        ]

    def _policy(self, target: Target) -> tuple[str | None, str]:
        with translated(target.ref):
            try:
                answer = self._client().get_resource_policy(ResourceArn=target.ref)
            except ClientError as error:
                if error_code(error) != _ABSENT:
                    raise
                return None, ""  # a table without a policy is the usual case
        return answer["Policy"], answer["RevisionId"]

    def _recovery(self, target: Target) -> dict[str, Any]:
        answer = self._client().describe_continuous_backups(TableName=_name(target))
        return dict(answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {}))

    def _set_recovery(self, target: Target, *, enabled: bool, days: int | None) -> None:
        specification: Any = {"PointInTimeRecoveryEnabled": enabled}
        if enabled and days:
            specification["RecoveryPeriodInDays"] = days
        self._client().update_continuous_backups(
            TableName=_name(target), PointInTimeRecoverySpecification=specification
        )

    def _ttl(self, target: Target) -> str:
        """The attribute by which items expire, empty where they do not."""
        answer = self._client().describe_time_to_live(TableName=_name(target))["TimeToLiveDescription"]
        return answer.get("AttributeName", "") if answer.get("TimeToLiveStatus") in _TTL_ON else ""

    def _set_ttl(self, target: Target, attribute: str, *, enabled: bool) -> bool:
        """Whether DynamoDB took the change; where it did not, proof and release see that in the table."""
        try:
            self._client().update_time_to_live(
                TableName=_name(target),
                TimeToLiveSpecification={"Enabled": enabled, "AttributeName": attribute},
            )
        except ClientError as error:
            if error_code(error) == _REFUSED_CHANGE:
                return False
            raise
        return True

    def _protect(self, target: Target, *, enabled: bool) -> None:
        self._client().update_table(TableName=_name(target), DeletionProtectionEnabled=enabled)

    def _writes_work(self, target: Target, key: JsonObject) -> bool:
        """Both writes fail by their own condition, which shows that they are allowed so far."""
        return all(_fails_by_condition(write, target, key) for write in (self._put, self._delete))

    def _put(self, target: Target, key: JsonObject) -> None:
        self._client().put_item(
            TableName=_name(target),
            Item=key,
            ConditionExpression=_NEVER,
            ExpressionAttributeNames={"#k": next(iter(key))},
        )

    def _delete(self, target: Target, key: JsonObject) -> None:
        self._client().delete_item(
            TableName=_name(target),
            Key=key,
            ConditionExpression=_NEVER,
            ExpressionAttributeNames={"#k": next(iter(key))},
        )


def _fails_by_condition(write: Callable[[Target, JsonObject], None], target: Target, key: JsonObject) -> bool:
    try:
        write(target, key)
    except ClientError as error:
        if error_code(error) in _ALLOWED | DENIED_CODES:
            return error_code(error) in _ALLOWED
        raise
    return False


def _name(target: Target) -> str:
    return target.ref.rpartition("/")[2]


def _key_of(table: Any) -> JsonObject:
    """The canary's key, in the types that the table's schema asks for."""
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    values = {"S": "firebreak-canary", "N": "-1", "B": "firebreak-canary"}
    return {
        each["AttributeName"]: {types[each["AttributeName"]]: values[types[each["AttributeName"]]]}
        for each in table["KeySchema"]
    }


def _unfrozen(table: Any, target: Target) -> list[str]:
    """What the freeze leaves out: the other regions of a global table (DynamoDB API reference, Replicas)."""
    others = sorted({each["RegionName"] for each in table.get("Replicas", ())} - {target.region})
    named = ", ".join(others)
    return [f"the replicas in {named} are not frozen: writing there is not refused"] if others else []


def _on(value: object) -> str:
    return "on" if value else "OFF"
