"""Judge what the workload could do, tried as the workload: the positive control before, the denial after.

A denial counts only for a call that the same credential was allowed before the change. A cloud makes the
calls, and decides by error codes what each answer means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from firebreak.errors import TransientCloudError
from firebreak.measure import found
from firebreak.model import Finding, JsonObject, Method


class Kind(StrEnum):
    """What one answer means."""

    ALLOWED = "allowed"
    DENIED = "denied"
    DEAD = "credential dead"
    UNKNOWN = "inconclusive"


@dataclass(frozen=True)
class Answer:
    """The answer to one probe."""

    call: str
    kind: Kind
    code: str = ""
    status: int = 0
    request_id: str = ""
    transient: bool = False
    """Trying again may give another answer: throttling, 5xx, a lost packet."""

    @property
    def text(self) -> str:
        """The answer as the operator reads it, for example ``s3:GetObject denied: AccessDenied (403)``."""
        told = f": {self.code or 'no code'} ({self.status})" if self.kind is not Kind.ALLOWED else ""
        return f"{self.call} {self.kind}{told}"

    def json(self) -> JsonObject:
        """The answer for a finding's detail."""
        return {
            "call": self.call,
            "answer": str(self.kind),
            "code": self.code,
            "status": self.status,
            "request_id": self.request_id,
        }


@dataclass(frozen=True)
class Control:
    """What worked before the change, or why nothing could be tried."""

    works: tuple[str, ...] = ()
    why_not: str = ""
    gaps: tuple[str, ...] = ()
    """What else was tried, beside what does work, and was not allowed: it proves nothing later."""

    def json(self) -> JsonObject:
        """The control for a State: names of calls, no secret."""
        gaps = {"gaps": list(self.gaps)} if self.gaps else {}
        return {"works": list(self.works), "why_not": self.why_not, **gaps}

    @classmethod
    def of(cls, values: JsonObject) -> Control:
        """Read back what ``json`` wrote."""
        control = values.get("control", {})
        return cls(
            tuple(control.get("works", ())),
            control.get("why_not", "no positive control was recorded"),
            tuple(control.get("gaps", ())),
        )


def control_of(answers: Sequence[Answer]) -> Control:
    """Keep what was allowed; raises TransientCloudError where a busy service left it open."""
    works = tuple(answer.call for answer in answers if answer.kind is Kind.ALLOWED)
    if works:
        return Control(works)
    if any(answer.transient for answer in answers):
        raise TransientCloudError(f"the positive control could not be taken: {answers[0].text}")
    told = "; ".join(answer.text for answer in answers) or "no probe is declared"
    return Control((), f"no declared probe worked before the change: {told}")


def judge(answers: Sequence[Answer], control: Control, subject: str, *, dead_only: bool = False) -> Finding:
    """Turn the answers to the calls that worked before into one finding."""
    relevant = [answer for answer in answers if answer.call in control.works]
    detail: JsonObject = {"answers": [each.json() for each in answers], "worked_before": list(control.works)}
    if not relevant:
        return unproved(subject, control.why_not or "the probes that worked before are no longer declared")
    good = {Kind.DEAD} if dead_only else {Kind.DEAD, Kind.DENIED}
    text = f"{subject}: " + "; ".join(answer.text for answer in relevant)
    kinds = {answer.kind for answer in relevant}
    if kinds <= good:
        return found(Method.LIVE_PROBE, text, holds=True, **detail)
    unknown = Kind.UNKNOWN in kinds and Kind.ALLOWED not in kinds
    return found(Method.LIVE_PROBE, text, holds=False, inconclusive=unknown, **detail)


def unproved(subject: str, reason: str) -> Finding:
    """Report a live probe that could not be made; it never counts as contained."""
    return found(Method.LIVE_PROBE, f"{subject} not probed: {reason}", holds=False, inconclusive=True)
