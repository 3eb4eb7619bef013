"""Temporal adapters: thin, no policy, no SDK logic."""
