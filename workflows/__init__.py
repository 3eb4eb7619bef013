"""Durable workflows: deterministic, no SDK imports."""
