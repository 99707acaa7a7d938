"""Claims about every loss term: least at equality, a gradient to the forecast; second formulas of the simple ones."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from framecast.losses.base import WeightedLoss
from framecast.losses.features import vgg16, vgg16_weights
from framecast.study import catalogue
from framecast.study.grid import RAW

SECOND = {
    "mse": lambda p, y: np.mean((p - y) ** 2),
    "l1": lambda p, y: np.mean(np.abs(p - y)),
    "bce": lambda p, y: -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)),
}


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    draw = torch.rand(2, 2, 3, 1, 16, 16, generator=generator) * 0.98 + 0.01
    return draw[0].requires_grad_(), draw[1]


@pytest.fixture
def raw_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the file that ``perceptual`` reads."""
    monkeypatch.chdir(tmp_path)
    arrays = {name: tensor.numpy() for name, tensor in vgg16.he_weights(seed=1).items()}
    vgg16_weights.keep(arrays, "a test", RAW / catalogue.constant("losses.perceptual", "RAW_WEIGHTS"))


@pytest.mark.parametrize("term", catalogue.names("losses"))
def test_every_term_is_least_at_equality_and_reaches_the_forecast(term: str, raw_weights: None) -> None:
    forecast, target = pair()
    value = catalogue.load("losses", term)(forecast, target)
    assert (value.shape, value.dtype) == ((), torch.float32)
    best = catalogue.load("losses", term)(target, target)
    assert best.item() < value.item()
    (gradient,) = torch.autograd.grad(value, forecast)
    assert bool(gradient.isfinite().all())
    assert gradient.ne(0).double().mean() > 0.5


@pytest.mark.parametrize("term", SECOND)
def test_term_equals_its_second_formula(term: str) -> None:
    forecast, target = pair()
    value = catalogue.load("losses", term)(forecast, target)
    second = SECOND[term](forecast.detach().double().numpy(), target.double().numpy())
    assert value.item() == pytest.approx(second, rel=1e-5)
    value.backward()
    assert bool(forecast.grad.abs().gt(0).all())


@pytest.mark.parametrize(("clamp", "limit"), [("log", 100.0), ("probability", -math.log(1e-7))])
def test_bce_clamps_as_its_sources_do(clamp: str, limit: float) -> None:
    value = catalogue.load("losses", "bce")(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), clamp=clamp)
    assert float(value) == pytest.approx(limit, rel=1e-4)


def test_named_loss_is_the_weighted_sum_of_its_terms() -> None:
    forecast, target = pair()
    total, terms = WeightedLoss({"mse": 10.0, "l1": {"weight": 1.0}})(forecast, target)
    assert list(terms) == ["mse", "l1"]
    torch.testing.assert_close(total, 10 * terms["mse"] + terms["l1"])
