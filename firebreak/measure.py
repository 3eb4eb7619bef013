"""The Measure contract and its registry: one containment step, in one place.

Defining a subclass registers it. Imports of providers happen by name and only when asked, so that a
worker for one cloud never loads another cloud's SDK.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from firebreak.errors import Irreversible, PermanentCloudError
from firebreak.evidence.vault import Vault
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, Run, State, Target, Workload

AccessT = TypeVar("AccessT")


class Scope(StrEnum):
    """On which resources a permission is needed."""

    TARGET = "target"
    """The target only: the measure's ``arns`` names it."""
    ANY = "any"
    """The action does not support resource-level permissions, or must see everything."""


@dataclass(frozen=True)
class Permission:
    """One action that the responder must be allowed, and where."""

    action: str
    scope: Scope


def on_target(*actions: str) -> tuple[Permission, ...]:
    """Permissions on the measure's target alone."""
    return tuple(Permission(action, Scope.TARGET) for action in actions)


def on_any(*actions: str) -> tuple[Permission, ...]:
    """Permissions that cannot be narrowed to a resource."""
    return tuple(Permission(action, Scope.ANY) for action in actions)


def _ignore(_: JsonObject) -> None:
    return None


@dataclass(frozen=True)
class Progress:
    """How a long step says that it is alive, and where to go on after a crash."""

    report: Callable[[JsonObject], None] = _ignore
    """Call at least every few seconds in long work; the last value survives a crash of the worker."""
    resume: JsonObject = field(default_factory=dict)
    """The last value reported by an earlier attempt of the same step, or empty."""
    until: datetime | None = None
    """When the step's time is over; None where nobody waits for it, as for a pre-capture."""


@dataclass(frozen=True)
class Context(Generic[AccessT]):
    """What a measure works with in one run."""

    run: Run
    access: AccessT
    """The provider's session factory: the responder's credentials for the workload's account."""
    vault: Vault
    folder: str
    """Vault key under which this step's exhibits go, for example ``INC-1/data/phases/4/aws.x/<target>``."""
    progress: Progress = Progress()


class Measure(ABC, Generic[AccessT]):
    """One containment measure of one cloud in one phase.

    Implementations are synchronous and hold no state between calls: each call may run in another
    process than the one before.
    """

    cloud: ClassVar[Cloud]
    phase: ClassVar[Phase]
    name: ClassVar[str]
    """Cloud and short name, for example ``aws.deny-all``; the same in logs, evidence, CLI and docs."""
    permissions: ClassVar[tuple[Permission, ...]] = ()
    irreversible: ClassVar[str] = ""
    """Why release cannot undo it, or empty."""
    destroys_volatile: ClassVar[bool] = False
    """Stops, deletes or restarts the workload; refused in phases 1 to 4."""
    preserve_first: ClassVar[bool] = False
    """Capture measures whose source is volatile: tried once, best effort, beside phase 1."""
    last_in_phase: ClassVar[bool] = False
    """Applied when the phase's other measures are done, and reverted first: it would be in their way."""
    last_in_release: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, cloud: Cloud | None = None, phase: Phase | None = None, name: str = "", **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if not name:
            return  # an abstract layer of a provider, such as the parent of all AWS measures
        if cloud is None or phase is None:
            msg = f"measure {name} needs a cloud and a phase"
            raise TypeError(msg)
        cls.cloud, cls.phase, cls.name = cloud, phase, f"{cloud}.{name}"
        if cls.destroys_volatile:
            msg = f"{cls.name} destroys volatile evidence and cannot be part of phases 1 to 4"
            raise TypeError(msg)
        if cls.name in _REGISTRY:
            msg = f"measure {cls.name} is defined twice"
            raise TypeError(msg)
        _REGISTRY[cls.name] = cls

    def __init__(self, context: Context[AccessT]) -> None:
        self.context = context

    @property
    def run(self) -> Run:
        """The facts of this containment."""
        return self.context.run

    @classmethod
    @abstractmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared targets of this measure; empty when the workload has none. No I/O."""

    def discover(self, target: Target) -> list[Target]:
        """Replace a declared target by what is there now (an instance by its interfaces). Read-only."""
        return [target]

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The resources that the permissions of scope TARGET are needed on."""
        return (target.ref,)

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Who else is cut off by acting on this target. Read-only."""
        return ()

    @abstractmethod
    def snapshot(self, target: Target) -> JsonObject:
        """Read everything that release needs. Read-only; PermanentCloudError for an unusable target.

        Under ``control``, a measure that probes says which probes worked (``works``) or why none did
        (``why_not``), and what will be proved by reading alone (``listed_only``): the plan tells both, and
        what stands under ``notes``.
        """

    @abstractmethod
    def apply(self, target: Target, state: State) -> Change:
        """Make the change. Idempotent: a second call finds it done and changes nothing."""

    @abstractmethod
    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Observe once, from outside; never trusts apply. The measure holds when all findings hold."""

    def intact(self, target: Target, change: Change) -> Finding | None:
        """Whether a frozen artifact still is what was recorded; None for what is no artifact."""
        return None

    @abstractmethod
    def revert(self, change: Change) -> Finding:
        """Restore ``change.before`` and prove it. Idempotent; needs only the recorded change."""

    def begun(self, target: Target, state: State) -> Change:
        """What to revert where ``apply`` failed half way and returned no change; read-only.

        It has whatever ``revert`` takes from ``Change.after``, from names that follow from the run and from
        what is there now.
        """
        return self.done(target, state, changed=True)

    def done(self, target: Target, state: State, *, changed: bool, **after: Any) -> Change:
        """The Change of this measure, stamped now."""
        return Change(
            measure=self.name,
            target=target,
            changed=changed,
            applied_at=now(),
            before=state.values,
            after=after,
        )

    def cannot_revert(self, change: Change) -> Irreversible:
        """The refusal to raise from ``revert`` of an irreversible measure."""
        return Irreversible(f"{self.name} stays in force: {self.irreversible}", resource=change.target.ref)


_REGISTRY: dict[str, type[Measure[Any]]] = {}


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def found(
    method: Method, observed: str, *, holds: bool, inconclusive: bool = False, **detail: Any
) -> Finding:
    """A finding observed now."""
    return Finding(
        holds=holds,
        inconclusive=inconclusive,
        method=method,
        observed=observed,
        observed_at=now(),
        detail=detail,
    )


def load(cloud: Cloud) -> None:
    """Import a cloud's measures; raises PermanentCloudError when this build has none."""
    package = f"providers.{cloud.value}"
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise PermanentCloudError(
            f"no measures for {cloud.value} can be loaded ({error.name} is missing)",
            remedy=f"install firebreak[{cloud.value}]",
        ) from error


def measures(cloud: Cloud, phase: Phase | None = None) -> Sequence[type[Measure[Any]]]:
    """The registered measures of a cloud, in order of phase and name.

    Raises PermanentCloudError when a phase has none: an empty phase would pass without proof.
    """
    load(cloud)
    wanted = [phase] if phase else list(Phase)
    chosen = sorted(
        (m for m in _REGISTRY.values() if m.cloud is cloud and m.phase in wanted),
        key=lambda m: (m.phase, m.name),
    )
    for each in wanted:
        if not any(m.phase is each for m in chosen):
            raise PermanentCloudError(f"{cloud.value} has no measure for the phase {each.title}")
    return chosen


def measure(name: str) -> type[Measure[Any]]:
    """The measure of that full name; raises PermanentCloudError when there is none."""
    load(Cloud(name.split(".", 1)[0]))
    try:
        return _REGISTRY[name]
    except KeyError as error:
        raise PermanentCloudError(f"there is no measure {name}") from error
