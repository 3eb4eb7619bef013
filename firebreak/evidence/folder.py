"""Read an untrusted package folder: list it without following links, hash it streaming, never fail on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 20
"""Bytes held in memory at one time."""
MAX_LIST = 256 << 20
"""No manifest, statement or list line of ours comes near; larger ones are refused, not loaded."""
MAX_LINE = 1 << 20


@dataclass(frozen=True)
class Hashed:
    """A file's content in brief."""

    sha256: str
    size: int


@dataclass
class Folder:
    """What lies in a package folder. Names are relative, with forward slashes."""

    root: Path
    files: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    """What is neither a plain file nor a folder in use, and why it is refused."""
    hashes: dict[str, Hashed] = field(default_factory=dict)

    @classmethod
    def scan(cls, root: Path) -> Folder:
        """List everything below ``root``."""
        folder = cls(root)
        waiting = [""]
        while waiting:
            waiting += folder._list(waiting.pop())
        return folder

    def hash(self, name: str) -> Hashed | None:
        """Hash a listed file once, streaming; None, and refused, when it cannot be read."""
        if name not in self.hashes and name in self.files:
            digest, size = hashlib.sha256(), 0
            for chunk in self._chunks(name):
                digest.update(chunk)
                size += len(chunk)
            self.hashes[name] = Hashed(digest.hexdigest(), size)
        return None if name in self.refused else self.hashes.get(name)

    def read(self, name: str) -> bytes:
        """A list or statement, whole; empty, and refused, when it is missing, unreadable or too large."""
        if name not in self.files:
            return b""
        content = bytearray()
        for chunk in self._chunks(name):
            content += chunk
            if len(content) > MAX_LIST:
                self.refused[name] = "larger than any that is written"
                return b""
        return bytes(content)

    def lines(self, name: str) -> Iterator[str]:
        """The lines of a list, one at a time; an overlong line comes in pieces that cannot be parsed."""
        if name not in self.files:
            return
        try:
            with self._open(name) as file:
                while line := file.readline(MAX_LINE):
                    yield line.removesuffix(b"\n").decode("utf-8", "backslashreplace")
        except OSError as error:
            self.refused[name] = f"cannot be read: {error.strerror}"

    def _list(self, name: str) -> list[str]:
        """Sort one folder's entries; returns its subfolders."""
        try:
            with os.scandir(self.root / name) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.refused[name] = f"cannot be listed: {error.strerror}"
            return []
        if not entries and name:
            self.refused[name] = "an empty folder was added"
        return [path for entry in entries if (path := self._sort(entry, name))]

    def _sort(self, entry: os.DirEntry[str], parent: str) -> str:
        path = f"{parent}/{entry.name}" if parent else entry.name
        if entry.is_symlink():
            self.refused[path] = "a symbolic link is refused"
        elif entry.is_dir(follow_symlinks=False):
            return path
        elif entry.is_file(follow_symlinks=False):
            self.files.add(path)
        else:
            self.refused[path] = "not a plain file"
        return ""

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            with self._open(name) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            self.refused[name] = f"cannot be read: {error.strerror}"

    def _open(self, name: str) -> BinaryIO:
        descriptor = os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW)
        return os.fdopen(descriptor, "rb")
