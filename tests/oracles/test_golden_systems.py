"""Each system against the numbers of its authors' own code: one mapping of weights, and the same questions."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from framecast.losses.bce import bce
from framecast.losses.gdl import gdl
from framecast.models.next_frame import NextFrame
from framecast.models.seq2seq_convlstm import Seq2SeqConvLSTM
from framecast.models.seq2seq_lstm import Seq2SeqLSTM
from framecast.models.simvp import DropPath, SimVP
from tests.oracles.golden import (
    EXACT,
    STORED,
    Golden,
    Place,
    agrees,
    agrees_in_float32,
    as_it_is,
    close,
    files,
    loaded,
    statistics_agree,
)


def renamed(name: str, rules: dict[str, str]) -> str:
    for pattern, replacement in rules.items():
        name = re.sub(pattern, replacement, name)
    return name


# --- Seq2Seq --------------------------------------------------------------------------------------


def coleman(name: str) -> Place:
    """enc.<j>.gates.layer, dec.<j>.gates.layer and fin; the head is written as a Conv3D of one step."""
    rules = {"^enc": "encoder", "^dec": "decoder", r"gates\.layer": "gates", "^fin": "read_out.conv"}
    head_of_maps = name == "fin.weight"
    return renamed(name, rules), (lambda weight: weight.unsqueeze(2)) if head_of_maps else as_it_is


def coleman_of_vectors(name: str) -> Place:
    return coleman(name)[0].replace("read_out.conv", "read_out.0"), as_it_is


@pytest.mark.parametrize("path", files("seq2seq_lstm_*"), ids=lambda path: path.stem)
def test_seq2seq_lstm(path: Path) -> None:
    golden, c = Golden(path), Golden(path).config
    model = Seq2SeqLSTM(
        (c["C"],), depth=c["n"], hidden_size=c["D"], layer_semantics="as_coded", handover="as_coded"
    ).eval()
    loaded(model, golden, coleman_of_vectors)
    agrees(model, golden, coleman_of_vectors, lambda frames: model(frames, c["K"]))
    agrees_in_float32(model, golden, lambda frames: model(frames, c["K"]))


@pytest.mark.parametrize("path", files("seq2seq_convlstm_*"), ids=lambda path: path.stem)
def test_seq2seq_convlstm(path: Path) -> None:
    golden, c = Golden(path), Golden(path).config
    model = Seq2SeqConvLSTM((c["C"], c["H"], c["W"]), depth=c["n"], hidden_channels=c["D"]).eval()
    loaded(model, golden, coleman)
    agrees(model, golden, coleman, lambda frames: model(frames, c["K"]))
    agrees_in_float32(model, golden, lambda frames: model(frames, c["K"]))


# --- next frame -----------------------------------------------------------------------------------


def keras(name: str) -> Place:
    """Kernels (rows, columns, in, out), that of the head with time in front; layers count from 1."""
    layer, part = name.split(".")
    index = int(layer[-1]) - 1 if layer != "head" else None
    to = {
        "kernel": f"blocks.{index}.cell.input.weight",
        "recurrent_kernel": f"blocks.{index}.cell.recurrent.weight",
        "bias": f"blocks.{index}.cell.input.bias",
        "gamma": f"blocks.{index}.after.0.weight",
        "beta": f"blocks.{index}.after.0.bias",
        "moving_mean": f"blocks.{index}.after.0.running_mean",
        "moving_variance": f"blocks.{index}.after.0.running_var",
    }[part]
    if index is None:
        to = {"kernel": "head.conv.weight", "bias": "head.conv.bias"}[part]
    return to, _out_in_last if "kernel" in part else as_it_is


def _out_in_last(weight: Tensor) -> Tensor:
    """(out, in, *places) → (*places, in, out)."""
    return weight.movedim((1, 0), (-2, -1))


@pytest.mark.parametrize("path", files("next_frame_*"), ids=lambda path: path.stem)
def test_next_frame(path: Path) -> None:
    golden, c = Golden(path), Golden(path).config
    shape, steps = (c["C"], c["H"], c["W"]), c["T"]
    model = NextFrame(shape, depth=3, hidden_channels=c["D"], cell="as_coded", peephole="none", head="leaky").eval()

    def run(frames: Tensor) -> Tensor:
        """Every frame is a true one, and each is answered with the next."""
        forecast: Tensor = model(frames[:, :1], steps, frames[:, 1:])
        return forecast

    loaded(model, golden, keras)
    agrees(model, golden, keras, run)
    agrees_in_float32(model, golden, run)

    loaded(model.train(), golden, keras)
    agrees(model, golden, keras, run, before="train_", digest="train_grad_digest")
    _statistics_agree_but_for_keras_variance(model, golden)


def _statistics_agree_but_for_keras_variance(model: NextFrame, golden: Golden) -> None:
    """Keras moves towards the biased variance of a batch, PyTorch towards n/(n − 1) of it."""
    c = golden.config
    count = c["B"] * c["T"] * c["H"] * c["W"]
    state = model.state_dict()
    for name, value in golden.under("train_buffer").items():
        ours = state[keras(name)[0]]
        if name.endswith("variance"):
            before = 0.99 * golden[f"param/{name}"]
            ours = before + (ours - before) * (count - 1) / count
        close(ours, value, EXACT, name)


@pytest.mark.parametrize("path", files("next_frame_*"), ids=lambda path: path.stem)
def test_losses_of_the_next_frame_system(path: Path) -> None:
    """In single precision, as the authors' code computes them."""
    golden = Golden(path)
    forecast, target = golden["output"].float(), golden["target"].float()
    ours = {
        "bce": bce(forecast, target, clamp="probability"),
        "gdl_alpha1": gdl(forecast, target, alpha=1, edges="zero_padded"),
        "gdl_alpha2": gdl(forecast, target, alpha=2, edges="zero_padded"),
    }
    stored = golden.under("loss")
    assert set(stored) == set(ours)
    for name, value in stored.items():
        close(ours[name].double().view(1), value, STORED, name)


# --- SimVP ----------------------------------------------------------------------------------------

SIMVP = {
    r"^enc\.enc\.(\d+)\.conv": r"encoder.\1",
    r"^dec\.dec\.(\d+)\.conv": r"decoder.\1",
    r"\.conv\.0\.": ".conv.",  # a convolution before a pixel shuffle
    r"^dec\.readout": "read_out",
    r"^hid\.enc\.(\d+)\.(block\.|(?=reduction))": r"translator.\1.",
    r"^hid\.enc": "translator.down",
    r"^hid\.dec": "translator.up",
    r"(down|up)\.(\d+)\.conv1": r"\1.\2.reduce",
    r"\.layers\.": ".branches.",
    r"attn\.proj_1": "attention.enter",
    r"attn\.proj_2": "attention.leave",
    r"attn\.spatial_gating_unit\.conv0": "attention.near",
    r"attn\.spatial_gating_unit\.conv_spatial": "attention.far",
    r"attn\.spatial_gating_unit\.conv1": "attention.gates",
    r"mlp\.fc1": "mlp.widen",
    r"mlp\.dwconv\.dwconv": "mlp.near",
    r"mlp\.fc2": "mlp.narrow",
    r"layer_scale_": "lambda",
    r"reduction": "resize",
}


def simvp_weight(name: str) -> Place:
    return renamed(name, SIMVP), torch.flatten if "layer_scale" in name else as_it_is


def simvp(golden: Golden) -> SimVP:
    c = golden.config
    family = golden.path.stem.split("_")[1]
    model = SimVP(
        (c["C"], c["H"], c["W"]),
        depth=c["N_T"],
        context=c["T"],
        translator="gsta" if family == "gsta" else "incepu",
        release="first" if family == "original" else "openstl",
        hidden_channels=c["hid_S"],
        translator_channels=c["hid_T"],
        encoder_blocks=c["N_S"],
        kernels=tuple(c.get("incep_ker", (3, 5, 7, 11))),
    )
    loaded(model, golden, simvp_weight)
    return model


@pytest.mark.parametrize("path", files("simvp_*"), ids=lambda path: path.stem)
def test_simvp(path: Path) -> None:
    golden = Golden(path)
    c, model = golden.config, simvp(golden).eval()
    agrees(model, golden, simvp_weight, lambda frames: model(frames, c["T"]))
    if "K_long" in c:
        long = {"after": "_long", "digest": "long_grad_digest"}
        agrees(model, golden, simvp_weight, lambda frames: model(frames, c["K_long"]), **long)
    with torch.no_grad():
        for horizon in range(1, c["T"]):
            close(model(golden["input"], horizon), golden["output"][:, :horizon], EXACT)
    agrees_in_float32(model, golden, lambda frames: model(frames, c["T"]))


@pytest.mark.parametrize("path", files("simvp_gsta_*"), ids=lambda path: path.stem)
def test_simvp_in_training(path: Path) -> None:
    """Statistics of the batch, without stochastic depth."""
    golden = Golden(path)
    model = simvp(golden).train()
    for module in model.modules():
        if isinstance(module, DropPath):
            module.rate = 0.0
    training = {"before": "train_", "digest": "train_grad_digest"}
    agrees(model, golden, simvp_weight, lambda frames: model(frames, golden.config["T"]), **training)
    statistics_agree(model, golden, simvp_weight)
