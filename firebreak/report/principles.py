"""Which principles of ETSI EN 304 223 a containment serves, and with what.

ETSI EN 304 223 V2.1.1, "Securing Artificial Intelligence; Baseline Cyber Security Requirements for AI Models
and Systems". The titles of the principles are those of its thirteen; what is said of each is Firebreak's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Principle:
    """One principle and the answer that this run gives to it."""

    number: str
    title: str
    answer: str


PRINCIPLES = (
    Principle(
        "P2",
        "Design the AI system for security",
        "The workload's identity, network and artifacts can each be cut off alone; this run did so and "
        "proved it.",
    ),
    Principle(
        "P4",
        "Enable human responsibility for AI systems",
        "Named people could approve, reject, stop and accept risks; every decision is in the custody log.",
    ),
    Principle(
        "P11",
        "Maintain regular security updates, patches and mitigations",
        "The workload is held unchanged, with the digests of its artifacts, until a person releases it.",
    ),
    Principle(
        "P12",
        "Monitor the system's behaviour",
        "Audit logs, network logs and inference logs of the window before the trigger are kept as exhibits.",
    ),
)
