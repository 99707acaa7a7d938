"""Sequences that belong together are drawn together: from a prepared dataset to the interval in ``comparisons.csv``."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from safetensors.torch import save_file

from framecast import artifacts, assemble
from framecast.evaluation.bootstrap import compare
from framecast.evaluation.evaluate import evaluate
from framecast.evaluation.tables import tabulate
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from tests.conftest import ROOT

CHANGES = {
    "seeds": [1],
    "studies": {"one": {"datasets": ["pushed"], "models": ["still"], "depths": [1], "losses": ["mse"]}},
    "datasets": {
        "pushed": {"kind": "bair", "source": "stand-in", "protocol": "windows", "context": 4, "horizon": 12}
        | {"frame_size": 16, "train": 1, "validation": 1, "test": 5}
    },
    "models": {"still": {"kind": "convlstm_s", "hidden_channels": 2, "kernel_size": 1}},
    "baselines": ["copy_last"],
}
WINDOWS = 15  #: of each trajectory


def with_weights(grid: Grid, cell: Cell) -> None:
    """A run folder as training leaves it, as far as evaluation reads it; nothing was trained."""
    torch.manual_seed(0)
    network = assemble.model(grid, cell, (3, 16, 16))
    path = grid.run_folder(cell) / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(network.state_dict(), path)
    manifest = {"key": grid.run_key(cell), "parameter_count": 1, "sha256": {path.name: artifacts.sha256_of(path)}}
    artifacts.write_json(path.with_name("run.json"), manifest)


@torch.no_grad()
def test_the_windows_of_a_trajectory_are_drawn_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = yaml.safe_load((ROOT / "tests" / "params.yaml").read_text(encoding="utf-8"))
    grid = Grid(reading.resolve(tree | CHANGES))
    assemble.prepare(grid, "pushed")
    cells = list(grid.scored)
    with_weights(grid, next(cell for cell in cells if not cell.is_baseline))
    for cell in cells:
        evaluate(grid, cell, device=torch.device("cpu"))
    tabulate(grid, cells, Path(), ["comparisons.csv"])

    together = load_file(grid.data_folder("pushed") / "arrays.safetensors")["test_group"]
    assert together.tolist() == np.repeat(np.arange(5), WINDOWS).tolist()
    errors = {
        cell.model: load_file(grid.score_folder(cell) / "sequences.safetensors")["free-running/mse_pix01"].mean(axis=1)
        for cell in cells
    }
    with Path("comparisons.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    pair = [errors[row[side].split()[0]] for side in "ab"]
    assert errors.keys() == {"still", "copy_last"}
    grouped, alone = (compare(*pair, groups=groups, resamples=200) for groups in (together, None))
    found = [float(row[name]) for name in ("difference", "low", "high")]
    assert found == pytest.approx([grouped.difference, grouped.low, grouped.high], rel=1e-9)
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
