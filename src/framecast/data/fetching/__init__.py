"""Published files into ``data/raw``: the only place that uses the network."""

AFFECTS_NUMBERS = False
