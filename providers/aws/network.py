"""Phase 2 on AWS: cut every path to and from the workload."""
