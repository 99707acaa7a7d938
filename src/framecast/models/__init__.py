"""Forecasting systems and baselines: one file each."""
