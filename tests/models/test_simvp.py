"""Claims about SimVP that no other system makes: its counts, its window of frames, its start, its stochastic depth."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from framecast import assemble
from framecast.errors import UserError
from framecast.models.simvp import DropPath, GSTABlock, SimVP
from framecast.study import reading
from framecast.study.grid import Grid
from framecast.study.params import Params

FIRST = {"release": "first", "translator": "incepu"}
INCEPU = {"translator": "incepu"}
KTH = {"translator_channels": 256, "encoder_blocks": 2}
HUMAN = {"context": 4}
SMALL = {"context": 4, "hidden_channels": 4, "translator_channels": 16}


@pytest.mark.parametrize(
    ("frame_shape", "depth", "switches", "parameters"),
    [
        ((1, 64, 64), 8, {}, 46_769_665),
        ((1, 64, 64), 8, INCEPU, 57_946_113),
        ((1, 64, 64), 8, {**FIRST, "translator_channels": 256}, 15_778_433),
        ((1, 64, 64), 8, FIRST, 57_761_409),
        ((1, 128, 128), 6, KTH, 15_632_961),
        ((1, 128, 128), 4, {**KTH, **INCEPU}, 8_600_641),
        ((3, 256, 256), 6, {**HUMAN, **INCEPU}, 41_156_355),
        ((3, 100, 100), 8, HUMAN, 39_428_867),
    ],
)
def test_counts_of_the_literature(
    frame_shape: tuple[int, ...], depth: int, switches: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        model = SimVP(frame_shape, depth=depth, **switches)
    assert sum(p.numel() for p in model.parameters()) == parameters


def small(**switches: Any) -> SimVP:
    torch.manual_seed(0)
    return SimVP((2, 8, 12), **{"depth": 2, **SMALL, **switches}).eval()


@pytest.mark.parametrize("switches", [{}, INCEPU, FIRST], ids=["gsta", "incepu", "first"])
def test_forecasts_are_fed_back_a_block_at_a_time(switches: dict[str, Any]) -> None:
    model, context = small(**switches), torch.rand(2, 4, 2, 8, 12)
    with torch.no_grad():
        block = model(context, 4)
        torch.testing.assert_close(model(context, 3), block[:, :3])
        torch.testing.assert_close(
            model(context, 10), torch.cat([block, (after := model(block, 4)), model(after, 2)], 1)
        )


def test_of_more_frames_the_last_are_read_and_fewer_are_refused() -> None:
    model, frames = small(), torch.rand(2, 6, 2, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(model(frames, 4), model(frames[:, 2:], 4))
    with pytest.raises(UserError, match="found 3 frames to read, allowed: 4 or more"):
        model(frames[:, :3], 4)


def test_frames_that_cannot_be_halved_are_refused_in_one_line() -> None:
    told = "frames of 8 × 12 pixels with encoder_blocks 6, allowed: sides that 8 divides"
    with pytest.raises(UserError, match=told) as caught:
        small(encoder_blocks=6)
    assert "\n" not in str(caught.value)


def test_eight_groups_are_not_wanted_where_one_is_taken() -> None:
    """8 does not divide hid_T/2: then the widths are free."""
    model = small(**INCEPU, hidden_channels=6, context=5, translator_channels=12)
    assert model(torch.rand(1, 5, 2, 8, 12), 5).shape == (1, 5, 2, 8, 12)


@pytest.mark.parametrize(("drop_path", "rates"), [(0.0, [0.01, 0.005, 0.0]), (0.21, [0.01, 0.11, 0.21])])
def test_stochastic_depth_grows_from_the_first_block_to_the_last(drop_path: float, rates: list[float]) -> None:
    model = small(depth=3, drop_path=drop_path)
    found = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert found == pytest.approx(rates)


def test_a_dropped_path_leaves_whole_samples_out_and_keeps_the_mean() -> None:
    drop, ones = DropPath(0.25), torch.ones(4000, 2, 3, 3)
    torch.manual_seed(0)
    seen = drop.train()(ones)
    per_sample = seen.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert per_sample.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(per_sample.mean()) == pytest.approx(1, abs=0.03)
    torch.manual_seed(0)
    assert torch.equal(drop(ones), seen)
    assert torch.equal(drop.eval()(ones), ones)


def spread(conv: torch.nn.Module) -> float:
    return float(conv.weight.detach().std())


def test_weights_start_as_in_the_published_code() -> None:
    torch.manual_seed(0)
    block = GSTABlock(64, 64, 0.0)
    convolutions = {name: module for name, module in block.named_modules() if isinstance(module, torch.nn.Conv2d)}
    for name, fan_out in {"attention.near": 25, "attention.far": 49, "attention.gates": 128, "mlp.narrow": 64}.items():
        assert spread(convolutions[name]) == pytest.approx((2 / fan_out) ** 0.5, rel=0.06), name
    assert not any(module.bias.any() for module in convolutions.values())
    assert block.lambda1.unique().tolist() == block.lambda2.unique().tolist() == pytest.approx([0.01])
    model = SimVP((1, 8, 8), depth=1)
    inner = [block.conv for block in (*model.encoder[1:], *model.decoder)]
    assert [spread(conv) for conv in inner] == pytest.approx([0.02] * len(inner), rel=0.03)
    first = SimVP((1, 8, 8), depth=1, **FIRST)
    assert spread(first.encoder[1].conv) == pytest.approx((1 / (3 * 9 * 64)) ** 0.5, rel=0.03)


# --- in a study -----------------------------------------------------------------------------------


@pytest.fixture
def told(study: Path) -> Callable[..., Params]:
    """The tiny study with SimVP as its video system."""

    def read(loss: dict[str, Any] | None = None, **evaluation: Any) -> Params:
        tree = yaml.safe_load((study / "params.yaml").read_text())
        tree["models"]["simvp"] = {"kind": "simvp", "hidden_channels": 4, "translator_channels": 8, "kernels": [3]}
        tree["studies"]["video_depth"]["models"] = ["simvp"]
        tree["losses"]["wanted"] = loss or {"mse": 1.0}
        tree["studies"]["video_depth"]["losses"] = ["wanted"]
        tree["evaluation"] |= evaluation
        return reading.resolve(tree)

    return read


def test_it_is_built_for_the_context_of_its_dataset(told: Callable[..., Params]) -> None:
    grid = Grid(told())
    cell = next(cell for cell in grid.cells if cell.model == "simvp")
    model = assemble.model(grid, cell, (1, 16, 16))
    assert isinstance(model, SimVP)
    assert model.context == grid.params.datasets["moving_mnist"].arguments["context"] == 3


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"protocols": {"moving_mnist": {"free-running": 2}}},
            "evaluation.protocols.moving_mnist.free-running: found 2, with model simvp, which reads the 3 frames of "
            "its training; allowed: 3 or more",
        ),
        (
            {"loss": {"mse": 1.0, "bce": 0.1}},
            "studies.video_depth: found model simvp, whose forecasts may leave [0, 1], with loss wanted (term bce), "
            "which is defined on [0, 1]; allowed: another loss, such as mse",
        ),
    ],
)
def test_a_study_that_cannot_be_scored_or_trained_is_refused(
    told: Callable[..., Params], changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(UserError, match=re.escape(f"params.yaml: {line}")):
        told(**changes)


def test_what_the_grid_gives_is_not_written_beside_a_model(study: Path) -> None:
    tree = yaml.safe_load((study / "params.yaml").read_text())
    tree["models"]["simvp"] = {"kind": "simvp", "context": 5}
    with pytest.raises(UserError, match=r'models\.simvp\.context: found "context"; allowed: drop_path, '):
        reading.resolve(tree)
