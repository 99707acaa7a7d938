"""Datasets: one file per kind."""
