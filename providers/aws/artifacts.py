"""Phase 3 on AWS."""
