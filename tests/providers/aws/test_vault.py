from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from firebreak.errors import EvidenceError, SettingsError
from firebreak.measure import now
from firebreak.model import Stored
from firebreak.settings import Settings
from providers.aws.vault import PART_BYTES, S3Vault
from tests.providers.aws.conftest import EVIDENCE, allow, policy
from tests.providers.storing import assert_forgets_one_incident_alone

MIB = 1024 * 1024


def blocks(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 251]) * MIB


def test_put_locks_and_reads_back(world: Any, fresh: Any) -> None:
    vault = world.vault()
    stored = vault.put(fresh("INC") + "/data/a.json", b'{"a": 1}')
    assert stored.sha256 == sha256(b'{"a": 1}').hexdigest()
    assert stored.size == 8
    assert stored.locked_until is not None
    assert stored.locked_until > now() + timedelta(hours=23)
    assert b"".join(vault.read(stored)) == b'{"a": 1}'
    head = world.admin("s3", "333333333333").head_object(
        Bucket=world.bucket, Key=stored.uri.split("/", 3)[3], VersionId=stored.version_id
    )
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ContentType"] == "application/json"


def test_empty_body_is_stored(world: Any, fresh: Any) -> None:
    stored = world.vault().put(fresh("INC") + "/empty", b"")
    assert stored.size == 0
    assert b"".join(world.vault().read(stored)) == b""


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 20 * MIB])
def test_large_bodies_are_locked_too(world: Any, fresh: Any, size: int) -> None:
    body = bytes(size)
    stored = world.vault().put(fresh("INC") + "/large", body)
    assert (stored.size, stored.sha256) == (size, sha256(body).hexdigest())
    assert stored.locked_until is not None
    assert sum(map(len, world.vault().read(stored))) == size


def test_streaming_put_keeps_memory_flat(world: Any, fresh: Any) -> None:
    vault = world.vault()
    vault.put(fresh("INC") + "/warm", blocks(9))
    tracemalloc.start()
    stored = vault.put(fresh("INC") + "/stream", blocks(64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.size == 64 * MIB
    assert peak < 40 * MIB


def test_a_failing_source_leaves_no_object(world: Any, fresh: Any) -> None:
    def source() -> Iterator[bytes]:
        yield from blocks(20)
        raise RuntimeError("source broke")

    key = fresh("INC") + "/partial"
    with pytest.raises(RuntimeError, match="source broke"):
        world.vault().put(key, source())
    assert list(world.vault().list(key)) == []
    uploads = world.admin("s3", "333333333333").list_multipart_uploads(Bucket=world.bucket)
    assert not uploads.get("Uploads")


def test_read_refuses_what_hashes_differently(world: Any, fresh: Any) -> None:
    vault = world.vault()
    stored = vault.put(fresh("INC") + "/a", b"evidence")
    forged = stored.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(EvidenceError, match=r"hash to|hash"):
        list(vault.read(forged))


def test_read_of_a_missing_version_says_gone(world: Any, fresh: Any) -> None:
    missing = Stored(
        uri=world.vault().uri(fresh("INC") + "/no"), version_id="x" * 32, sha256="0" * 64, size=0
    )
    with pytest.raises(EvidenceError, match="gone"):
        list(world.vault().read(missing))


def test_foreign_uris_are_refused(world: Any) -> None:
    foreign = Stored(uri="s3://elsewhere/firebreak/a", version_id="1", sha256="0" * 64, size=0)
    with pytest.raises(EvidenceError, match="not in the evidence store"):
        list(world.vault().read(foreign))


@pytest.mark.parametrize("key", ["../up", "/abs", "a/../b", "", "new\nline"])
def test_bad_keys_are_refused(world: Any, key: str) -> None:
    with pytest.raises(EvidenceError, match="not a key"):
        world.vault().put(key, b"")


def test_find_and_list_are_not_fooled_by_delete_markers(world: Any, fresh: Any) -> None:
    vault, incident = world.vault(), fresh("INC")
    for name in ("b", "a", "c"):
        vault.put(f"{incident}/{name}", name.encode())
    newest = vault.put(f"{incident}/a", b"newer")
    bucket, key = world.bucket, newest.uri.split("/", 3)[3]
    world.admin("s3", "333333333333").delete_object(Bucket=bucket, Key=key)  # only adds a marker
    assert list(vault.list(incident + "/")) == [vault.uri(f"{incident}/{n}") for n in "abc"]
    assert vault.find(newest.uri) == newest


def test_find_of_nothing_raises(world: Any, fresh: Any) -> None:
    vault, incident = world.vault(), fresh("INC")
    vault.put(f"{incident}/abc", b"longer name with the same start")
    with pytest.raises(EvidenceError, match="no evidence"):
        vault.find(vault.uri(f"{incident}/ab"))


def test_a_delete_of_locked_evidence_is_refused(world: Any, fresh: Any) -> None:
    vault = world.vault()
    stored = vault.put(fresh("INC") + "/a", b"evidence")
    finding = vault.prove_locked(stored)
    assert finding.holds
    assert finding.observed.startswith("denied: AccessDenied (403)")
    assert b"".join(vault.read(stored)) == b"evidence"


def test_unlocked_evidence_is_reported_and_not_destroyed(world: Any, fresh: Any) -> None:
    vault = world.vault()
    key = fresh("INC") + "/unlocked"
    answer = world.admin("s3", "333333333333").put_object(
        Bucket=world.bucket, Key=f"firebreak/{key}", Body=b"evidence"
    )
    stored = vault.find(vault.uri(key))
    assert stored.version_id == answer["VersionId"]
    assert stored.locked_until is None
    finding = vault.prove_locked(stored)
    assert not finding.holds
    assert b"".join(vault.read(stored)) == b"evidence"


def test_a_lock_that_may_not_be_read_is_no_lock(world: Any, fresh: Any) -> None:
    vault = world.vault()
    stored = vault.put(fresh("INC") + "/a", b"evidence")
    assert stored.locked_until is not None
    iam, place = world.admin("iam", EVIDENCE), {"RoleName": "firebreak-evidence", "PolicyName": "blind"}
    blind = policy(allow("s3:GetObjectRetention") | {"Effect": "Deny"})
    iam.put_role_policy(**place, PolicyDocument=blind)
    try:
        assert not vault.prove_locked(stored).holds
        assert vault.find(stored.uri).locked_until is None
        with pytest.raises(EvidenceError, match="s3:GetObjectRetention"):
            vault.put(fresh("INC") + "/b", b"evidence")
    finally:
        iam.delete_role_policy(**place)


def test_a_failing_store_proves_nothing(world: Any, fresh: Any) -> None:
    vault = world.vault()
    stored = vault.put(fresh("INC") + "/a", b"evidence")
    assert vault.prove_locked(stored).holds
    world.sandbox.inject("error500", service="s3", operation="DeleteObject", times=-1)
    try:
        finding = vault.prove_locked(stored)
    finally:
        world.sandbox.clear_faults()
    assert not finding.holds
    assert finding.inconclusive


def test_the_secrets_of_one_incident_are_forgotten_alone(world: Any, fresh: Any) -> None:
    assert_forgets_one_incident_alone(world.vault(), fresh("INC"))


def test_secrets_are_hidden_revealed_and_forgotten(world: Any, fresh: Any) -> None:
    vault, incident = world.vault(), fresh("INC")
    secret = b'{"session_token": "' + b"t" * 6000 + b'"}'
    assert vault.reveal(f"{incident}/session/1") is None
    vault.hide(f"{incident}/session/1", b"older")
    vault.hide(f"{incident}/session/1", secret)
    vault.hide(f"{incident}/session/2", b"other")
    assert vault.reveal(f"{incident}/session/1") == secret
    assert list(vault.list(incident)) == []
    raw = world.admin("s3", "333333333333").get_object(
        Bucket=world.bucket, Key=f"firebreak/.hidden/{incident}/session/1"
    )
    assert b"session_token" not in raw["Body"].read()
    vault.forget(f"{incident}/session/")
    vault.forget(f"{incident}/session/")
    assert vault.reveal(f"{incident}/session/1") is None
    left = world.admin("s3", "333333333333").list_object_versions(
        Bucket=world.bucket, Prefix=f"firebreak/.hidden/{incident}"
    )
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")


def test_a_secret_moved_to_another_place_is_not_revealed(world: Any, fresh: Any) -> None:
    vault, incident = world.vault(), fresh("INC")
    vault.hide(f"{incident}/a", b"secret")
    admin, folder = world.admin("s3", "333333333333"), f"firebreak/.hidden/{incident}"
    body = admin.get_object(Bucket=world.bucket, Key=f"{folder}/a")["Body"].read()
    admin.put_object(Bucket=world.bucket, Key=f"{folder}/b", Body=body)
    with pytest.raises(Exception, match=r"InvalidCiphertext|altered|Decrypt"):
        vault.reveal(f"{incident}/b")


def test_threads_share_one_vault(world: Any, fresh: Any) -> None:
    vault, incident = world.vault(), fresh("INC")
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda n: vault.put(f"{incident}/{n}", str(n).encode()), range(24)))
        bodies = list(pool.map(lambda s: b"".join(vault.read(s)), stored))
    assert bodies == [str(n).encode() for n in range(24)]


@pytest.mark.parametrize("store", ["", "file:///tmp", "s3://", "s3://UPPER/x", "https://bucket/x"])
def test_other_stores_are_refused(store: str) -> None:
    with pytest.raises(SettingsError, match="STORE"):
        S3Vault.open(Settings.model_validate({"evidence": {"store": store}}))


def test_a_bucket_without_lock_is_refused(world: Any, fresh: Any) -> None:
    bucket = fresh("plain")
    world.admin("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    access = {"role_arn": world.responder, "external_id": "firebreak-tests", "region": "eu-central-1"}
    settings = Settings.model_validate({"evidence": {"store": f"s3://{bucket}", "access": access}})
    with pytest.raises(Exception, match=r"Object ?Lock"):
        S3Vault.open(settings).put("a", b"")


def test_the_store_is_checked_with_the_evidence_roles_own_permissions(world: Any) -> None:
    since = world.sandbox.calls().next
    assert world.vault().check() == ()
    calls = world.sandbox.calls(since, principal="assumed-role/firebreak-evidence").calls
    assert [call["operation"] for call in calls] == ["GetBucketVersioning", "GetObjectLockConfiguration"]
