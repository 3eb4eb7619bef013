"""One folder for each cloud. No Temporal import."""
