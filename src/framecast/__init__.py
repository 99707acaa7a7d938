"""framecast: video- and sequence-prediction studies as one reproducible pipeline."""

__version__ = "0.1.0"
