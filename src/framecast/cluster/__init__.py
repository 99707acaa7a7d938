"""The cluster's side of a run: what a cell asks for, what happened to it, and how to go on."""

AFFECTS_NUMBERS = False
