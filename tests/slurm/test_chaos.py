"""One short round of the soak (``make chaos``): a few faults at random, and all is as if none had been."""

from pathlib import Path

from tests import chaos
from tests.slurm.one_node import OneNode

GRID = chaos.GRID | {"epochs: 2": "epochs: 60", "depths: [1, 2]": "depths: [1]"}


def test_a_grid_under_random_faults(slurm: OneNode, tmp_path: Path) -> None:
    counts = chaos.soak(tmp_path, slurm, seconds=0, seed=3, faults=3, grid=GRID)
    assert counts["rounds"] == 1
    assert counts["faults"] == 3
