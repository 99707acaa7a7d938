"""What is drawn from a formula instead of read from files: series, and digits that bounce."""
