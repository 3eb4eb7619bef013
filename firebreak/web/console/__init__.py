"""The console: what the on-call sees and does in a browser, with or without its scripts."""
