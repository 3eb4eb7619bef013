"""Alerts from outside: authenticated, read, matched to a workload, made durable, acknowledged."""
