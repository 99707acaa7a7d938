"""One short round of the soak (``make chaos``): a few faults at random, and all is as if none had been."""

from pathlib import Path

from tests import chaos, warm
from tests.slurm.one_node import OneNode

VIDEO = "  video_depth: {datasets: [moving_mnist], models: [seq2seq_convlstm], depths: [1], losses: [mse]}\n"
GRID = chaos.GRID | {"epochs: 2": "epochs: 60", VIDEO: ""}


def test_a_grid_under_random_faults(slurm: OneNode, tmp_path: Path) -> None:
    counts = chaos.soak(tmp_path, slurm, seconds=0, seed=3, faults=3, grid=GRID, programs=warm.programs())
    assert counts["rounds"] == 1
    assert counts["faults"] == 3
