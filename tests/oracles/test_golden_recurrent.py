"""The recurrent benchmark systems against the numbers of their authors' own code, in the loop that they share."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from framecast.models.convlstm_s import ConvLSTMS
from framecast.models.layers.unroll import Unrolled, to_patches
from framecast.models.mim import MIM, BlockState
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
Block = Callable[..., Iterable[Tensor]]
ORDER = ("h", "c", "m", "delta_c", "delta_m", "s", "z")  #: of a block's outputs in the files


def sizes(golden: Golden) -> dict[str, int]:
    """The arguments that all of these systems share."""
    c = golden.config
    return {"depth": c["L"], "hidden_channels": c["D"], "kernel_size": c["k"], "patch_size": c["p"]}


def frame_shape(golden: Golden) -> tuple[int, int, int]:
    c = golden.config
    return c["C"], c["H"], c["W"]


def speaks_as_its_authors(model: Unrolled[Any], golden: Golden, place: Mapping, **blocks: Block) -> None:
    """Forecasts, all one-step forecasts of a masked training step, its loss, every gradient of both, and one step of
    each single building block that the file has.
    """
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
    assert set(blocks) == {name.split("/")[0] for name in golden.arrays if "/out_" in name}
    for group, block in blocks.items():
        _steps_as_its_authors(golden, group, block)
    agrees_in_float32(model.eval(), golden, run)


def _learns_as_its_authors(model: Unrolled[Any], golden: Golden, place: Mapping, kind: str, given: Tensor) -> None:
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


def _steps_as_its_authors(golden: Golden, group: str, block: Block) -> None:
    """One step of a building block, and the gradients of Σ_j j · out_j ⊙ loss_weight with respect to what it reads."""
    stored = golden.under(group)
    names = [name for name in ORDER if f"out_{name}" in stored]
    inputs = {name.removeprefix("grad_"): stored[name.removeprefix("grad_")] for name in stored if "grad_" in name}
    assert (len(names), len(inputs)) == tuple(sum(name.startswith(of) for name in stored) for of in ("out_", "grad_"))
    outputs = block(**{name: value.requires_grad_() for name, value in inputs.items()})
    objective = torch.zeros(())
    for j, (name, ours) in enumerate(zip(names, outputs, strict=True), start=1):
        close(ours, stored[f"out_{name}"], EXACT, f"{group} {name}")
        objective = objective + j * (ours * stored["loss_weight"]).sum()
    gradients = torch.autograd.grad(objective, list(inputs.values()))
    for name, gradient in zip(inputs, gradients, strict=True):
        close(gradient, stored[f"grad_{name}"], EXACT, f"{group} {name}")


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
    model = ConvLSTMS(frame_shape(golden), **sizes(golden))
    speaks_as_its_authors(model, golden, convlstm_weight, cell1=lambda x, h, c: model.cells[1](x, (h, c)))


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
    told = 5 if model.decoupling else 3  # of a cell's outputs: Δc and Δm are the penalty's

    def cell(**read: Tensor) -> tuple[Tensor, ...]:
        after: tuple[Tensor, ...] = model.cells[1](**read)
        return after[:told]

    speaks_as_its_authors(model, golden, predrnn_weight, cell1=cell)


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
    model = PredRNNpp(frame_shape(golden), **sizes(golden))

    def highway(x: Tensor, z: Tensor) -> list[Tensor]:
        assert model.highway is not None
        return [model.highway(x, z)]

    speaks_as_its_authors(model, golden, predrnn_pp_weight, cell1=lambda **read: model.cells[1](**read), ghu=highway)


# --- MIM ------------------------------------------------------------------------------------------

MIM_NAMES = {
    r"^stlstm_layer\.0\.conv_(\w)\.0": r"first.\1.0",
    r"^stlstm_layer\.0\.conv_last": "first.last",
    r"conv_x_cc\.0": "x",
    r"conv_t_cc\.0": "h",
    r"conv_s_cc\.0": "m",
    r"^(stlstm_layer\.\d+)\.(conv_\w_concat|ct_weight|oc_weight)": r"\1.mim_s.\2",
    r"conv_x_concat\.0": "x",
    r"conv_h_concat\.0": "y",
    r"(ct|oc)_weight": "peephole",
    r"\.conv_last": ".last",
    r"^conv_last": "read_out",
    "stlstm_layer_diff": "mim_n",
}


def mim_weight(name: str) -> Place:
    """Layer l of theirs, counted from 0, is block l − 1; the peepholes of i and f lie in one array, o's in another."""
    to = re.sub(r"^stlstm_layer\.(\d+)", lambda found: f"blocks.{int(found[1]) - 1}", renamed(name, MIM_NAMES))
    if name.endswith("ct_weight"):
        return to, lambda maps: maps[:2].flatten(0, 1)
    return to, (lambda maps: maps[2]) if name.endswith("oc_weight") else as_it_is


@pytest.mark.parametrize("path", files("mim_*"), ids=lambda path: path.stem)
def test_mim(path: Path) -> None:
    """With the past of its cells in the gradients, which the published code cuts off."""
    golden = Golden(path)
    model = MIM(frame_shape(golden), **sizes(golden))

    def block(x: Tensor, diff: Tensor, h: Tensor, c: Tensor, m: Tensor, s: Tensor) -> list[Tensor]:
        after, m = model.blocks[0](x, diff, BlockState(h, c, s), m)
        return [after.h, after.c, m, after.s]

    def mim_n(x: Tensor, h: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        out: tuple[Tensor, Tensor] = model.mim_n[0](x, h, s)
        return out

    speaks_as_its_authors(model, golden, mim_weight, cell1=block, mimn=mim_n)
