"""What ``scale`` measures of submission, for ten thousand jobs. Ten minutes, on request."""

from benchmarks.base import Row
from benchmarks.scale import submission

ON_REQUEST = True


def rows() -> list[Row]:
    """The driver's CPU and memory, beside the bare workflow's."""
    return [submission(10_000)]
