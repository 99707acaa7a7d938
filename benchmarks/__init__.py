"""Measurements that anyone can rerun: ``make bench``. Each is a ratio against a reference timed in the same run."""
