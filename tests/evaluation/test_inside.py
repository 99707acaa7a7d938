"""Claims about looking inside: what is seen is what forecasts, the maps follow their recipes, the number means it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from framecast.evaluation import inside
from framecast.models.base import Forecaster, Layer
from framecast.models.copy_last import CopyLast
from framecast.models.next_frame import NextFrame
from tests.models.test_next_frame import SWITCHES, sigmoid, small


def sequences(count: int = 3, channels: int = 2) -> Tensor:
    """Bright squares of 2×2 places that move to the right over black: (n, 5, C, 6, 5)."""
    frames = torch.zeros(count, 5, channels, 6, 5)
    for sequence in range(count):
        for step in range(4):
            frames[sequence, step, :, sequence : sequence + 2, step : step + 2] = 0.9
    frames[:, 4] = frames[:, 3]
    return frames


class Holds(Forecaster):
    """One layer whose hidden maps are a function of the frames."""

    def __init__(self, hidden) -> None:
        super().__init__((2, 6, 5))
        self.hidden = hidden

    def forward(self, context, horizon, teacher=None):
        raise NotImplementedError

    def inside(self, frames: Tensor) -> list[Layer]:
        hidden = self.hidden(frames)
        return [Layer(hidden, hidden, torch.full((*frames.shape[:2], 3, 6, 5), 0.5))]


# --- what is seen is what forecasts ---------------------------------------------------------------


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_hidden_maps_are_those_of_the_forward_pass(switches):
    model, frames = small(**switches), torch.rand(2, 5, 2, 6, 5)
    with torch.no_grad():
        layers, last = model.inside(frames), model.blocks[-1]
        maps = last.after(layers[-1].hidden.flatten(0, 1)).unflatten(0, frames.shape[:2])
        assert torch.equal(model.head(maps), model(frames[:, :1], 5, frames[:, 1:]))
        first = model.blocks[0]
        assert torch.equal(layers[0].hidden, first.cell(frames)[0])
        assert torch.equal(layers[0].cell[:, -1], first.cell(frames)[1][1])


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_gates_explain_the_states(switches):
    """With a single channel a mean over channels is the gate itself: h′ = o ⊙ activation(c′), by a second hand."""
    torch.manual_seed(3)
    model = NextFrame((2, 6, 5), depth=2, hidden_channels=1, **switches).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    with torch.no_grad():
        layers = model.inside(torch.rand(2, 5, 2, 6, 5))
    for layer in layers:
        squash = torch.relu if switches.get("cell") == "as_coded" else torch.tanh
        torch.testing.assert_close(layer.hidden[:, :, 0], layer.gates[:, :, 2] * squash(layer.cell[:, :, 0]))
        candidate = (layer.cell[:, 1:, 0] - layer.gates[:, 1:, 1] * layer.cell[:, :-1, 0]) / layer.gates[:, 1:, 0]
        if switches.get("cell") != "as_coded":
            assert candidate.abs().max() <= 1 + 1e-4


def test_masks_are_those_of_the_modules_that_have_them():
    model = small(peephole="none", normalisation="none", spatial_attention="last", channel_attention="last")
    with torch.no_grad():
        first, _, last = model.inside(torch.rand(2, 4, 2, 6, 5))
    assert first.spatial_attention is None
    assert first.channel_attention is None
    channel, spatial = model.blocks[-1].after
    pooled = last.hidden.mean((3, 4)).numpy()
    dense = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (channel.squeeze, channel.excite)
    ]
    expected = sigmoid(np.maximum(pooled @ dense[0][0].T + dense[0][1], 0) @ dense[1][0].T + dense[1][1])
    np.testing.assert_allclose(last.channel_attention, expected, rtol=1e-4)
    weighted = last.hidden * last.channel_attention[..., None, None]
    torch.testing.assert_close(last.spatial_attention, spatial.mask(weighted.flatten(0, 1))[:, 0].unflatten(0, (2, 4)))


def test_looking_leaves_no_trace():
    """Forecast and gradients are the same bits whether or not somebody looked."""
    frames = torch.rand(2, 5, 2, 6, 5)

    def step(model: NextFrame) -> list[Tensor]:
        forecast = model(frames[:, :1], 4, frames[:, 1:])
        forecast.square().sum().backward()
        return [forecast, *(p.grad for p in model.parameters())]

    for switches in SWITCHES:
        watched, alone = small(**switches), small(**switches)
        inside.maps(watched, frames)
        inside.alignment(watched, alone, [frames])
        assert all(map(torch.equal, step(watched), step(alone)))
        assert all(map(torch.equal, watched.buffers(), alone.buffers()))


# --- maps -----------------------------------------------------------------------------------------


def test_both_recipes_by_a_second_hand():
    model, frames = small(normalisation="batch_relu", spatial_attention="last", channel_attention="last"), sequences()
    found = {name: values.numpy() for name, values in inside.maps(model, frames).items()}
    with torch.no_grad():
        layers = model.inside(frames[:, :-1])
    digits = (frames[:, :-1] > 0.1).any(2).numpy()
    for number, layer in enumerate(layers, start=1):
        stored = {name.split("/")[2]: values for name, values in found.items() if f"layer-{number}/" in name}
        hidden = layer.hidden.numpy()
        magnitude = np.abs(hidden).mean(axis=2)
        assert stored["scale"] == pytest.approx(magnitude.max())
        np.testing.assert_allclose(stored["activation"] / 255 * stored["scale"], magnitude, atol=magnitude.max() / 500)
        for n, t in np.ndindex(hidden.shape[:2]):
            one = np.maximum(hidden[n, t].mean(axis=0), 0)
            expected = (one / (one.max() + 1e-7) * 255).astype(np.uint8)
            assert np.abs(stored["source"][n, t].astype(int) - expected).max() <= 1  # where float32 sums are cut
            for gate in range(3):
                values = layer.gates[n, t, gate].numpy()
                assert stored["gates"][n, t, gate, 0] == pytest.approx(values[digits[n, t]].mean(), rel=1e-5)
                assert stored["gates"][n, t, gate, 1] == pytest.approx(values[~digits[n, t]].mean(), rel=1e-5)
    mask = found["inside/layer-3/spatial_attention"] / 255
    np.testing.assert_allclose(mask, layers[-1].spatial_attention.numpy(), atol=0.51 / 255)
    np.testing.assert_array_equal(found["inside/layer-3/channel_attention"], layers[-1].channel_attention.numpy())
    assert "inside/layer-1/spatial_attention" not in found
    assert {len(values) for name, values in found.items() if not name.endswith("scale")} == {3}


def test_ours_compares_steps_and_the_source_does_not():
    """A layer that holds ten times less after one of two equal frames: ours shows it, the source's recipe hides it."""
    loud = torch.tensor([1.0, 0.1, 1.0, 1.0])[:, None, None, None]
    found = inside.maps(Holds(lambda frames: frames * loud), sequences()[:1, [0, 0, 0, 0, 0]])
    ours, source = (found[f"inside/layer-1/{name}"][0].amax((1, 2)).tolist() for name in ("activation", "source"))
    assert ours == [255, 26, 255, 255]
    assert min(source) >= 254


def test_what_shows_nothing_gives_nothing():
    model = CopyLast((2, 6, 5))
    assert inside.maps(model, sequences()) == {}
    assert inside.alignment(model, model, [sequences()]) == {}
    series = torch.rand(3, 5, 1)
    assert inside.maps(small(), series) == {}
    assert inside.alignment(small(), small(), [series]) == {}
    assert inside.alignment(small(), small(), [0 * sequences()]) == {}


# --- alignment ------------------------------------------------------------------------------------


def test_alignment_is_one_without_a_preference_and_high_for_a_copy_of_the_input():
    uniform, copies = Holds(torch.ones_like), Holds(lambda frames: frames.repeat(1, 1, 2, 1, 1))
    found = inside.alignment(copies, uniform, [sequences(2), sequences(3)[2:]])
    (layer,) = found["layers"]
    assert found["sequences"] == 3
    assert found["area"] == pytest.approx(4 / 30)
    assert layer["untrained"] == {"share": pytest.approx(4 / 30), "preference": pytest.approx(1)}
    assert layer["trained"] == {"share": pytest.approx(1), "preference": pytest.approx(30 / 4)}
    assert found["input"] == layer["trained"]
    assert layer["difference"] == pytest.approx(6.5)
    assert layer["low"] <= layer["difference"] <= layer["high"]


def test_a_silent_layer_prefers_no_place():
    silent = Holds(torch.zeros_like)
    (layer,) = inside.alignment(silent, silent, [sequences()])["layers"]
    assert layer["trained"]["preference"] == pytest.approx(1)


def test_the_sign_of_an_activation_does_not_matter_and_its_place_does():
    beside = Holds(lambda frames: -(frames < 0.1).float())
    (layer,) = inside.alignment(beside, Holds(lambda frames: -frames), [sequences()])["layers"]
    assert layer["trained"]["share"] == 0
    assert layer["untrained"]["share"] == pytest.approx(1)


def test_a_sequence_without_digits_does_not_count():
    model = small()
    with_blank = torch.cat([sequences(), torch.zeros(2, 5, 2, 6, 5)])
    assert inside.alignment(model, model, [with_blank]) == inside.alignment(model, model, [sequences()])


def test_batches_do_not_matter():
    model, frames = small(), sequences().repeat(4, 1, 1, 1, 1)
    whole = inside.alignment(model, model, [frames])
    parts = inside.alignment(model, model, frames.split(5))
    assert whole["layers"][2]["trained"]["share"] == pytest.approx(parts["layers"][2]["trained"]["share"], rel=1e-6)
