"""Measurements of Firebreak: ``python -m bench``. Results go to ``bench/results`` and docs/performance.md."""
