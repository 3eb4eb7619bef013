"""Firebreak contains a compromised AI workload in four proved phases."""

__version__ = "0.1.0"
