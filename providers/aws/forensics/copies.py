"""Copy objects of a bucket into the vault, each as an exhibit, with an index that says which is which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page, evidence_id
from firebreak.measure import Context, now
from firebreak.model import Exhibit, JsonObject
from providers.aws.answers import translated
from providers.aws.artifacts.freeze import each_of
from providers.aws.session import AwsAccess

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_PAGE_OBJECTS = 50
_SMALL = 1024 * 1024
_CHUNK = 1024 * 1024


def copied_page(
    context: Context[AwsAccess],
    bucket: str,
    folder: str,
    place: JsonObject,
    *,
    kind: str,
    exact: bool = False,
) -> Page:
    """Copy the next objects below a folder; the position counts folders, keys and exhibits.

    With ``exact`` the folder is one object's key. Small objects are copied a few at a time, larger ones one
    after the other, so that memory stays flat.
    """
    s3: S3Client = context.access.client("s3")
    with translated(f"arn:aws:s3:::{bucket}/{folder}"):
        start: dict[str, Any] = {"StartAfter": place["after"]} if place["after"] else {}
        answer = s3.list_objects_v2(Bucket=bucket, Prefix=folder, MaxKeys=_PAGE_OBJECTS, **start)
    listed: list[Any] = [each for each in answer.get("Contents", []) if not exact or each["Key"] == folder]
    numbered = list(enumerate(listed, place["number"] + 1))

    def copy(numbered_object: tuple[int, Any]) -> tuple[JsonObject, Exhibit]:
        return _copy(context, bucket, numbered_object[1], numbered_object[0], kind=kind)

    small = [each for each in numbered if each[1]["Size"] <= _SMALL]
    done = dict(zip((number for number, _ in small), each_of(copy, small), strict=True))
    done |= {each[0]: copy(each) for each in numbered if each[1]["Size"] > _SMALL}
    more = bool(answer.get("IsTruncated")) and not exact
    position = {
        **place,
        "index": place["index"] + (0 if more else 1),
        "after": listed[-1]["Key"] if more else "",
        "number": place["number"] + len(listed),
    }
    results = [done[number] for number, _ in numbered]
    return Page(
        [row for row, _ in results], position, [exhibit for _, exhibit in results], flush=bool(results)
    )


def _copy(
    context: Context[AwsAccess], bucket: str, listed: Any, number: int, *, kind: str
) -> tuple[JsonObject, Exhibit]:
    source = f"s3://{bucket}/{listed['Key']}"
    key = f"{context.folder}/objects/{number:06d}.bin"
    with translated(source):
        s3: S3Client = context.access.client("s3")
        answer = s3.get_object(Bucket=bucket, Key=listed["Key"])
        stored = context.vault.put(key, _chunks(answer["Body"]), media_type="application/octet-stream")
    exhibit = Exhibit(
        evidence_id=evidence_id(key),
        kind=kind,
        source=source,
        acquired_by="s3:GetObject",
        collected_at=now(),
        stored=stored,
    )
    row = {
        "source": source,
        "version_id": answer.get("VersionId", "null"),
        "etag": answer.get("ETag", ""),
        "last_modified": answer.get("LastModified"),
        "metadata": answer.get("Metadata", {}),
        "size": stored.size,
        "sha256": stored.sha256,
        "exhibit": exhibit.evidence_id,
    }
    return row, exhibit


def _chunks(body: Any) -> Iterator[bytes]:
    with closing(body):
        yield from body.iter_chunks(_CHUNK)
