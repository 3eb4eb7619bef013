"""Phase 4 on AWS."""
