"""The same operations as the command line's, as JSON under ``/api/v1``."""
