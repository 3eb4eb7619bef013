"""Canaries of the Object Lock corrections to moto."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drills.sandbox.aws.client import AccessKey

REGION = "eu-central-1"
ACCOUNT = "222222222222"
LOCATION = {"LocationConstraint": REGION}

Connect = Callable[..., Any]
Refused = Callable[..., str]


class TestObjectLock:
    @pytest.fixture
    def s3(self, connect: Connect, admin: AccessKey) -> Any:
        client = connect("s3", admin)
        client.create_bucket(
            Bucket="vault", CreateBucketConfiguration=LOCATION, ObjectLockEnabledForBucket=True
        )
        return client

    def locked(self, s3: Any, mode: str, days: int = 10) -> tuple[dict[str, str], datetime]:
        until = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
        version = s3.put_object(
            Bucket="vault",
            Key="exhibit",
            Body=b"1",
            ObjectLockMode=mode,
            ObjectLockRetainUntilDate=until,
        )["VersionId"]
        return {"Bucket": "vault", "Key": "exhibit", "VersionId": version}, until

    def test_compliance_can_only_grow(self, s3: Any, refused: Refused) -> None:
        version, until = self.locked(s3, "COMPLIANCE")
        for weaker in (
            {"Mode": "COMPLIANCE", "RetainUntilDate": until - timedelta(days=1)},
            {"Mode": "GOVERNANCE", "RetainUntilDate": until},
            {"Mode": "GOVERNANCE", "RetainUntilDate": until + timedelta(days=1)},
        ):
            change = {**version, "Retention": weaker, "BypassGovernanceRetention": True}
            assert refused(s3.put_object_retention, **change) == "AccessDenied"
        longer = {"Mode": "COMPLIANCE", "RetainUntilDate": until + timedelta(days=1)}
        s3.put_object_retention(**version, Retention=longer)
        assert s3.get_object_retention(**version)["Retention"] == longer
        assert refused(s3.delete_object, **version, BypassGovernanceRetention=True) == "AccessDenied"

    def test_governance_yields_only_to_the_bypass(self, s3: Any, refused: Refused) -> None:
        version, until = self.locked(s3, "GOVERNANCE")
        shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": until - timedelta(days=1)}
        assert refused(s3.put_object_retention, **version, Retention=shorter) == "AccessDenied"
        s3.put_object_retention(**version, Retention=shorter, BypassGovernanceRetention=True)
        assert s3.get_object_retention(**version)["Retention"] == shorter
        s3.put_object_retention(**version, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
        assert s3.get_object_retention(**version)["Retention"]["Mode"] == "COMPLIANCE"

    def test_the_bypass_needs_its_own_permission(
        self,
        s3: Any,
        connect: Connect,
        admin: AccessKey,
        make_policy: Callable[..., str],
        refused: Refused,
    ) -> None:
        version, _ = self.locked(s3, "GOVERNANCE")
        iam = connect("iam", admin)
        iam.create_user(UserName="agent")
        key = iam.create_access_key(UserName="agent")["AccessKey"]
        allowed = make_policy("Allow", ["s3:DeleteObject*", "s3:PutObject*"])
        iam.put_user_policy(UserName="agent", PolicyName="p", PolicyDocument=allowed)
        agent = connect("s3", AccessKey(ACCOUNT, key["AccessKeyId"], key["SecretAccessKey"]))
        assert refused(agent.delete_object, **version) == "AccessDenied"
        assert refused(agent.delete_object, **version, BypassGovernanceRetention=True) == "AccessDenied"
        bypass = make_policy("Allow", "s3:BypassGovernanceRetention")
        iam.put_user_policy(UserName="agent", PolicyName="bypass", PolicyDocument=bypass)
        agent.delete_object(**version, BypassGovernanceRetention=True)

    def test_versioning_and_lock_cannot_be_switched_off(self, s3: Any, refused: Refused) -> None:
        suspend = {"Bucket": "vault", "VersioningConfiguration": {"Status": "Suspended"}}
        assert refused(s3.put_bucket_versioning, **suspend) == "InvalidBucketState"
        s3.put_bucket_versioning(Bucket="vault", VersioningConfiguration={"Status": "Enabled"})
        s3.create_bucket(Bucket="plain", CreateBucketConfiguration=LOCATION)
        enable = {"Bucket": "plain", "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
        assert refused(s3.put_object_lock_configuration, **enable) == "InvalidBucketState"
        s3.put_bucket_versioning(Bucket="plain", VersioningConfiguration={"Status": "Enabled"})
        s3.put_object_lock_configuration(**enable)

    def test_retention_and_hold_can_be_read(self, s3: Any, refused: Refused) -> None:
        version = s3.put_object(Bucket="vault", Key="free", Body=b"1")["VersionId"]
        free = {"Bucket": "vault", "Key": "free", "VersionId": version}
        assert refused(s3.get_object_retention, **free) == "NoSuchObjectLockConfiguration"
        assert refused(s3.get_object_legal_hold, **free) == "NoSuchObjectLockConfiguration"
        s3.put_object_legal_hold(**free, LegalHold={"Status": "ON"})
        assert s3.get_object_legal_hold(**free)["LegalHold"] == {"Status": "ON"}
        assert refused(s3.delete_object, **free) == "AccessDenied"
        s3.put_object_legal_hold(**free, LegalHold={"Status": "OFF"})
        assert s3.get_object_legal_hold(**free)["LegalHold"] == {"Status": "OFF"}
        s3.delete_object(**free)

    def test_batch_delete_spares_locked_versions(self, s3: Any) -> None:
        version, _ = self.locked(s3, "COMPLIANCE")
        objects = [{"Key": "exhibit", "VersionId": version["VersionId"]}]
        answer = s3.delete_objects(Bucket="vault", Delete={"Objects": objects})
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
        assert s3.head_object(**version)["ObjectLockMode"] == "COMPLIANCE"

    def test_a_bucket_without_lock_takes_no_locks(self, s3: Any, refused: Refused) -> None:
        s3.create_bucket(Bucket="plain", CreateBucketConfiguration=LOCATION)
        s3.put_object(Bucket="plain", Key="x", Body=b"1")
        hold = {"Bucket": "plain", "Key": "x", "LegalHold": {"Status": "ON"}}
        assert refused(s3.put_object_legal_hold, **hold) == "InvalidRequest"
        new, source = {"Bucket": "plain", "Key": "y"}, {"Bucket": "plain", "Key": "x"}
        until = datetime.now(UTC) + timedelta(days=1)
        locks: list[dict[str, Any]] = [
            {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until},
            {"ObjectLockLegalHoldStatus": "ON"},
        ]
        for lock in locks:
            assert refused(s3.put_object, **new, **lock) == "InvalidRequest"
            assert refused(s3.copy_object, **new, **lock, CopySource=source) == "InvalidRequest"
            assert refused(s3.create_multipart_upload, **new, **lock) == "InvalidRequest"
        assert "Uploads" not in s3.list_multipart_uploads(Bucket="plain")

    @pytest.mark.parametrize("look", ["head_object", "get_object"])
    def test_a_lock_is_shown_only_to_those_who_may_read_it(
        self, s3: Any, connect: Connect, admin: AccessKey, make_policy: Callable[..., str], look: str
    ) -> None:
        version, until = self.locked(s3, "COMPLIANCE")
        s3.put_object_legal_hold(**version, LegalHold={"Status": "ON"})
        iam = connect("iam", admin)
        iam.create_user(UserName="reader")
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        reader = connect("s3", AccessKey(ACCOUNT, key["AccessKeyId"], key["SecretAccessKey"]))
        retention = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        hold = {"ObjectLockLegalHoldStatus": "ON"}
        shown: dict[tuple[str, ...], dict[str, Any]] = {
            (): {},
            ("s3:GetObjectRetention",): retention,
            ("s3:GetObjectLegalHold",): hold,
            ("s3:GetObjectRetention", "s3:GetObjectLegalHold"): retention | hold,
        }
        for actions, expected in shown.items():
            allowed = make_policy("Allow", ["s3:GetObject", "s3:GetObjectVersion", *actions])
            iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=allowed)
            answer = getattr(reader, look)(**version)
            assert {name: answer[name] for name in answer if name.startswith("ObjectLock")} == expected
            assert answer["ContentLength"] == 1

    def default_retention(self, s3: Any) -> None:
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 3}}
        s3.put_object_lock_configuration(
            Bucket="vault",
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )

    def assert_default(self, s3: Any, key: str, version: str) -> None:
        retention = s3.get_object_retention(Bucket="vault", Key=key, VersionId=version)["Retention"]
        assert retention["Mode"] == "COMPLIANCE"
        assert timedelta(days=2) < retention["RetainUntilDate"] - datetime.now(UTC) <= timedelta(days=3)

    def test_the_default_retention_applies_to_new_objects(self, s3: Any) -> None:
        self.default_retention(s3)
        version = s3.put_object(Bucket="vault", Key="x", Body=b"1")["VersionId"]
        self.assert_default(s3, "x", version)

    def test_an_object_can_be_copied_into_a_locking_bucket(self, s3: Any) -> None:
        s3.create_bucket(Bucket="plain", CreateBucketConfiguration=LOCATION)
        s3.put_object(Bucket="plain", Key="x", Body=b"1")
        self.default_retention(s3)
        copied = s3.copy_object(Bucket="vault", Key="y", CopySource={"Bucket": "plain", "Key": "x"})
        self.assert_default(s3, "y", copied["VersionId"])
        assert s3.get_object(Bucket="vault", Key="y")["Body"].read() == b"1"

    def test_a_multipart_upload_is_locked(self, s3: Any) -> None:
        self.default_retention(s3)
        upload = s3.create_multipart_upload(Bucket="vault", Key="big")
        part = {"Bucket": "vault", "Key": "big", "UploadId": upload["UploadId"]}
        tag = s3.upload_part(**part, PartNumber=1, Body=b"x" * 6_000_000)["ETag"]
        done = s3.complete_multipart_upload(
            **part, MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]}
        )
        self.assert_default(s3, "big", done["VersionId"])

    def test_a_wrong_checksum_is_refused(self, s3: Any, refused: Refused) -> None:
        wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
        put = {"Bucket": "vault", "Key": "x", "Body": b"1", "ChecksumSHA256": wrong}
        assert refused(s3.put_object, **put) == "BadDigest"
        right = base64.b64encode(hashlib.sha256(b"1").digest()).decode()
        s3.put_object(**{**put, "ChecksumSHA256": right})
        shown = s3.head_object(Bucket="vault", Key="x", ChecksumMode="ENABLED")
        assert shown["ChecksumSHA256"] == right
