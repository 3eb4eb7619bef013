from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.s3.models import S3Backend

from drills.sandbox.aws.corrections import versions

REGION = "eu-central-1"
MEDIA = "application/vnd.oci.image.manifest.v1+json"


def test_an_upload_in_parts_keeps_the_lock_asked_for(connect: Any, admin: Any) -> None:
    s3 = connect("s3", admin)
    s3.create_bucket(
        Bucket="parts",
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    until = datetime.now(UTC) + timedelta(days=1)
    place = {"Bucket": "parts", "Key": "large"}
    upload = s3.create_multipart_upload(
        **place, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until, ObjectLockLegalHoldStatus="ON"
    )["UploadId"]
    part = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"x" * 1024)
    sent = [{"PartNumber": 1, "ETag": part["ETag"]}]
    version = s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": sent})[
        "VersionId"
    ]
    head = s3.head_object(**place)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert abs(head["ObjectLockRetainUntilDate"] - until) < timedelta(seconds=2)
    assert head["ObjectLockLegalHoldStatus"] == "ON"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(**place, VersionId=version)


def test_an_image_is_named_by_its_manifest(connect: Any, admin: Any) -> None:
    ecr = connect("ecr", admin)
    ecr.create_repository(repositoryName="agent")
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MEDIA, "layers": [], "annotations": {"revision": "1"}}
    )
    image = ecr.put_image(repositoryName="agent", imageManifest=manifest, imageTag="a")["image"]
    assert image["imageId"]["imageDigest"] == f"sha256:{sha256(manifest.encode()).hexdigest()}"


def test_a_long_poll_does_not_stop_the_sandbox(connect: Any, admin: Any) -> None:
    sqs = connect("sqs", admin)
    url = sqs.create_queue(QueueName="empty")["QueueUrl"]
    started = time.monotonic()
    assert not sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages")
    assert time.monotonic() - started < 5


def test_a_listing_of_versions_has_the_right_ones_and_leaves_them_whole(connect: Any, admin: Any) -> None:
    s3 = connect("s3", admin)
    s3.create_bucket(Bucket="versions", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    for content in (b"1", b"2", b"3"):
        s3.put_object(Bucket="versions", Key="a/kept", Body=content)
        s3.put_object(Bucket="versions", Key="b/other", Body=content)
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket="versions", Prefix="a/", PaginationConfig={"PageSize": 2}
    )
    listed = [each for page in pages for each in page["Versions"]]
    assert [(each["Key"], each["IsLatest"]) for each in listed] == [
        ("a/kept", True),
        ("a/kept", False),
        ("a/kept", False),
    ]
    contents = [
        s3.get_object(Bucket="versions", Key="a/kept", VersionId=each["VersionId"])["Body"].read()
        for each in listed
    ]
    assert contents == [b"3", b"2", b"1"]


def test_a_listing_of_versions_copies_no_object() -> None:
    versions.apply()
    backend = S3Backend("us-east-1", "222222222222")
    backend.create_bucket("versions", "us-east-1")
    kept = backend.put_object("versions", "a/kept", b"1")
    backend.put_object("versions", "b/other", b"2")
    (listed,) = backend.list_object_versions("versions", prefix="a/")[0]
    assert listed is kept
