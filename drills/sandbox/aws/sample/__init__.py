"""Fill sandbox accounts with workloads worth containing, and write the inventory that describes them."""

from drills.sandbox.aws.sample.accounts import EVIDENCE_ACCOUNT, ORCHESTRATOR_ACCOUNT, WORKLOAD_ACCOUNT
from drills.sandbox.aws.sample.policies import attach_evidence_policy, attach_responder_policy
from drills.sandbox.aws.sample.seeding import Sample, SampleError, seed

__all__ = [
    "EVIDENCE_ACCOUNT",
    "ORCHESTRATOR_ACCOUNT",
    "WORKLOAD_ACCOUNT",
    "Sample",
    "SampleError",
    "attach_evidence_policy",
    "attach_responder_policy",
    "seed",
]
