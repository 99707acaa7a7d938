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
from framecast.models.srvp import SRVP, self_correlation, temporal_attention
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
    gradients_agree,
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


# --- SRVP -----------------------------------------------------------------------------------------

SRVP_NAMES = {
    r"cell(\d+)\.": r"\1.",
    "^forecast": "forecaster",
    r"i2h": "input_gates",
    r"h2h": "hidden_gates",
    r"\.xg": ".input_candidate",
    r"\.hg": ".hidden_candidate",
    r"^step1\.sa\.": "standard.attention.",
    r"^step2\.sa\.": "reinforced.attention.",
    r"^step1\.(ta_to_sa|sa_to_ta)": r"standard.cross.\1",
    r"^step2\.(ta_to_sa|sa_to_ta)": r"reinforced.cross.\1",
    "ta_to_sa": "spatial",
    "sa_to_ta": "temporal",
    r"Wq": "query",
    r"Wk": "key",
    r"Wv": "value",
    r"^enc_sc\.lpconv\.layers\.0": "recollection.features",
    r"^enc_sc\.norm\.norm": "recollection.norm",
    r"^step2\.dec_sc\.norm\.norm": "reinforced.correlation.norm",
    r"^step2\.dec_sc\.conv2d": "reinforced.correlation.conv",
    r"^step2\.c_conv": "reinforced.context",
    r"^step2\.r_conv": "reinforced.reference",
    r"^step2\.sf_conv": "reinforced.spatial",
    r"^step2\.tf_conv": "reinforced.temporal",
    r"^output_layer\.0": "read_out",
}


def srvp_weight(name: str) -> Place:
    return renamed(name, SRVP_NAMES), as_it_is


def srvp(golden: Golden) -> SRVP:
    """Without its dropouts: they are off in every number of these files."""
    c = golden.config
    model = SRVP(
        (c["C"], c["H"], c["W"]),
        depth=c["L"],
        context=c["T"],
        hidden_channels=c["D"],
        kernel_size=c["k"],
        dropout=0.0,
        correlation_dropout=0.0,
    )
    loaded(model, golden, srvp_weight)
    return model


@pytest.mark.parametrize("path", files("srvp_*"), ids=lambda path: path.stem)
@pytest.mark.parametrize("checkpoint_steps", [False, True])
def test_srvp(path: Path, checkpoint_steps: bool) -> None:
    golden = Golden(path)
    c, model = golden.config, srvp(golden).eval()
    model.checkpoint_steps = checkpoint_steps
    agrees(model, golden, srvp_weight, lambda frames: model(frames, c["K"]))
    agrees_in_float32(model, golden, lambda frames: model(frames, c["K"]))


@pytest.mark.parametrize("path", files("srvp_*"), ids=lambda path: path.stem)
@pytest.mark.parametrize("checkpoint_steps", [False, True])
def test_srvp_in_training(path: Path, checkpoint_steps: bool) -> None:
    """φ normalises frame by frame; the gradients are those of the mean binary cross-entropy."""
    golden = Golden(path)
    c, model = golden.config, srvp(golden).train()
    model.checkpoint_steps = checkpoint_steps
    frames = golden["input"].requires_grad_()
    output = model(frames, c["K"])
    close(output, golden["train_output"], EXACT)
    loss = bce(output, golden["target"])
    close(loss.view(1), golden["train_loss"], EXACT)
    rows = golden["train_grad_digest"], golden.digest_rows("train_grad_digest")
    gradients_agree(model, golden, srvp_weight, loss, frames, golden["train_grad_input"], rows)
    statistics_agree(model, golden, srvp_weight)


@torch.no_grad()
@pytest.mark.parametrize("path", files("srvp_*"), ids=lambda path: path.stem)
def test_what_srvp_sees_at_its_first_forecast(path: Path) -> None:
    golden = Golden(path)
    c, model, inside = golden.config, srvp(golden).eval(), golden.under("inside")
    frames, depth = golden["input"], c["L"]
    assert model.standard is not None
    assert model.reinforced is not None
    assert model.recollection is not None

    tops, states = model.encode(frames)
    _, recollected = model.remember(frames, tops)
    first = model.forecaster(frames[:, -1], states)
    maps = torch.cat(first, dim=1)
    plain, reinforced = model.standard(first, tops), model.reinforced(maps, recollected)
    d = model.reinforced.correlation(maps)
    u = torch.linalg.vector_norm(torch.stack(first, dim=1), dim=1)
    looked = model.look_back(frames, c["K"])
    seen = {
        "encoder_output": tops,
        "enc_corr": recollected,
        "enc_g": model.recollection.correlation(frames),
        **{f"state{layer}": state for layer, state in enumerate(first)},
        "sa_ctx": plain.context,
        "sa_ref": plain.reference,
        "sa_f_s": plain.spatial,
        "sa_f_t": plain.temporal,
        "sa_weights_ta": plain.weights.unsqueeze(1),
        "sa_weights_ca1": model.standard.attention.weights(u, u),
        "sa_weights_ca2": model.standard.cross.spatial.weights(plain.context, plain.reference),
        "sa_weights_ca3": model.standard.cross.temporal.weights(plain.reference, plain.context),
        "rfa_d": d,
        "rfa_a_hat": model.reinforced.correlation.normalised(maps),
        "rfa_ctx": reinforced.context,
        "rfa_ref": reinforced.reference,
        "rfa_g_s": reinforced.spatial,
        "rfa_g_t": reinforced.temporal,
        "rfa_weights_ta": reinforced.weights.unsqueeze(1),
        "rfa_weights_ca4": model.reinforced.attention.weights(d, d),
        "rfa_weights_ca5": model.reinforced.cross.spatial.weights(reinforced.context, reinforced.reference),
        "rfa_weights_ca6": model.reinforced.cross.temporal.weights(reinforced.reference, reinforced.context),
    }
    assert set(seen) == set(inside)
    for name, value in inside.items():
        close(seen[name], value, EXACT, name)
    close(looked["standard"][:, :1], inside["sa_weights_ta"], EXACT)
    close(looked["reinforced"][:, :1], inside["rfa_weights_ta"], EXACT)
    assert [layer.hidden.shape for layer in model.inside(frames)] == [tops.shape] * depth
    close(model.inside(frames)[-1].hidden, tops, EXACT)


@torch.no_grad()
@pytest.mark.parametrize("path", files("srvp_*"), ids=lambda path: path.stem)
def test_the_blocks_of_srvp_alone(path: Path) -> None:
    golden = Golden(path)
    model = srvp(golden).eval()
    assert model.standard is not None
    assert model.reinforced is not None
    assert model.recollection is not None

    ta = golden.under("ta")
    for queries, name in ((ta["q"][:, :1], "q1"), (ta["q"], f"q{golden.config['L']}")):
        found, weights = temporal_attention(queries, ta["k"], ta["v"])
        close(found.unsqueeze(1), ta[f"out_{name}"], EXACT, name)
        close(weights.unsqueeze(1), ta[f"weights_{name}"], EXACT, name)

    ca = golden.under("ca")
    close(model.standard.attention(ca["q"], ca["k"], ca["v"]), ca["out"], EXACT)
    close(model.standard.attention.weights(ca["q"], ca["k"]), ca["weights"], EXACT)

    ssc, spatial = golden.under("ssc"), model.reinforced.correlation
    close(self_correlation(ssc["a"].flatten(2)), ssc["g"].flatten(2), EXACT)
    close(spatial.normalised(ssc["a"]), ssc["a_hat"], EXACT)
    close(spatial(ssc["a"]), ssc["d"], EXACT)

    tsc = golden.under("tsc")
    close(model.recollection.correlation(golden["input"]), tsc["g"], EXACT)
    close(model.recollection(golden["input"], tsc["e"]), tsc["e_hat"], EXACT)

    gru, cell = golden.under("gru"), model.encoder[1]
    close(cell(gru["x"], gru["h"]), gru["out"], EXACT)
    cell.drop = _Times(gru["drop"])
    close(cell(gru["x"], gru["h"]), gru["out_drop"], EXACT)


class _Times(torch.nn.Module):
    """A dropout that was drawn."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask
