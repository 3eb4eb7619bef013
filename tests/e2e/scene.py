"""What end-to-end tests need of a cloud's sandbox, so that one test is played on each cloud.

What only one test has to know of a cloud stands beside that test, by cloud.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.sandbox.sample import Sample
from firebreak.model import Cloud, JsonObject
from tests.e2e.estate import Json, statements

CLOUDS = (Cloud.AWS, Cloud.AZURE)
ERROR = 400
"""The first HTTP status of an error."""


@dataclass(frozen=True)
class Made:
    """One call that the sandbox answered, in the words that all clouds have in common."""

    name: str
    """The permission that it takes, or whatever else names the operation."""
    account: str
    """The account that it was about: the workload's, the evidence's, or another one."""
    who: str
    status: int
    error: str
    target: tuple[str, ...]
    """What it was about."""
    given: Any
    """What it was to become."""
    raw: JsonObject = field(repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether it had its effect."""
        return self.status < ERROR


class Scene(ABC):
    """One cloud's sandbox."""

    cloud: Cloud
    sandbox: Any
    """The control API: url, reset, configure, inject, clear_faults, calls, request."""
    denials: frozenset[str]
    """Codes by which the cloud says that somebody may not."""
    throttles: frozenset[str]
    """Codes by which the cloud says that it is asked too often."""

    @property
    def roles(self) -> str:
        """The workers that a containment in this cloud takes."""
        return f"workflows,{self.cloud.value}"

    @abstractmethod
    def seed(self, inventory_path: Path, **how: Any) -> Sample:
        """Fill the emptied sandbox."""

    @abstractmethod
    def describe(self) -> dict[str, Json]:
        """Everything that containment may touch, as an administrator sees it, by kind and id."""

    @abstractmethod
    def calls(self, since: int, *, mutating: bool = False) -> list[Made]:
        """The calls since a point of the log."""

    @abstractmethod
    def makes_another(self, made: Made) -> bool:
        """Whether the same call made again creates a second thing."""

    @abstractmethod
    def slow_identity(self, seconds: float) -> None:
        """Let changes of what identities may do take this long until they have effect."""

    @abstractmethod
    def export_key(self, sample: Any, path: Path) -> Path:
        """Write the public part of the live signing key as PEM, fetched as an outside verifier would."""

    @abstractmethod
    def is_kept(self, name: str, before: Json, after: Json) -> bool:
        """Whether a release may leave this difference behind, by what the measures declare."""

    @abstractmethod
    def kind_of(self, name: str) -> str:
        """The kind of a described resource; empty for what every attempt makes anew."""

    def seq(self) -> int:
        """Where the call log ends now."""
        return int(self.sandbox.calls().next)

    def shape(self) -> Counter[str]:
        """How many resources of each kind there are, and how many statements their policies have."""
        kinds: Counter[str] = Counter()
        for name, value in self.describe().items():
            kind = self.kind_of(name)
            if kind:
                kinds[kind] += 1
                kinds[f"statements of {kind}"] += statements(value)
        return +kinds
