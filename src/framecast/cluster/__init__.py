"""The cluster's side of a job: what a cell asks for, what Slurm says of it, and what became of it."""

AFFECTS_NUMBERS = False
