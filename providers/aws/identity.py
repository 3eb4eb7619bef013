"""Phase 1 on AWS: take every power from the workload's roles and users."""
