"""What a person asks of a grid: what it would take, how far it is, what went wrong, and that it goes on."""

AFFECTS_NUMBERS = False
