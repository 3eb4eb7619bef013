"""Fill a sandbox tenant with workloads worth containing, and write the inventory that describes them."""

from drills.sandbox.azure.sample.accounts import EVIDENCE_ACCOUNT, TENANT, WORKLOAD_ACCOUNT
from drills.sandbox.azure.sample.policies import attach_evidence_roles, attach_responder_roles
from drills.sandbox.azure.sample.seeding import Sample, SampleError, seed

__all__ = [
    "EVIDENCE_ACCOUNT",
    "TENANT",
    "WORKLOAD_ACCOUNT",
    "Sample",
    "SampleError",
    "attach_evidence_roles",
    "attach_responder_roles",
    "seed",
]
