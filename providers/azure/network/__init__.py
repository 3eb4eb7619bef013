"""Phase 2 on Azure: cut every path to and from the workload."""
