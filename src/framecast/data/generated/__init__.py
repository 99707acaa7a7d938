"""Series that are drawn from a formula instead of read from files."""
