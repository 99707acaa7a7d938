"""Claims about SRVP and its ConvGRU that no other system makes: counts, ablations, what is remembered, dropout."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from framecast import plain_yaml
from framecast.data.base import StoredSplit
from framecast.errors import NotFinished, UserError
from framecast.evaluation.causality import first_leak
from framecast.losses.base import WeightedLoss
from framecast.models.convgru import ConvGRU
from framecast.models.layers.convgru import ConvGRUCell, ConvGRUForecaster
from framecast.models.srvp import SRVP, self_correlation, temporal_attention
from framecast.study import reading
from framecast.study.params import Training
from framecast.training.checkpoint import Checkpoints
from framecast.training.loop import Ledger, Trainer
from framecast.training.optimizers import Optimizer
from framecast.training.seeding import be_deterministic
from tests.conftest import ROOT
from tests.training.test_loop import StopAt

WITHOUT: dict[str, dict[str, Any]] = {
    "sa": {"standard_attention": False},
    "rfa": {"rfa": False},
    "crossatt": {"cross_attention": False},
}
SWITCHES = pytest.mark.parametrize("switches", [{}, *WITHOUT.values()], ids=["full", *WITHOUT])
SYSTEMS = pytest.mark.parametrize(
    ("kind", "switches"),
    [(ConvGRU, {}), (SRVP, {}), *((SRVP, switches) for switches in WITHOUT.values())],
    ids=["convgru", "srvp", *WITHOUT],
)


def small(kind: type[ConvGRUForecaster] = SRVP, **switches: Any) -> Any:
    torch.manual_seed(0)
    given = {"context": 4} if kind is SRVP else {}
    return kind((2, 6, 5), **{"depth": 2, "hidden_channels": 8, "kernel_size": 3, **given, **switches})


def count(module: torch.nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("switches", "parameters", "read_out"),
    [
        ({}, 18_309_525, 832),
        ({"context": 4, "frame_shape": (3, 100, 100)}, 18_364_043, 832),
        (WITHOUT["sa"], 18_158_613, 576),
        (WITHOUT["rfa"], 17_384_065, 768),
        (WITHOUT["crossatt"], 18_185_493, 832),
    ],
)
def test_counts_of_the_literature(switches: dict[str, Any], parameters: int, read_out: int) -> None:
    with torch.device("meta"):
        model = SRVP(**{"frame_shape": (1, 64, 64), "depth": 4, **switches})
    assert count(model) == parameters
    assert model.read_out.in_channels == read_out


def test_counts_of_the_blocks() -> None:
    with torch.device("meta"):
        model, plain = SRVP((1, 64, 64), depth=4), ConvGRU((1, 64, 64), depth=4)
    assert count(model.encoder) == count(model.forecaster) == 8_614_272
    assert (count(model.standard), count(model.recollection), count(model.reinforced)) == (148_608, 74_900, 849_984)
    assert count(model.read_out) == 7_489
    assert count(plain) == 17_233_153
    assert plain.read_out.in_channels == 512


@SYSTEMS
def test_steps_that_are_computed_twice_give_the_same_bits(
    kind: type[ConvGRUForecaster], switches: dict[str, Any]
) -> None:
    """Dropout drawn again as it was, running statistics moved once."""

    def trained(checkpoint_steps: bool) -> list[torch.Tensor]:
        model = small(kind, checkpoint_steps=checkpoint_steps, **switches).train()
        frames = torch.rand(2, 4, 2, 6, 5, requires_grad=True)
        torch.manual_seed(1)
        forecast = model(frames, 3)
        forecast.square().mean().backward()
        return [forecast, frames.grad, torch.rand(2), *(p.grad for p in model.parameters()), *model.buffers()]

    assert all(map(torch.equal, trained(False), trained(True)))


@SYSTEMS
def test_a_step_that_is_computed_twice_keeps_less(kind: type[ConvGRUForecaster], switches: dict[str, Any]) -> None:
    def kept(checkpoint_steps: bool) -> int:
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            return tensor

        model = small(kind, checkpoint_steps=checkpoint_steps, **switches)
        with FakeTensorMode(allow_non_fake_inputs=True), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            model(torch.empty(2, 4, 2, 6, 5), 3)
        return sum(sizes.values())

    assert kept(True) < kept(False) / 2


@SWITCHES
def test_an_ablation_is_causal_and_every_weight_of_it_learns(switches: dict[str, Any]) -> None:
    model = small(**switches)
    assert first_leak(model.eval(), torch.rand(1, 4, 2, 6, 5), 3) is None
    model.train()(torch.rand(2, 4, 2, 6, 5), 3).square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@SYSTEMS
def test_a_batch_does_not_know_the_one_before(kind: type[ConvGRUForecaster], switches: dict[str, Any]) -> None:
    model, first, second = small(kind, **switches).eval(), torch.rand(2, 4, 2, 6, 5), torch.rand(3, 4, 2, 6, 5)
    with torch.no_grad():
        alone = model(second, 3)
        model(first, 3)
        assert torch.equal(model(second, 3), alone)
        torch.testing.assert_close(model(second, 5)[:, :3], alone)


def test_of_more_frames_the_last_are_read_and_fewer_are_refused() -> None:
    model, frames = small().eval(), torch.rand(2, 6, 2, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(model(frames, 3), model(frames[:, 2:], 3))
    with pytest.raises(UserError, match="srvp: found 3 frames to read, allowed: 4 or more"):
        model(frames[:, :3], 3)


@SYSTEMS
def test_a_run_that_is_stopped_after_every_step_ends_in_the_same_bits(
    kind: type[ConvGRUForecaster], switches: dict[str, Any], tmp_path: Path
) -> None:
    """With its dropouts on, its running statistics moving, and steps that are computed twice."""
    rows = torch.rand(6, 7, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    recipe = Training(epochs=2, batch_size=2, optimizer="rmsprop", learning_rate=1e-3, weight_decay=1e-4)

    def run(folder: Path, at_most: int) -> tuple[dict[str, torch.Tensor], Ledger]:
        be_deterministic(1)
        for _ in range(7):
            train, validation = StoredSplit(rows[:4], torch.device("cpu")), StoredSplit(rows[4:], torch.device("cpu"))
            model = small(kind, checkpoint_steps=at_most == 1, **switches)
            loss = WeightedLoss({"bce": 1.0})
            made = Trainer(
                "the/cell", model, loss, train, validation, recipe, context=4, seed=1, device=torch.device("cpu")
            )
            with contextlib.suppress(NotFinished):
                made.fit(Checkpoints(folder, "key"), StopAt(at_most), lambda *_: None)
                return model.state_dict(), made.ledger
        raise AssertionError("it never ends")

    (whole, told), (parts, told_again) = run(tmp_path / "whole", 10**9), run(tmp_path / "parts", 1)
    assert told == told_again
    assert told.step == 4
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    "name",
    [
        *["srvp", "srvp_without_sa", "srvp_without_rfa", "srvp_without_crossatt", "convgru"],
        *[f"{name}_srvp_recipe" for name in ("convlstm_s", "predrnn", "predrnn_pp", "mim")],
    ],
)
def test_the_published_recipe_is_torch_s_rmsprop_under_a_cosine_that_does_not_move(name: str) -> None:
    """An epoch at a time of a period of 23 400 steps, as coded: 150 epochs change the rate by less than 0.02 %."""
    paper = reading.resolve({**plain_yaml.read(ROOT / "params.yaml"), "scale": "paper"})
    recipe = paper.recipe(name, "moving_mnist")
    assert (recipe.epochs, recipe.batch_size, recipe.schedule) == (150, 8, "constant")
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    mine = Optimizer(recipe.optimizer, [ours], recipe.betas, recipe.weight_decay)
    coded = torch.optim.RMSprop([theirs], lr=1e-5, momentum=0.9, weight_decay=1e-4)
    for step in range(10):
        for parameter in (ours, theirs):
            parameter.grad = (parameter.detach() * 3 + step).sin()
        mine.step(recipe.learning_rate)
        coded.step()
    assert torch.equal(ours, theirs)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(coded, T_max=23_400, eta_min=1e-7)
    coded.step()
    for _ in range(150):
        cosine.step()
    assert 0 < recipe.learning_rate - coded.param_groups[0]["lr"] < 2e-4 * recipe.learning_rate


# --- the parts ------------------------------------------------------------------------------------


def test_only_the_gates_see_a_dropped_input() -> None:
    """With the whole input dropped the gates forget x, the candidate does not."""
    torch.manual_seed(0)
    cell, x, h = ConvGRUCell(2, 4, 3, 0.5), torch.rand(1, 2, 5, 6), torch.rand(1, 4, 5, 6)
    cell.drop = torch.nn.Dropout(1.0)
    z, r = (cell.input_gates(torch.zeros_like(x)) + cell.hidden_gates(h)).sigmoid().chunk(2, dim=1)
    g = (cell.input_candidate(x) + cell.hidden_candidate(r * h)).tanh()
    torch.testing.assert_close(cell(x, h), (1 - z) * g + z * h)
    assert not torch.equal(cell.eval()(x, h), (1 - z) * g + z * h)


def test_a_self_correlation_is_of_rank_one_and_follows_its_definition() -> None:
    a = torch.randn(1, 4, 30, dtype=torch.double)
    (g,) = self_correlation(a)
    singular = torch.linalg.svdvals(g)
    assert float(singular[1]) < 1e-12 * float(singular[0])
    p = a[0] @ (a[0].exp() / a[0].exp().sum(0)).T / 30
    expected = torch.stack([p[:, j].norm() * a[0].norm(dim=0) for j in range(4)])
    torch.testing.assert_close(g, expected)


def test_weights_over_time_sum_to_one_and_one_query_keeps_its_sign() -> None:
    """A frame that is the opposite of the one query weighs least; of several queries only the strength counts."""
    key = torch.randn(1, 1, 3, 4, 5)
    keys = torch.cat([key, torch.zeros_like(key), -key], dim=1)
    _, one = temporal_attention(key, keys, keys)
    _, two = temporal_attention(torch.cat([key, key], dim=1), keys, keys)
    torch.testing.assert_close(one.sum(), torch.tensor(1.0))
    assert one[0, 0] > one[0, 1] > one[0, 2]
    torch.testing.assert_close(two[0, 0], two[0, 2])
    assert two[0, 0] > two[0, 1]


@pytest.mark.parametrize(
    ("switches", "ways"),
    [
        ({}, {"standard", "reinforced"}),
        (WITHOUT["sa"], {"reinforced"}),
        (WITHOUT["rfa"], {"standard"}),
        (WITHOUT["crossatt"], {"standard", "reinforced"}),
    ],
)
def test_it_tells_how_much_every_forecast_weighs_the_frames_that_it_read(
    switches: dict[str, Any], ways: set[str]
) -> None:
    model, frames = small(**switches).eval(), torch.rand(2, 5, 2, 6, 5)
    with torch.no_grad():
        before = model(frames, 3)
        seen = model.look_back(frames, 3)
        assert torch.equal(model(frames, 3), before)
    assert set(seen) == ways
    for weights in seen.values():
        assert weights.shape == (2, 3, 4)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))
    assert torch.equal(model.look_back(frames, 2)[min(ways)], seen[min(ways)][:, :2])


def test_what_it_holds_is_what_its_encoder_passes_on() -> None:
    model, frames = small().eval(), torch.rand(2, 4, 2, 6, 5)
    with torch.no_grad():
        tops, states = model.encode(frames)
        layers = model.inside(frames)
    torch.testing.assert_close(layers[-1].hidden, tops)
    for layer, state in zip(layers, states, strict=True):
        torch.testing.assert_close(layer.hidden[:, -1], state)
        i, f, o = layer.gates.unbind(2)
        torch.testing.assert_close(i + f, o)
