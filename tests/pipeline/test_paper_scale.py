"""The published configuration runs: 64 hidden channels, 64×64 frames, 10→10, on the real MNIST digits."""

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, run

SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "mnist").exists(), reason="needs the real MNIST files as FRAMECAST_MIRROR, absent here"
)
def test_published_moving_mnist_cell_trains_and_is_scored(tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params |= {"scale": "paper", "seeds": [1]}
    params["datasets"]["moving_mnist"] |= {"train": 1, "validation": 1, "test": 1}  # everything else as published
    params["training"]["epochs"] = 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    cell = "moving_mnist/seq2seq_convlstm/depth-1/mse/seed-1"
    run("framecast", "prepare", "moving_mnist", cwd=tmp_path, FRAMECAST_MIRROR=str(SHARED))
    run("python", "-m", "framecast", "train", cell, cwd=tmp_path)
    run("framecast", "evaluate", cell, cwd=tmp_path)
    (run_json,) = (tmp_path / "data" / "runs").rglob("run.json")
    (score_json,) = (tmp_path / "data" / "scores").rglob("score.json")
    made, scored = json.loads(run_json.read_text()), json.loads(score_json.read_text())
    assert made["parameter_count"] == 1_036_097
    assert made["steps"] == 1
    assert made["parameters"]["training"]["betas"] == [0.9, 0.98]
    assert (scored["source"], scored["scale"], scored["frame_shape"]) == ("official", "paper", [1, 64, 64])
    assert (scored["context"], scored["horizon"], scored["sequences"]) == (10, 10, 1)
