"""The public JSON contract: what every document of a run has, at the least."""

from __future__ import annotations

RUN_FIELDS = {
    "incident_id",
    "workflow_id",
    "workload_id",
    "cloud",
    "mode",
    "verdict",
    "triggered_at",
    "contained_at",
    "elapsed_seconds",
    "target_seconds",
    "within_target",
    "phases",
    "evidence",
}
PHASE_FIELDS = {"phase", "verdict", "started_at", "verified_at", "elapsed_seconds", "deviations", "measures"}
MEASURE_FIELDS = {"name", "target", "change", "findings"}
FINDING_FIELDS = {"holds", "method", "observed", "observed_at", "detail"}
