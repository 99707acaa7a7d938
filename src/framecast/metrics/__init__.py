"""Metrics: every convention of the literature under its own id; a file per family."""
