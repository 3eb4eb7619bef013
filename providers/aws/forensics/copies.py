"""Copy objects of a bucket into the vault, a page of the listing at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page
from firebreak.copies import CHUNK_BYTES, Opened, Original, copied
from firebreak.measure import Context
from firebreak.model import JsonObject
from providers.aws.answers import translated
from providers.aws.session import AwsAccess

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_PAGE_OBJECTS = 50


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

    With ``exact`` the folder is one object's key.
    """
    s3: S3Client = context.access.client("s3")
    with translated(f"arn:aws:s3:::{bucket}/{folder}"):
        start: dict[str, Any] = {"StartAfter": place["after"]} if place["after"] else {}
        answer = s3.list_objects_v2(Bucket=bucket, Prefix=folder, MaxKeys=_PAGE_OBJECTS, **start)
    listed: list[Any] = [each for each in answer.get("Contents", []) if not exact or each["Key"] == folder]
    originals = [
        Original(
            source=f"s3://{bucket}/{each['Key']}",
            size=each["Size"],
            open=partial(_opened, context.access, bucket, each["Key"]),
        )
        for each in listed
    ]
    rows, exhibits = copied(context, originals, place["number"], kind=kind, acquired_by="s3:GetObject")
    more = bool(answer.get("IsTruncated")) and not exact
    position = {
        **place,
        "index": place["index"] + (0 if more else 1),
        "after": listed[-1]["Key"] if more else "",
        "number": place["number"] + len(listed),
    }
    return Page(rows, position, exhibits, flush=bool(rows))


@contextmanager
def _opened(access: AwsAccess, bucket: str, key: str) -> Iterator[Opened]:
    with translated(f"s3://{bucket}/{key}"):
        s3: S3Client = access.client("s3")
        answer = s3.get_object(Bucket=bucket, Key=key)
        facts = {
            "version_id": answer.get("VersionId", "null"),
            "etag": answer.get("ETag", ""),
            "last_modified": answer.get("LastModified"),
            "metadata": answer.get("Metadata", {}),
        }
        with closing(answer["Body"]) as body:
            yield Opened(facts, body.iter_chunks(CHUNK_BYTES))
