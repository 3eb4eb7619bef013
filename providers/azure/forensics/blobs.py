"""Copy blobs of a container into the vault, a page of the listing at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from firebreak.capture import Page
from firebreak.copies import Opened, Original, copied
from firebreak.measure import Context
from firebreak.model import JsonObject
from providers.azure.answers import translated
from providers.azure.session import AzureAccess

READ_BLOBS = "data:Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
"""Lists and reads blobs (Azure RBAC, permissions reference of Microsoft.Storage)."""
_PAGE_BLOBS = 50


def copied_page(
    context: Context[AzureAccess],
    container: Any,
    prefix: str,
    place: JsonObject,
    *,
    kind: str,
    wanted: Callable[[str], bool] = lambda _: True,
) -> Page:
    """Copy the next blobs whose names start so; the position counts folders, listing pages and exhibits."""
    with translated(container.url):
        pages = container.list_blobs(name_starts_with=prefix or None, results_per_page=_PAGE_BLOBS).by_page(
            place["token"] or None
        )
        listed = [each for each in next(pages, ()) if wanted(each.name)]
    originals = [
        Original(
            source=f"{container.url}/{each.name}",
            size=each.size,
            open=partial(_opened, container.get_blob_client(each.name)),
        )
        for each in listed
    ]
    rows, exhibits = copied(context, originals, place["number"], kind=kind, acquired_by="Get Blob")
    token = pages.continuation_token or ""
    position = {
        **place,
        "index": place["index"] + (0 if token else 1),
        "token": token,
        "number": place["number"] + len(listed),
    }
    return Page(rows, position, exhibits, flush=bool(rows))


@contextmanager
def _opened(blob: Any) -> Iterator[Opened]:
    with translated(blob.url):
        reading = blob.download_blob(max_concurrency=1)
        found = reading.properties
        facts = {
            "version_id": found.version_id,
            "etag": found.etag,
            "last_modified": found.last_modified,
            "metadata": dict(found.metadata or {}),
        }
        yield Opened(facts, reading.chunks())
