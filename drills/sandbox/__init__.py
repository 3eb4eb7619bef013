"""Embedded sandbox accounts used by the demo, tabletop drills and tests."""
