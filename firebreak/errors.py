"""Every error that Firebreak raises on purpose; each speaks to the operator.

FirebreakError
├── UsageError                 bad input: exit code 2, nothing done
│   ├── NotFoundError          no such run, workload or package
│   ├── InventoryError
│   └── SettingsError
├── GuardError                 refused before the first change: exit code 4
│   ├── MissingPermissionError
│   └── ForbiddenError         the rules do not permit this person to do that
├── ContainmentError           something in the run could not be done or proved: exit code 3
│   ├── PermanentCloudError    retrying cannot help
│   │   └── AbsentError        what is declared does not exist
│   ├── TransientCloudError    throttling, 5xx, network: retried
│   └── Irreversible           the measure cannot be undone, by name
├── NotDeliveredError          a channel to people is away: tried again, never in the way of a phase
│   ├── NotCommentedError      the same for a comment on an alert
│   └── CommentRefusedError    the alert's place does not take the comment: not tried again
└── EvidenceError              evidence is missing, altered or not trusted: exit code 3
"""

from __future__ import annotations

from typing import ClassVar


class FirebreakError(Exception):
    """What happened, to which resource, and what to do next."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, resource: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.resource = resource
        self.remedy = remedy

    def __str__(self) -> str:
        """One paragraph for the operator."""
        parts = [self.message]
        if self.resource and self.resource not in self.message:
            parts.append(f"[{self.resource}]")
        if self.remedy:
            parts.append(f"Next: {self.remedy}")
        return " ".join(parts)


class UsageError(FirebreakError):
    """The request itself is wrong; nothing was done."""

    exit_code = 2


class NotFoundError(UsageError):
    """There is nothing of that name, or not for this person."""


class InventoryError(UsageError):
    """The inventory file cannot be used; the message names file and line."""


class SettingsError(UsageError):
    """A setting is missing or malformed; the message names the variable."""


class GuardError(FirebreakError):
    """Refused before the first change."""

    exit_code = 4


class MissingPermissionError(GuardError):
    """The responder lacks a permission that the plan needs."""


class ForbiddenError(GuardError):
    """The rules do not permit this person to do that."""


class ContainmentError(FirebreakError):
    """A step could not be done or could not be proved."""

    exit_code = 3


class PermanentCloudError(ContainmentError):
    """The cloud refused in a way that trying again cannot change."""


class AbsentError(PermanentCloudError):
    """What the inventory declares does not exist: no right on it can be missing."""


class TransientCloudError(ContainmentError):
    """The cloud was busy or out of reach; trying again may work."""

    retryable = True


class Irreversible(ContainmentError):  # noqa: N818 - the design's word, read as a statement
    """The measure has no way back, by design."""


class NotDeliveredError(FirebreakError):
    """A message did not reach its channel; trying again may work."""

    retryable = True


class NotCommentedError(NotDeliveredError):
    """An alert could not be commented; trying again may work."""


class CommentRefusedError(NotDeliveredError):
    """An alert cannot be commented, and trying again is no use."""

    retryable = False


class EvidenceError(FirebreakError):
    """Evidence is missing, altered, unlocked or signed by a key that is not trusted."""

    exit_code = 3
