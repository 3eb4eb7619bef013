"""List object versions without copying the bucket.

For every listing moto copies each version of the bucket with its content, whatever the prefix: a hundred
containments beside each other took 13 GiB that way. The sandbox answers one call at a time, and all that
a listing writes is which version is the latest, anew each time: there is nothing that a copy would protect.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from moto.s3.models import FakeKey, S3Backend
from moto.s3.utils import _VersionedKeyStore

_list_all: Any = S3Backend.list_object_versions


def apply() -> None:
    """Look at the wanted versions alone, and at the very objects."""
    setattr(FakeKey, "__deepcopy__", lambda key, _: key)  # noqa: B010 - mypy forbids assigning functions
    setattr(S3Backend, "list_object_versions", _list_below)  # noqa: B010 - same


def _list_below(backend: Any, bucket_name: str, *, prefix: str = "", **page: Any) -> Any:
    wanted = _VersionedKeyStore()
    for name, versions in backend.get_bucket(bucket_name).keys.iterlists():
        if name.startswith(prefix):
            wanted.setlist(name, versions)
    view = SimpleNamespace(get_bucket=lambda _: SimpleNamespace(keys=wanted))
    return _list_all(view, bucket_name, prefix=prefix, **page)
