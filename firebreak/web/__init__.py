"""The web process: webhook, API and console over one Temporal client. It holds no cloud credentials."""
