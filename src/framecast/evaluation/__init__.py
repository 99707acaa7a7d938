"""Scoring, comparing and tabulating."""
