"""The figure of activations and its clip: same results, same bytes; one cell at a time from the command line."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from framecast.errors import UserError
from framecast.evaluation import inside
from framecast.figures import base
from framecast.figures.activations import _shown, animation, layers_of, overlay
from framecast.models.next_frame import NextFrame
from framecast.report import single
from tests import results_fixture
from tests.conftest import one_line

DATASET = "moving_mnist"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Cells of depth 2 hold maps of a real network, and one of them is named ``next_frame``."""
    results = results_fixture.fabricate(tmp_path_factory.mktemp("results"), datasets=(DATASET,))
    torch.manual_seed(0)
    model = NextFrame(
        (1, 32, 32), depth=2, hidden_channels=4, spatial_attention="last", channel_attention="last"
    ).eval()
    cells = []
    for cell in results.cells:
        if cell.depth == 2:
            path = cell.score_folder / "clips.safetensors"
            clips = load_file(path)
            frames = torch.from_numpy(np.concatenate([clips["context"], clips["target"]], axis=1)) / 255
            save_file(clips | {name: part.numpy() for name, part in inside.maps(model, frames[:2]).items()}, path)
            manifest = cell.score_folder / "score.json"
            score = json.loads(manifest.read_text()) | {"inside": inside.alignment(model, model, [frames])}
            manifest.write_text(json.dumps(score))
        cells.append(cell)
    return dataclasses.replace(results, cells=tuple(cells))


def test_the_figure_is_deterministic_and_shows_maps(results):
    drawn = base.svg("activations", results, DATASET)
    assert drawn == base.svg("activations", results, DATASET)
    assert drawn.count(b"<image") == 5 * (1 + 2 * 2 + 2)


def test_systems_that_show_nothing_give_a_figure_that_says_so(results):
    cells = tuple(cell for cell in results.cells if cell.depth != 2)
    assert b"<image" not in base.svg("activations", dataclasses.replace(results, cells=cells), DATASET)


def test_next_frame_is_shown_before_others(results):
    def named(cell):
        return dataclasses.replace(cell, model="next_frame") if cell.depth == 2 and cell.seed == 2 else cell

    alone = tuple(cell for cell in map(named, results.cells) if cell.model == "next_frame")
    both = dataclasses.replace(results, cells=tuple(map(named, results.cells)))
    only = dataclasses.replace(results, cells=alone)
    assert base.svg("activations", both, DATASET) == base.svg("activations", only, DATASET)


def test_the_columns_of_the_source():
    assert _shown(19) == [0, 5, 10, 15, 18]
    assert _shown(9) == [0, 3, 6, 8]
    assert _shown(2) == [0, 1]
    assert all(len(_shown(steps)) <= 5 for steps in range(2, 60))


def test_the_blend_of_the_source():
    """0.6 · input + 0.4 · jet: dark blue where the map is 0, dark red where it is 255."""
    frames = np.ones((1, 1, 2, 3))
    blend = overlay(frames, np.array([[[0, 255]]], dtype=np.uint8))
    np.testing.assert_allclose(blend[0, 0], [[0.6, 0.6, 0.8], [0.8, 0.6, 0.6]], atol=1e-9)


def test_the_clip_has_a_page_for_each_step(results):
    cell = next(cell for cell in results.cells if cell.depth == 2)
    content = animation(cell)
    assert content == animation(cell)
    clip = Image.open(io.BytesIO(content))
    assert clip.n_frames == len(layers_of(cell)[0]["activation"]) == 19
    pages = []
    for step in (0, 9):
        clip.seek(step)
        pages.append(np.asarray(clip.convert("RGB")))
    assert (pages[0] != pages[1]).any()


# --- framecast figure -----------------------------------------------------------------------------


def test_mistakes_are_one_line(framecast):
    cell = "moving_mnist/seq2seq_convlstm/depth-1/mse/seed-1"
    mistakes = {
        ("heatmap", cell): "figure heatmap: there is none of that name; allowed: activations, ",
        (
            "activations",
            "generated_sins/seq2seq_lstm/depth-1/mse/seed-1",
        ): "it draws video, and generated_sins holds series",
        ("filmstrip", "moving_mnist/zeros"): "a baseline has no run",
        ("filmstrip", cell): "not scored; run `framecast evaluate",
        ("filmstrip", "moving_mnist/nothing"): "not in the grid of params.yaml",
    }
    for (figure, named), told in mistakes.items():
        assert told in one_line(framecast("figure", figure, "--run", named, check=False))
    assert "ends in .svg or .png" in one_line(
        framecast("figure", "filmstrip", "--run", cell, "-o", "a.gif", check=False)
    )


@pytest.mark.slow
def test_a_figure_of_one_cell(framecast, study):
    cell = "moving_mnist/seq2seq_convlstm/depth-1/mse/seed-1"
    framecast("prepare", "moving_mnist")
    framecast("train", cell)
    framecast("evaluate", cell)
    said = framecast("figure", "filmstrip", "--run", cell).stdout.split()
    assert said == [f"reports/partial/{cell}/filmstrip.svg"]
    assert (study / said[0]).read_bytes().startswith(b"<?xml")
    told = one_line(framecast("figure", "activations", "--run", cell, check=False))
    assert "seq2seq_convlstm shows nothing" in told
    assert not list((study / "reports").rglob("activations*"))
    assert not list((study / "reports").glob("*.csv"))


def test_activations_come_as_figure_and_clip(results, tmp_path, monkeypatch):
    """The tables are the fixture's; that they are made from score files is the test above."""
    shown = next(cell for cell in results.cells if cell.depth == 2)
    monkeypatch.setattr(single, "tabulate", lambda *_: None)
    monkeypatch.setattr(single, "read_results", lambda *_: dataclasses.replace(results, cells=(shown,)))
    monkeypatch.setattr(single, "_check", lambda *_: None)
    grid, cell = type("Grid", (), {"baselines": ()}), type("Cell", (), {"dataset": DATASET, "name": shown.name})
    figure, clip = single.draw(grid, cell, "activations", str(tmp_path / "here" / "seen.svg"))
    assert (figure.name, clip.name) == ("seen.svg", "seen.gif")
    assert clip.read_bytes() == animation(shown)
    nothing = next(cell for cell in results.cells if cell.depth == 1)
    with pytest.raises(UserError, match="shows nothing"):
        animation(nothing)
