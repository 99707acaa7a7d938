"""Claims about every system in ``models/``, and the parameter counts of the literature."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from framecast.evaluation.causality import first_leak
from framecast.models.base import Baseline, Forecaster
from framecast.models.seq2seq_convlstm import Seq2SeqConvLSTM
from framecast.models.seq2seq_lstm import LSTMCell, Seq2SeqLSTM
from framecast.study import catalogue

NAMES = catalogue.names("models")
TRAINED = [name for name in NAMES if not issubclass(catalogue.load("models", name), Baseline)]
CODED = {"layer_semantics": "as_coded", "handover": "as_coded"}


def frame_shape(name: str) -> tuple[int, ...]:
    return (3, 8, 8) if catalogue.frames("models", name) == "video" else (1,)


def build(name: str, **arguments: object) -> Forecaster:
    torch.manual_seed(0)
    given = {given: {"depth": 2, "context": 4}[given] for given in catalogue.given(name)}
    return catalogue.load("models", name)(frame_shape(name), **{**given, **arguments})


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_forecast_has_the_asked_shape_and_depends_on_the_context_alone(name: str) -> None:
    model = build(name).eval()
    context = torch.rand(2, 4, *frame_shape(name))
    if isinstance(model, Baseline):
        model.fit(torch.rand(50, 4, *frame_shape(name)), torch.rand(50, 3, *frame_shape(name)))
    with torch.no_grad():
        forecast = model(context, 3)
        again = model(torch.cat([context, torch.rand_like(context)]), 3)[:2]
    assert forecast.shape == (2, 3, *frame_shape(name))
    torch.testing.assert_close(again, forecast)
    assert first_leak(model, context, 3) is None


@pytest.mark.parametrize("name", TRAINED)
def test_every_parameter_receives_a_gradient_and_depth_counts_layers(name: str) -> None:
    model = build(name)
    model(torch.rand(2, 4, *frame_shape(name)), 3).square().mean().backward()
    still = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
    assert count(model) > count(build(name, depth=1))


@pytest.mark.parametrize("name", TRAINED)
def test_it_can_be_built_and_run_without_numbers(name: str) -> None:
    """What a cell will ask of a cluster is counted so: nothing on the way may depend on a value."""
    with FakeTensorMode():
        forecast = build(name)(torch.empty(2, 4, *frame_shape(name)), 6, torch.empty(2, 6, *frame_shape(name)))
        forecast.square().mean().backward()
    assert forecast.shape == (2, 6, *frame_shape(name))


@pytest.mark.parametrize(("depth", "parameters"), [(1, 116_033), (2, 182_081), (3, 248_129)])
def test_lstm_counts_as_coded(depth: int, parameters: int) -> None:
    assert count(Seq2SeqLSTM((1,), depth=depth, **CODED)) == parameters


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_lstm_as_trained_is_one_network_whatever_the_depth(depth: int) -> None:
    """And that network is the one that the code builds at depth 1, weight by weight."""
    trained = Seq2SeqLSTM((1,), depth=depth, layer_semantics="as_trained", handover="as_coded")
    coded = Seq2SeqLSTM((1,), depth=1, **CODED)
    coded.load_state_dict(trained.state_dict())
    context = torch.rand(2, 5, 1)
    assert torch.equal(trained(context, 3), coded(context, 3))


def test_lstm_of_one_cell_per_side() -> None:
    model = Seq2SeqLSTM((1,), depth=1, layer_semantics="as_described", handover="as_coded")
    assert count(model) == 49_985


@pytest.mark.parametrize(
    ("depth", "channels", "parameters"),
    [
        (1, 1, 1_036_097),
        (2, 1, 1_626_433),
        (3, 1, 2_216_769),
        (1, 3, 1_041_859),
        (2, 3, 1_632_195),
        (3, 3, 2_222_531),
    ],
)
def test_convlstm_counts(depth: int, channels: int, parameters: int) -> None:
    assert count(Seq2SeqConvLSTM((channels, 64, 64), depth=depth)) == parameters
    wide = Seq2SeqConvLSTM((channels, 64, 64), depth=depth, head_kernel="3x3x3")
    assert count(wide) == parameters + 1152 * channels


@pytest.mark.parametrize(("layer_semantics", "cells"), [("as_coded", 3), ("as_described", 2)])
def test_layer_semantics_count_cells(layer_semantics: str, cells: int) -> None:
    model = Seq2SeqConvLSTM((1, 8, 8), depth=2, hidden_channels=4, layer_semantics=layer_semantics)
    assert len(model.encoder) == len(model.decoder) == cells


def test_lstm_cell_equals_torch() -> None:
    """Our cell against nn.LSTMCell, whose gates stand in the same order."""
    ours, theirs = LSTMCell(3, 5), torch.nn.LSTMCell(3, 5)
    weight = ours.gates.weight.detach()
    with torch.no_grad():
        theirs.weight_ih.copy_(weight[:, :3])
        theirs.weight_hh.copy_(weight[:, 3:])
        theirs.bias_ih.copy_(ours.gates.bias)
        theirs.bias_hh.zero_()
    x, h, c = torch.rand(2, 3), torch.rand(2, 5), torch.rand(2, 5)
    torch.testing.assert_close(ours(x, (h, c)), theirs(x, (h, c)))


def test_convlstm_on_one_pixel_is_the_lstm() -> None:
    """On 1×1 maps only the kernel's centre acts, so ConvLSTM and LSTM must agree, whichever the handover."""
    for handover in ("as_coded", "as_described"):
        switches = {"layer_semantics": "as_described", "handover": handover, "depth": 2}
        video = Seq2SeqConvLSTM((1, 1, 1), hidden_channels=4, **switches)
        series = Seq2SeqLSTM((1,), hidden_size=4, **switches)
        centres = {name: p[..., 1, 1] if p.ndim > 2 else p for name, p in video.state_dict().items()}
        centres = {name.replace("read_out.conv", "read_out.0"): p for name, p in centres.items()}
        centres["read_out.0.weight"] = centres["read_out.0.weight"].flatten(1)
        series.load_state_dict(centres)
        context = torch.rand(2, 4, 1)
        torch.testing.assert_close(video(context[..., None, None], 3)[..., 0, 0], series(context, 3))


def test_as_coded_decoder_starts_from_the_top_hidden_state_alone() -> None:
    """Unrolled by hand: nothing of the lower layers and no cell state crosses over."""
    model = Seq2SeqLSTM((1,), depth=1, hidden_size=4, **CODED).eval()
    context = torch.rand(2, 5, 1)
    zeros = [(torch.zeros(2, 4), torch.zeros(2, 4))] * 2
    states = list(zeros)
    for t in range(5):
        x = context[:, t]
        for layer, cell in enumerate(model.encoder):
            states[layer] = cell(x, states[layer])
            x = states[layer][0]
    expected, states = [], list(zeros)
    for _ in range(3):
        for layer, cell in enumerate(model.decoder):
            states[layer] = cell(x, states[layer])
            x = states[layer][0]
        expected.append(model.read_out(x))
    torch.testing.assert_close(model(context, 3), torch.stack(expected, 1))


class _Peeking(Forecaster):
    """Forecasts the mean of the teacher up to and including one frame too many."""

    def __init__(self, ahead: int) -> None:
        super().__init__((1,))
        self.ahead = ahead
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, context: torch.Tensor, horizon: int, teacher: torch.Tensor | None = None) -> torch.Tensor:
        assert teacher is not None
        known = torch.cat([context[:, -1:], teacher], dim=1)
        return torch.stack([self.weight * known[:, : j + 1 + self.ahead].mean(1) for j in range(horizon)], 1)


def test_probe_names_the_first_leak_and_allows_teacher_forcing() -> None:
    context = torch.rand(2, 4, 1)
    assert first_leak(_Peeking(ahead=0), context, 3) is None
    assert first_leak(_Peeking(ahead=1), context, 3) == (1, 1)
