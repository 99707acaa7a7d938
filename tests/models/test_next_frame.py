"""Claims about the next-frame ConvLSTM: its counts, its formulas by a second hand, its causality, its free run."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import Tensor

from framecast.evaluation.causality import first_leak
from framecast.models.next_frame import ChannelAttention, NextFrame, NextFrameCell, SpatialAttention

HEADS = ("causal", "leaky", "last_only")
CODED = {"cell": "as_coded", "peephole": "none"}
SWITCHES = [
    CODED,
    {"peephole": "full_map", "normalisation": "batch_relu", "spatial_attention": "every", "channel_attention": "last"},
    {"peephole": "none", "normalisation": "none", "head": "last_only"},
    {"normalisation": "relu_batch", "normalise_last": False, "head": "leaky"},
]


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def small(**switches: object) -> NextFrame:
    """A model with everything away from its initial zeros, in inference mode."""
    torch.manual_seed(0)
    model = NextFrame((2, 6, 5), depth=3, hidden_channels=4, **switches)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data += 0.2 * torch.rand_like(tensor)
    return model.eval()


@pytest.mark.parametrize(
    ("switches", "parameters"),
    [
        (CODED, 746_561),
        ({"peephole": "none"}, 746_561),
        ({"peephole": "full_map"}, 746_561 + 2_359_296),
        ({"peephole": "per_channel"}, 746_561 + 576),
        ({**CODED, "spatial_attention": "last"}, 746_561 + 98),
        ({**CODED, "spatial_attention": "every"}, 746_561 + 3 * 98),
        ({**CODED, "head": "last_only"}, 746_561 - 2 * 576),
    ],
)
def test_counts_of_the_literature(switches: dict[str, str], parameters: int) -> None:
    model = NextFrame((1, 64, 64), depth=3, **switches)
    assert count(model) == parameters
    running = sum(buffer.numel() for name, buffer in model.named_buffers() if "running" in name)
    assert running == 746_945 - 746_561


def test_each_block_has_the_count_of_its_kernel() -> None:
    model = NextFrame((1, 64, 64), depth=3, **CODED)
    assert [count(block.cell) for block in model.blocks] == [416_256, 295_168, 33_024]
    assert count(model.head) == 1_729
    assert [count(block.cell) for block in NextFrame((1, 8, 8), depth=2, **CODED).blocks] == [416_256, 295_168]


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """ "Same" cross-correlation of (C, H, W) with (O, C, k, k), by SciPy."""
    return np.stack(
        [sum(correlate(x[c], kernel[c], mode="same", method="direct") for c in range(len(x))) for kernel in weight]
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("peephole", ["none", "per_channel", "full_map"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_cell_follows_shi_et_al(peephole: str, activation: str) -> None:
    torch.manual_seed(1)
    cell = NextFrameCell(2, 3, 3, (5, 4), peephole=peephole, activation=activation).double()
    if cell.peephole is not None:
        cell.peephole.data.normal_()
    x = torch.rand(1, 4, 2, 5, 4, dtype=torch.double)
    hidden, _ = cell(x)

    weights = {name: value.detach().numpy() for name, value in cell.named_parameters()}
    xi, xf, xg, xo = np.split(weights["input.weight"], 4)
    hi, hf, hg, ho = np.split(weights["recurrent.weight"], 4)
    bi, bf, bg, bo = (b[:, None, None] for b in np.split(weights["input.bias"], 4))
    ci, cf, co = weights.get("peephole", np.zeros((3, 3, 1, 1)))
    squash = np.tanh if activation == "tanh" else (lambda a: np.maximum(a, 0))
    h = c = np.zeros((3, 5, 4))
    for t, frame in enumerate(x[0].numpy()):
        i = sigmoid(convolve(frame, xi) + convolve(h, hi) + ci * c + bi)
        f = sigmoid(convolve(frame, xf) + convolve(h, hf) + cf * c + bf)
        c = f * c + i * squash(convolve(frame, xg) + convolve(h, hg) + bg)
        o = sigmoid(convolve(frame, xo) + convolve(h, ho) + co * c + bo)
        h = o * squash(c)
        np.testing.assert_allclose(hidden[0, t].detach().numpy(), h, rtol=1e-9, atol=1e-12)


def test_weights_start_as_in_keras() -> None:
    torch.manual_seed(0)
    cell = NextFrameCell(1, 64, 3, (8, 8), peephole="full_map", activation="tanh")
    bias = cell.input.bias
    assert bias is not None
    assert cell.peephole is not None
    assert [part.unique().tolist() for part in bias.chunk(4)] == [[0.0], [1.0], [0.0], [0.0]]
    assert not cell.peephole.any()
    bound = (6 / (9 * 1 + 9 * 256)) ** 0.5
    assert 0.98 * bound < cell.input.weight.abs().max() <= bound
    rows = cell.recurrent.weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(256), atol=1e-4, rtol=0)


def test_attention_masks_by_hand() -> None:
    torch.manual_seed(2)
    x = torch.randn(1, 8, 9, 7)
    spatial, channel = SpatialAttention(), ChannelAttention(8)
    pooled = np.stack([x[0].mean(0).numpy(), x[0].max(0).values.numpy()])
    mask = sigmoid(convolve(pooled, spatial.conv.weight.detach().numpy()))
    np.testing.assert_allclose(spatial(x)[0].detach().numpy(), mask * x[0].numpy(), rtol=1e-4, atol=1e-6)
    assert count(spatial) == 98

    first, second = channel.squeeze, channel.excite
    squeezed = np.maximum(first.weight.detach().numpy() @ x[0].mean((1, 2)).numpy() + first.bias.detach().numpy(), 0)
    weights = sigmoid(second.weight.detach().numpy() @ squeezed + second.bias.detach().numpy())
    expected = weights[:, None, None] * x[0].numpy()
    np.testing.assert_allclose(channel(x)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_only_the_leaky_head_sees_the_frame_that_it_must_forecast(head: str) -> None:
    leak = first_leak(small(head=head), torch.rand(1, 1, 2, 6, 5), 6)
    assert leak == ((1, 1) if head == "leaky" else None)


@pytest.mark.parametrize("head", HEADS)
def test_where_the_gradient_goes(head: str) -> None:
    """dŷ_t/dx_{t+1} is exactly 0 but for the leaky head, where it is not for every t that has a next step."""
    model, steps = small(head=head), 5
    frames = torch.rand(1, steps, 2, 6, 5, requires_grad=True)
    forecast = model(frames[:, :1], steps, frames[:, 1:])
    for t in range(steps - 1):
        (gradient,) = torch.autograd.grad(forecast[:, t].sum(), frames, retain_graph=True)
        assert gradient[:, t].any()
        assert bool(gradient[:, t + 1].any()) == (head == "leaky")
        assert not gradient[:, t + 2 :].any()


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("context", [1, 2, 4])
def test_the_free_run_equals_reading_its_own_output_from_the_start(switches: dict[str, object], context: int) -> None:
    model = small(**switches)
    frames = torch.rand(2, context, 2, 6, 5)
    with torch.no_grad():
        carried = model(frames, 6)
        for _ in range(6):
            frames = torch.cat([frames, last_output(model, frames)], dim=1)
    torch.testing.assert_close(carried, frames[:, context:])


def last_output(model: NextFrame, frames: Tensor) -> Tensor:
    """The forecast of the frame after the last, all of the past computed anew."""
    return model(frames[:, :1], frames.shape[1], frames[:, 1:])[:, -1:]


def test_with_a_teacher_every_forecast_follows_true_frames() -> None:
    """One frame of context and 19 to forecast is the published 19 → 19."""
    model = small(head="causal")
    frames = torch.rand(2, 20, 2, 6, 5)
    with torch.no_grad():
        published = model(frames[:, :1], 19, frames[:, 1:])
        torch.testing.assert_close(model(frames[:, :10], 10, frames[:, 10:]), published[:, 9:])
        torch.testing.assert_close(model(frames[:, :7], 1), published[:, 6:7])


@pytest.mark.parametrize("normalisation", ["batch", "batch_relu", "relu_batch"])
def test_the_normalisation_by_hand(normalisation: str) -> None:
    """Statistics per channel over batch, time and places, ε inside the root; momentum for what inference sees."""
    torch.manual_seed(0)
    model = NextFrame((1, 5, 4), depth=1, hidden_channels=3, normalisation=normalisation, normalisation_momentum=0.1)
    block = model.blocks[0]
    batch_norm = next(module for module in block.modules() if isinstance(module, torch.nn.BatchNorm2d))
    with torch.no_grad():
        batch_norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        batch_norm.bias.copy_(torch.tensor([0.1, 0.0, -0.1]))
    x = torch.rand(2, 6, 1, 5, 4)
    hidden = block.cell(x)[0].detach().numpy()
    seen = np.maximum(hidden, 0) if normalisation == "relu_batch" else hidden
    axes = (0, 1, 3, 4)

    def normalised(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        gain, shift = (part.detach().numpy()[:, None, None] for part in (batch_norm.weight, batch_norm.bias))
        out = gain * (seen - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-3) + shift
        return np.maximum(out, 0) if normalisation == "batch_relu" else out

    trained = model.train().blocks[0](x, None)[0].detach().numpy()
    np.testing.assert_allclose(trained, normalised(seen.mean(axes), seen.var(axes)), rtol=1e-4, atol=1e-5)
    unbiased = seen.var(axes) * seen[:, :, 0].size / (seen[:, :, 0].size - 1)
    mean, variance = 0.1 * seen.mean(axes), 0.9 + 0.1 * unbiased
    inferred = model.eval().blocks[0](x, None)[0].detach().numpy()
    np.testing.assert_allclose(inferred, normalised(mean, variance), rtol=1e-4, atol=1e-5)
