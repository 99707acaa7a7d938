"""What several metrics share: squared errors, decibels and window sums."""
