"""Where a system looks in time: what evaluation stores, how it is counted, and the figure of it."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file, save_file

from framecast.evaluation import inside
from framecast.figures import base
from framecast.figures.activations import layers_of
from framecast.figures.attention_over_time import frames_in_sight, looks
from framecast.models.convgru import ConvGRU
from framecast.models.srvp import SRVP
from tests import results_fixture

DATASET = "moving_mnist"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Cells of depth 2 hold the weights of a real network, those of depth 3 of one without RFA."""
    results = results_fixture.fabricate(tmp_path_factory.mktemp("results"), datasets=(DATASET,))
    for cell in results.cells:
        if cell.depth in (2, 3):
            torch.manual_seed(0)
            model = SRVP((1, 32, 32), depth=1, hidden_channels=4, kernel_size=3, rfa=cell.depth == 2).eval()
            path = cell.score_folder / "clips.safetensors"
            clips = load_file(path)
            frames = torch.from_numpy(np.concatenate([clips["context"], clips["target"]], axis=1)) / 255
            stored = inside.look_back(model, frames.split(1), 10, 10)
            save_file(clips | {name: weights.numpy() for name, weights in stored.items()}, path)
    return results


def test_evaluation_keeps_the_weights_of_every_sequence(results):
    cell = next(cell for cell in results.cells if cell.depth == 2)
    sequences = len(cell.kept)
    assert {name: weights.shape for name, weights in looks(cell).items()} == {
        "standard": (sequences, 10, 10),
        "reinforced": (sequences, 10, 10),
    }
    for weights in looks(cell).values():
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        assert weights.std() > 0
    assert layers_of(cell) == []


def test_a_system_that_does_not_look_back_keeps_nothing():
    model = ConvGRU((1, 6, 6), depth=1, hidden_channels=4)
    assert inside.look_back(model, [torch.rand(1, 4, 1, 6, 6)], 2, 2) == {}


def test_frames_in_sight():
    one, all_of_them = np.eye(5)[:, None], np.full((3, 2, 5), 0.2)
    assert frames_in_sight(one) == pytest.approx(1)
    assert frames_in_sight(all_of_them) == pytest.approx(5)
    assert frames_in_sight(np.array([[[0.5, 0.5, 0]]])) == pytest.approx(2)


def test_a_panel_for_each_system_and_way_to_look(results):
    drawn = base.svg("attention_over_time", results, DATASET)
    assert drawn == base.svg("attention_over_time", results, DATASET)
    assert drawn.count(b"<image") == 10 + 2 + 1


def test_systems_that_do_not_look_back_give_a_figure_that_says_so(results):
    cells = tuple(cell for cell in results.cells if cell.depth == 1)
    assert b"<image" not in base.svg("attention_over_time", dataclasses.replace(results, cells=cells), DATASET)


@pytest.mark.slow
def test_from_a_recipe_to_a_picture(framecast, study):
    """SRVP as it is trained, with steps that are computed twice, on a few sequences."""
    tree = yaml.safe_load((study / "params.yaml").read_text())
    recipe = {"optimizer": "rmsprop", "weight_decay": 1.0e-4, "learning_rate": 1.0e-3, "betas": [0.9, 0.999]}
    tree["models"]["srvp"] = {"kind": "srvp", "hidden_channels": 4, "kernel_size": 3, "training": recipe}
    tree["models"]["srvp"]["checkpoint_steps"] = True
    tree["losses"]["bce_srvp"] = {"bce": 1.0}
    tree["studies"]["video_depth"] |= {"models": ["srvp"], "losses": ["bce_srvp"]}
    (study / "params.yaml").write_text(yaml.safe_dump(tree))
    cell = "moving_mnist/srvp/depth-1/bce_srvp/seed-1"
    framecast("prepare", "moving_mnist")
    framecast("train", cell)
    framecast("evaluate", cell)
    framecast("figure", "attention_over_time", "--run", cell, "-o", "attention.svg")
    assert (study / "attention.svg").read_bytes().count(b"<image") == 3 + 2
