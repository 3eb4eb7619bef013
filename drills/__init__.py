"""Drills: rehearse the containment runbook, measure it and follow up on its gaps."""
