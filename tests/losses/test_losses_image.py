"""The terms of the hybrid loss against second implementations, and what their gradients may never touch."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from framecast.errors import UserError
from framecast.losses.base import WeightedLoss
from framecast.losses.features import vgg16, vgg16_weights
from framecast.losses.gdl import gdl
from framecast.losses.perceptual import RAW_WEIGHTS, perceptual
from framecast.losses.perceptual_seeded import SEED, perceptual_seeded
from framecast.losses.ssim import ssim
from framecast.metrics.base import Pair
from framecast.metrics.ssim import SsimGauss

OXFORD = Path(__file__).parents[2] / ".." / "shared" / "data" / "vgg16" / "vgg16_conv1_1_to_conv2_2_oxford_rgb.npz"


def videos(*shape: int, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """A forecast that wants a gradient, and a target."""
    forecast, target = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
    return forecast.requires_grad_(), target


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Weights where ``perceptual`` looks for them, with biases of their own: Oxford's where they are at hand."""
    monkeypatch.chdir(tmp_path)
    if OXFORD.is_file():
        arrays = vgg16_weights.from_npz(OXFORD)
    else:
        arrays = {name: (value + 0.5 * name.endswith("bias")).numpy() for name, value in vgg16.he_weights(SEED).items()}
    vgg16_weights.keep(arrays, "a test", Path("data/raw") / RAW_WEIGHTS)
    return arrays


# --- gdl ----------------------------------------------------------------------------------------------


def slow_gdl(p: np.ndarray, y: np.ndarray, alpha: int, padded: bool) -> float:
    """Pixel by pixel, as the paper's double sum."""
    *_, height, width = y.shape
    down, right = [], []
    for frame_p, frame_y in zip(p.reshape(-1, height, width), y.reshape(-1, height, width), strict=True):
        for i in range(height):
            for j in range(width):
                if i + 1 < height:
                    d = abs(frame_y[i + 1, j] - frame_y[i, j]) - abs(frame_p[i + 1, j] - frame_p[i, j])
                    down.append(abs(d) ** alpha)
                elif padded:
                    down.append(0.0)
                if j + 1 < width:
                    d = abs(frame_y[i, j + 1] - frame_y[i, j]) - abs(frame_p[i, j + 1] - frame_p[i, j])
                    right.append(abs(d) ** alpha)
                elif padded:
                    right.append(0.0)
    return float(np.mean(down) + np.mean(right))


@pytest.mark.parametrize("alpha", [1, 2])
@pytest.mark.parametrize("edges", ["valid", "zero_padded"])
def test_gdl_is_the_papers_sum_and_kartals_mean(alpha: int, edges: str) -> None:
    forecast, target = videos(2, 3, 2, 5, 7)
    second = slow_gdl(forecast.detach().numpy(), target.numpy(), alpha, edges == "zero_padded")
    assert gdl(forecast, target, alpha=alpha, edges=edges).item() == pytest.approx(second, rel=1e-5)


@pytest.mark.parametrize("alpha", [1, 2])
def test_gdl_has_a_gradient_of_numbers_everywhere_and_does_not_look_across_time(alpha: int) -> None:
    forecast = torch.zeros(1, 2, 1, 4, 4, requires_grad=True)
    gdl(forecast, torch.eye(4).expand(1, 2, 1, 4, 4), alpha=alpha).backward()
    assert bool(forecast.grad.isfinite().all())
    moved = torch.eye(4).expand(1, 2, 1, 4, 4) + torch.tensor([0.0, 0.3]).view(1, 2, 1, 1, 1)
    assert gdl(moved, torch.eye(4).expand(1, 2, 1, 4, 4), alpha=alpha).item() == pytest.approx(0, abs=1e-6)


# --- ssim ---------------------------------------------------------------------------------------------


def test_ssim_is_that_of_scikit_image_and_of_our_metric() -> None:
    forecast, target = videos(2, 3, 2, 16, 13)
    p, y = forecast.detach().numpy().reshape(-1, 16, 13), target.numpy().reshape(-1, 16, 13)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    second = np.mean([structural_similarity(a, b, **options) for a, b in zip(p, y, strict=True)])
    assert ssim(forecast, target).item() == pytest.approx(1 - second, rel=1e-5)
    metric = SsimGauss(3, (2, 16, 13))
    assert ssim(forecast, target).item() == pytest.approx(
        1 - metric.values(Pair(forecast.detach(), target)).mean().item(), rel=1e-5
    )
    assert ssim(target, target).item() == 0.0


def test_ssims_gradient_is_that_of_small_steps_and_leads_to_the_target() -> None:
    torch.manual_seed(0)
    forecast = torch.rand(1, 1, 1, 12, 12, dtype=torch.float64, requires_grad=True)
    target = torch.rand(1, 1, 1, 12, 12, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: ssim(p, target), (forecast,))
    with pytest.raises(UserError, match=r"loss term ssim: found frames of 10×12 pixels; allowed: at least 11×11"):
        ssim(forecast[..., :10, :], target[..., :10, :])


# --- perceptual ---------------------------------------------------------------------------------------


def slow_features(images: np.ndarray, layers: dict[str, np.ndarray]) -> np.ndarray:
    """VGG16 to block2_conv2 in float64, one kernel position at a time: (n, 3, h, w) to (n, 128, h/2, w/2)."""

    def convolved(x: np.ndarray, name: str) -> np.ndarray:
        kernel, bias = layers[f"{name}.weight"].astype(float), layers[f"{name}.bias"].astype(float)
        height, width = x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        total = np.zeros((len(x), len(kernel), height, width)) + bias[:, None, None]
        for i in range(3):
            for j in range(3):
                total += np.einsum("oc,nchw->nohw", kernel[:, :, i, j], padded[:, :, i : i + height, j : j + width])
        return np.maximum(total, 0)

    x = convolved(convolved(images, "conv1_1"), "conv1_2")
    x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max(axis=(3, 5))
    return convolved(convolved(x, "conv2_1"), "conv2_2")


def slow_distance(
    p: np.ndarray, y: np.ndarray, layers: dict[str, np.ndarray], centred: bool, normalised: bool
) -> float:
    found = []
    for video in (p, y):
        frames = video.reshape(-1, *video.shape[2:]).astype(float)
        images = 255 * np.repeat(frames, 3 // frames.shape[1], axis=1)
        mean = np.array([123.68, 116.779, 103.939])[:, None, None]
        features = slow_features(images - mean if centred else images[:, ::-1], layers)
        if normalised:
            features = features / np.sqrt(np.maximum((features**2).sum(1, keepdims=True), 1e-12))
        found.append(features)
    return float(np.mean((found[0] - found[1]) ** 2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("inputs", ["as_coded", "as_trained"])
@pytest.mark.parametrize("normalised", [True, False])
def test_perceptual_is_a_second_networks(
    kept: dict[str, np.ndarray], channels: int, inputs: str, normalised: bool
) -> None:
    forecast, target = videos(1, 2, channels, 8, 6)
    second = slow_distance(forecast.detach().numpy(), target.numpy(), kept, inputs == "as_trained", normalised)
    value = perceptual(forecast, target, inputs=inputs, normalised=normalised)
    assert value.item() == pytest.approx(second, rel=1e-4)
    assert second > 0


def test_perceptual_seeded_is_a_second_networks_on_random_weights() -> None:
    forecast, target = videos(1, 2, 1, 8, 6)
    layers = {name: value.numpy() for name, value in vgg16.he_weights(SEED).items()}
    for normalised in (True, False):
        second = slow_distance(forecast.detach().numpy(), target.numpy(), layers, True, normalised)
        assert perceptual_seeded(forecast, target, normalised=normalised).item() == pytest.approx(second, rel=1e-4)


def test_the_network_has_its_parameters_and_its_features_their_shape() -> None:
    network = vgg16.Block2(vgg16.he_weights(SEED))
    assert sum(parameter.numel() for parameter in network.parameters()) == 260_160
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    features = network(255 * torch.rand(2, 3, 16, 12))
    assert features.shape == (2, 128, 8, 6)
    assert float(features.min()) == 0.0  # after the last ReLU
    assert network(torch.rand(1, 3, 7, 5)).shape == (1, 128, 3, 2)


def test_random_weights_are_hes_and_always_the_same() -> None:
    drawn = vgg16.he_weights(SEED)
    for name, (inputs, _) in vgg16.CONVOLUTIONS.items():
        assert float(drawn[f"{name}.weight"].std()) == pytest.approx((2 / (9 * inputs)) ** 0.5, rel=0.05)
        assert not drawn[f"{name}.bias"].any()
    first, last = drawn["conv1_1.weight"].flatten()[0], drawn["conv2_2.weight"].flatten()[-1]
    assert (first.item().hex(), last.item().hex()) == ("-0x1.222d0e0000000p-2", "-0x1.7992020000000p-5")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dark=st.floats(0, 1), sparse=st.floats(0, 1))
def test_the_normalised_term_is_at_most_two_of_128(seed: int, dark: float, sparse: float) -> None:
    """Whatever is compared: noise, black frames, frames that have nothing in common."""
    forecast, target = videos(1, 1, 1, 8, 8, seed=seed)
    forecast, target = dark * forecast.detach(), target * (target > sparse)
    for term in TERMS_AT_HAND:
        assert 0 <= term(forecast, target).item() <= 2 / 128 * (1 + 1e-5)
        assert term(target, target).item() == 0.0


TERMS_AT_HAND: list[Callable[..., torch.Tensor]] = [perceptual_seeded]
if OXFORD.is_file():
    _oxford = vgg16.Block2({name: torch.from_numpy(array) for name, array in vgg16_weights.from_npz(OXFORD).items()})
    TERMS_AT_HAND += [
        lambda p, y: vgg16.distance(_oxford, p, y, centred=False, normalised=True),
        lambda p, y: vgg16.distance(_oxford, p, y, centred=True, normalised=True),
    ]


@pytest.mark.parametrize("term", [perceptual, perceptual_seeded])
def test_the_gradient_reaches_the_forecast_and_nothing_else(kept: object, term: Callable[..., torch.Tensor]) -> None:
    forecast, target = videos(1, 2, 1, 8, 8)
    target.requires_grad_()
    state, built = torch.get_rng_state(), []

    class Watched(vgg16.Block2):
        def __init__(self, weights: dict[str, torch.Tensor]) -> None:
            super().__init__(weights)
            built.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg16, "Block2", Watched)
        forget_networks(term)
        term(forecast, target).backward()
    forget_networks(term)
    assert bool(forecast.grad.abs().sum() > 0)
    assert target.grad is None
    assert [parameter.grad for parameter in built[0].parameters()] == [None] * 8
    assert torch.equal(state, torch.get_rng_state())


def forget_networks(term: Callable[..., torch.Tensor]) -> None:
    """Forget the networks that a term has built."""
    for function in vars(__import__(term.__module__, fromlist=["_"])).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.mark.parametrize("term", [perceptual, perceptual_seeded])
@pytest.mark.parametrize("normalised", [True, False])
def test_the_perceptual_gradient_is_that_of_a_small_step(
    kept: object, term: Callable[..., torch.Tensor], normalised: bool
) -> None:
    forecast, target = videos(1, 2, 1, 8, 8)
    term(forecast, target, normalised=normalised).backward()
    step = 2e-3 * forecast.grad / forecast.grad.norm()
    with torch.no_grad():
        further, nearer = (term(forecast + sign * step, target, normalised=normalised) for sign in (1, -1))
    assert (further - nearer).item() / 4e-3 == pytest.approx(forecast.grad.norm().item(), rel=0.02)


@pytest.mark.parametrize("term", [perceptual, perceptual_seeded])
def test_autocast_and_half_precision_frames_change_nothing(kept: object, term: Callable[..., torch.Tensor]) -> None:
    forecast, target = (video.detach().bfloat16() for video in videos(1, 1, 1, 8, 8))
    plain = term(forecast.float(), target.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(term(forecast, target), plain)
    assert plain.dtype == torch.float32


@pytest.mark.skipif(not OXFORD.is_file(), reason="needs Oxford's weights, absent here")
def test_real_weights_see_an_edge_where_it_is(kept: object) -> None:
    """Oxford's features tell a shifted edge from a dimmed one: the first is further away."""
    assert vgg16_weights.are_oxfords(vgg16_weights.from_npz(OXFORD))
    edge = torch.zeros(1, 1, 1, 32, 32)
    edge[..., 12:] = 1
    shifted = edge.roll(4, -1)
    assert 2 / 128 > perceptual(shifted, edge).item() > 2 * perceptual(0.8 * edge, edge).item() > 0


def test_without_weights_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data/raw" / RAW_WEIGHTS
    told = f"{re.escape(str(path))}: .*`framecast fetch vgg16`.*perceptual_seeded"
    with pytest.raises(UserError, match=told) as refused:
        perceptual(*videos(1, 1, 1, 8, 8))
    assert "\n" not in str(refused.value)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    with pytest.raises(UserError, match="delete it and run `framecast fetch vgg16`"):
        perceptual(*videos(1, 1, 1, 8, 8))
    with pytest.raises(UserError, match="found frames of 2 channels; allowed: 1"):
        perceptual_seeded(*videos(1, 1, 2, 8, 8))


# --- the sum ------------------------------------------------------------------------------------------


def test_shares_are_those_of_the_gradient_and_leave_no_trace() -> None:
    forecast, target = videos(2, 3, 1, 16, 16)
    hybrid = {"bce": {"weight": 10.0, "clamp": "probability"}, "perceptual_seeded": 0.1, "gdl": 0.1}
    loss, state = WeightedLoss(hybrid), torch.get_rng_state()
    shares = loss.shares(forecast, target)
    assert forecast.grad is None
    assert torch.equal(state, torch.get_rng_state())
    norms = {}
    for name, weight in loss.weights.items():
        _, terms = loss(forecast, target)
        norms[name] = float(torch.autograd.grad(weight * terms[name], forecast)[0].norm())
    total = sum(norms.values())
    assert shares == pytest.approx({name: norm / total for name, norm in norms.items()})
    assert shares["perceptual_seeded"] < 0.01 < shares["bce"]  # inert, and visible as such
    with torch.no_grad():
        assert loss.shares(forecast, target) == shares
        assert WeightedLoss({"mse": 1.0}).shares(target, target) == {"mse": 0.0}


def test_fewer_random_features_have_a_bound_of_their_own() -> None:
    generator = torch.Generator().manual_seed(0)
    forecast, target = torch.rand(2, 2, 3, 1, 16, 16, generator=generator)
    network = vgg16.Block2(vgg16.he_weights(SEED, 8))
    assert network(torch.rand(1, 3, 16, 16)).shape == (1, 16, 8, 8)
    assert 0 < perceptual_seeded(forecast, target, channels=8).item() <= 2 / 16
