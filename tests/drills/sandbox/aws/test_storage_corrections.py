from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from botocore.exceptions import ClientError

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
