"""Suspend the lifecycle rules by which S3 itself would delete what is frozen.

A bucket policy does not bind them: they act inside of S3, and are no API calls (S3 user guide, "How S3
Lifecycle interacts with other bucket configurations", on logging). A suspended rule is disabled and carries
the mark of the workload in front of its ID; when the last mark is taken off, it is enabled again. S3 takes
only the whole configuration, so every other rule is written back as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from firebreak.errors import PermanentCloudError
from firebreak.measure import found
from firebreak.model import Finding, JsonObject, Method
from providers.aws.answers import error_code
from providers.aws.artifacts.freeze import SID, exclusive

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_ABSENT = "NoSuchLifecycleConfiguration"
_LONGEST_ID = 255  # S3 user guide, "Lifecycle configuration elements"
_MARKS = re.compile(rf"^(?:{SID}[0-9a-f]{{12}}:)+")
_SIZE_DEFAULT = "TransitionDefaultMinimumObjectSize"
Rule = dict[str, Any]


@dataclass(frozen=True)
class Lifecycle:
    """The rules of one bucket, as far as they delete declared keys or folders."""

    client: Callable[[], S3Client]
    bucket: str
    sid: str
    keys: tuple[str, ...]
    folders: tuple[str, ...]

    def owners(self) -> list[JsonObject]:
        """The rules as their owner wrote them, without what freezes have done to them."""
        rules = [_unmarked(each) for each in self._read()["Rules"]]
        self._check([self._marked(each) for each in rules])
        return [dict(json.loads(json.dumps(each, default=str))) for each in rules]

    def suspend(self) -> bool:
        """Disable each rule that would delete here; False when none had to be."""
        return self._rewrite(self._marked)

    def restore(self) -> bool:
        """Take our marks off, and enable what has none left; True when that is how the rules now read."""
        self._rewrite(self._without_mark)
        return all(self._without_mark(each) == each for each in self._read()["Rules"])

    def finding(self) -> Finding:
        """Whether no rule deletes here any more."""
        rules = self._read()["Rules"]
        active = [str(each.get("ID", "")) for each in rules if self._deletes_here(each)]
        suspended = [_name(each) for each in rules if self._is_ours(each)]
        observed = (
            f"lifecycle rules still delete: {', '.join(active)}" if active else "no lifecycle rule deletes"
        )
        return found(Method.CONFIGURATION, observed, holds=not active, active=active, suspended=suspended)

    def _rewrite(self, change: Callable[[Rule], Rule]) -> bool:
        with exclusive(f"{self.bucket} lifecycle"):
            current = self._read()
            wanted = [change(each) for each in current["Rules"]]
            if wanted == current["Rules"]:
                return False
            kept: dict[str, Any] = {k: v for k, v in current.items() if k == _SIZE_DEFAULT}
            self.client().put_bucket_lifecycle_configuration(
                Bucket=self.bucket,
                LifecycleConfiguration={"Rules": wanted},  # type: ignore[typeddict-item]  # as it was read
                **kept,
            )
        return True

    def _read(self) -> dict[str, Any]:
        try:
            return dict(self.client().get_bucket_lifecycle_configuration(Bucket=self.bucket))
        except ClientError as error:
            if error_code(error) == _ABSENT:
                return {"Rules": []}  # the usual case
            raise

    def _marked(self, rule: Rule) -> Rule:
        """Disabled under our mark, where it deletes here or would if no other workload had suspended it."""
        owners = _unmarked(rule)
        if self._is_ours(rule) or not self._deletes_here(owners):
            return rule
        return {**rule, "ID": f"{self.sid}:{rule.get('ID', '')}", "Status": "Disabled"}

    def _without_mark(self, rule: Rule) -> Rule:
        if not self._is_ours(rule):
            return rule
        mine = {**rule, "ID": rule["ID"].replace(f"{self.sid}:", "", 1)}
        return mine if _MARKS.match(mine["ID"]) else {**mine, "Status": "Enabled"}

    def _is_ours(self, rule: Rule) -> bool:
        marks = _MARKS.match(rule.get("ID", ""))
        return bool(marks and f"{self.sid}:" in marks[0])

    def _deletes_here(self, rule: Rule) -> bool:
        expires = {**rule.get("Expiration", {}), **rule.get("NoncurrentVersionExpiration", {})}
        deletes = expires.keys() & {"Days", "Date", "NoncurrentDays"}
        return rule["Status"] == "Enabled" and bool(deletes) and self._touches(_prefix(rule))

    def _touches(self, prefix: str) -> bool:
        """Filters by tag or size may let a key go; the prefix alone is enough to suspend the rule."""
        inside = any(each.startswith(prefix) for each in (*self.keys, *self.folders))
        return inside or any(prefix.startswith(each) for each in self.folders)

    def _check(self, rules: Iterable[Rule]) -> None:
        for each in rules:
            if len(each.get("ID", "")) > _LONGEST_ID:
                raise PermanentCloudError(
                    f"the ID of lifecycle rule {_name(each)} leaves no room for the mark of its suspension",
                    resource=f"arn:aws:s3:::{self.bucket}",
                    remedy="give the rule a shorter ID",
                )


def _prefix(rule: Rule) -> str:
    """A rule's prefix; rules from before filters have it at the top (S3 API reference, LifecycleRule)."""
    chosen = rule.get("Filter") or {}
    return str(chosen.get("Prefix") or (chosen.get("And") or {}).get("Prefix") or rule.get("Prefix") or "")


def _unmarked(rule: Rule) -> Rule:
    """A rule as its owner wrote it: only enabled ones are ever marked."""
    marks = _MARKS.match(rule.get("ID", ""))
    return {**rule, "ID": rule["ID"][marks.end() :], "Status": "Enabled"} if marks else rule


def _name(rule: Rule) -> str:
    return _MARKS.sub("", rule.get("ID", ""))
