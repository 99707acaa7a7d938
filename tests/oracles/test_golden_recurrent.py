"""The recurrent benchmark systems against the numbers of their authors' own code, in the loop that they share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from framecast.models.convlstm_s import ConvLSTMS
from framecast.models.layers.unroll import Unrolled, to_patches
from framecast.models.predrnn import PredRNN
from framecast.models.predrnn_pp import PredRNNpp
from tests.oracles.golden import (
    EXACT,
    Golden,
    Place,
    agrees,
    agrees_in_float32,
    as_it_is,
    close,
    files,
    gradients_agree,
    loaded,
)
from tests.oracles.test_golden_systems import renamed

Mapping = Callable[[str], Place]


def sizes(golden: Golden) -> dict[str, int]:
    """The arguments that all of these systems share."""
    c = golden.config
    return {"depth": c["L"], "hidden_channels": c["D"], "kernel_size": c["k"], "patch_size": c["p"]}


def frame_shape(golden: Golden) -> tuple[int, int, int]:
    c = golden.config
    return c["C"], c["H"], c["W"]


def speaks_as_its_authors(model: Unrolled, golden: Golden, place: Mapping) -> None:  # type: ignore[type-arg]
    """Forecasts, all one-step forecasts of a masked training step, its loss, and every gradient of both."""
    c = golden.config
    context, horizon = c["T"], c["K"]
    loaded(model.eval(), golden, place)
    close(to_patches(golden["input"][:, 0], c["p"]), golden["patched_frame0"], 0)

    def run(frames: Tensor) -> Tensor:
        return model(frames, horizon)

    agrees(model, golden, place, run)
    with torch.no_grad():
        empty = model.lesson(golden["input"], golden["input"], context).forecast
        close(empty[:, : context - 1], golden["output_context"], EXACT)
        close(empty[:, context - 1 :], golden["output"], EXACT)

    model.train()
    of_context = torch.ones(c["B"], context - 1)
    for kind, given in (
        ("train", torch.cat([of_context, golden["mask"]], 1)),
        ("train_reverse", golden["reverse_mask"]),
    ):
        if f"{kind}_loss" in golden:
            _learns_as_its_authors(model, golden, place, kind, given.bool())
    agrees_in_float32(model.eval(), golden, run)


def _learns_as_its_authors(model: Unrolled, golden: Golden, place: Mapping, kind: str, given: Tensor) -> None:  # type: ignore[type-arg]
    frames = golden["input"].requires_grad_()
    forecast, target, penalties = model.lesson(frames, frames, golden.config["T"], given)
    close(forecast, golden[f"{kind}_output_all"], EXACT)
    loss = (forecast - target).square().mean()
    if f"{kind}_mse" in golden:
        close(loss.view(1), golden[f"{kind}_mse"], EXACT)
        close(penalties["decoupling"].value.view(1), golden[f"{kind}_decouple"], EXACT)
    loss = loss + sum(penalty.weight * penalty.value for penalty in penalties.values())
    close(loss.view(1), golden[f"{kind}_loss"], EXACT)
    rows = golden[f"{kind}_grad_digest"], golden.digest_rows(f"{kind}_grad_digest")
    gradients_agree(model, golden, place, loss, frames, golden[f"{kind}_grad_input"], rows)


# --- ConvLSTM-S -----------------------------------------------------------------------------------


def convlstm_weight(name: str) -> Place:
    """cell_list.<l>.conv_<x|h>, the two parts of one convolution of [x; h]."""
    if name == "conv_last.weight":
        return "read_out.weight", as_it_is
    to = renamed(name, {r"^cell_list\.(\d+)\.conv_.*": r"cells.\1.gates.weight"})
    if "conv_x" in name:
        return to, lambda weight: weight[:, : -len(weight) // 4]
    return to, lambda weight: weight[:, -len(weight) // 4 :]


@pytest.mark.parametrize("path", files("convlstm_s_*"), ids=lambda path: path.stem)
def test_convlstm_s(path: Path) -> None:
    golden = Golden(path)
    speaks_as_its_authors(ConvLSTMS(frame_shape(golden), **sizes(golden)), golden, convlstm_weight)


# --- PredRNN --------------------------------------------------------------------------------------

PREDRNN = {
    r"^cell_list\.": "cells.",
    r"conv_(\w)\.": r"\1.",
    r"^(cells\.\d+)\.conv_last": r"\1.last",
    r"^conv_last": "read_out",
}


def predrnn_weight(name: str) -> Place:
    """A convolution of each of theirs, with a layer normalisation behind it in a few."""
    return renamed(name, PREDRNN), as_it_is


def beta(golden: Golden) -> float:
    """The weight of the penalty, which only the numbers tell: a round one, so that both losses check it."""
    if "train_decouple" not in golden:
        return 0.0
    return round(float((golden["train_loss"] - golden["train_mse"]) / golden["train_decouple"]), 6)


@pytest.mark.parametrize("path", files("predrnn_[!p]*"), ids=lambda path: path.stem)
def test_predrnn(path: Path) -> None:
    """With layer normalisation and with the decoupling penalty of its second version, too."""
    golden = Golden(path)
    norm = bool(golden.config.get("layer_norm", 0))
    model = PredRNN(frame_shape(golden), layer_norm=norm, decoupling=beta(golden), **sizes(golden))
    speaks_as_its_authors(model, golden, predrnn_weight)


# --- PredRNN++ ------------------------------------------------------------------------------------

PREDRNN_PP = {
    r"^cell_list\.": "cells.",
    r"^gradient_highway\.(\w)_concat\.0": r"highway.\1",
    r"\.conv_c2m\.0": ".c_next",
    r"\.conv_om\.0": ".m_next",
    r"\.conv_(\w)\.0": r".\1",
    r"\.conv_last": ".last",
    r"^conv_last": "read_out",
}


def predrnn_pp_weight(name: str) -> Place:
    """A convolution of each of theirs."""
    return renamed(name, PREDRNN_PP), as_it_is


@pytest.mark.parametrize("path", files("predrnn_pp_*"), ids=lambda path: path.stem)
def test_predrnn_pp(path: Path) -> None:
    golden = Golden(path)
    speaks_as_its_authors(PredRNNpp(frame_shape(golden), **sizes(golden)), golden, predrnn_pp_weight)
