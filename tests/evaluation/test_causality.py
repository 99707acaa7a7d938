"""The causality probe: every honest system passes, a leak by one frame in one place is found and named."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from framecast.errors import UserError
from framecast.evaluation.causality import first_leak, in_words
from framecast.models.base import Forecaster
from framecast.models.next_frame import NextFrame
from framecast.study import catalogue

K = 8
VIDEO = (2, 8, 4)
SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])

#: Whatever a model's switches can be, as far as they change how steps are connected.
HONEST: dict[str, dict[str, Any]] = {
    "next_frame": {},
    "next_frame, as coded": {"cell": "as_coded", "peephole": "none"},
    "next_frame, attention": {
        "spatial_attention": "every",
        "channel_attention": "every",
        "normalisation": "batch_relu",
    },
    "next_frame, full maps": {"peephole": "full_map", "normalisation": "relu_batch", "head": "last_only"},
    "seq2seq_convlstm, as coded": {"layer_semantics": "as_coded", "handover": "as_coded"},
    "seq2seq_convlstm, wide head": {"head_kernel": "3x3x3"},
}
HONEST |= {name: {} for name in catalogue.trained()}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Frames of this size are not worth a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(name: str, seed: int, **arguments: object) -> Forecaster:
    kind = name.split(",")[0]
    torch.manual_seed(seed)
    width = {"hidden_size": 4} if catalogue.frames("models", kind) == "series" else {"hidden_channels": 4}
    width |= (
        {"translator_channels": 16} if "translator_channels" in catalogue.keyword_arguments(f"models.{kind}") else {}
    )
    width |= {"context": 1} if "context" in catalogue.given(kind) else {}
    made: Forecaster = catalogue.load("models", kind)(shape_of(kind), depth=2, **width, **arguments)
    return made


def shape_of(kind: str) -> tuple[int, ...]:
    return (1,) if catalogue.frames("models", kind) == "series" else VIDEO


@SEEDS
@pytest.mark.parametrize("name", HONEST)
def test_every_honest_system_passes(name: str, seed: int) -> None:
    model = built(name, seed, **HONEST[name])
    for context in (1, 3):
        assert first_leak(model, torch.rand(1, context, *model.frame_shape), K, seed=seed) is None


@SEEDS
@pytest.mark.parametrize("cell", ["as_described", "as_coded"])
def test_the_published_head_leaks_from_its_first_step(cell: str, seed: int) -> None:
    model = built("next_frame", seed, head="leaky", cell=cell)
    assert first_leak(model, torch.rand(1, 1, *VIDEO), K, seed=seed) == (1, 1)


# --- one leak in one place --------------------------------------------------------------------------


class Leaking(Forecaster):
    """An honest network, and one road from one future frame to one forecast step."""

    def __init__(
        self, step: int, frame: int, road: Callable[[Tensor], Tensor], place: tuple[Any, ...] = (...,)
    ) -> None:
        super().__init__(VIDEO)
        torch.manual_seed(0)
        self.honest = NextFrame(VIDEO, depth=1, hidden_channels=3, cell="as_coded")
        self.step, self.frame, self.place, self.road = step, frame, place, road
        self.gate = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.tensor(-5.0))
        self.dense = nn.Linear(1, 1)

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """The forecast, to one step of which something of one frame is added."""
        forecast = self.honest(context, horizon, teacher)
        if teacher is None or horizon != K:
            return forecast
        added = torch.zeros_like(forecast)
        added[(slice(None), self.step - 1, *self.place)] = self.road(self, teacher[:, self.frame - 1][:, *self.place])
        return forecast + added


ROADS: dict[str, Callable[[Leaking, Tensor], Tensor]] = {
    "in the open": lambda model, seen: seen,
    "very faintly": lambda model, seen: 1e-12 * seen,
    "through a gate that starts at zero": lambda model, seen: model.gate * seen,
    "through two of them": lambda model, seen: model.gate * (model.gate * seen),
    "through a unit that starts dead": lambda model, seen: torch.relu(seen + model.bias),
    "through three dead units": lambda model, seen: torch.relu(torch.relu(torch.relu(seen + model.bias) - 0.1) - 0.1),
    "cut off from the gradient": lambda model, seen: model.gate * seen.detach(),
    "as a comparison": lambda model, seen: (seen.detach() > 0.5).float(),
    "as one of many": lambda model, seen: torch.softmax(torch.stack([seen, seen**2]), dim=0)[0],
}
PAIRS = [(1, 1), (7, 7), (7, 8), (K, K), (1, K)]
PLACES: dict[str, tuple[Any, ...]] = {"everywhere": (...,), "one channel": (1,), "one pixel": (0, 4, 2)}


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "road", ["in the open", "through a gate that starts at zero", "through a unit that starts dead"]
)
def test_a_leak_by_one_frame_in_one_place_is_named(road: str, place: str, pair: tuple[int, int]) -> None:
    model = Leaking(*pair, ROADS[road], PLACES[place])
    assert first_leak(model, torch.rand(1, 1, *VIDEO), K) == pair


@SEEDS
@pytest.mark.parametrize("road", ROADS)
def test_no_road_is_hidden_well_enough(road: str, seed: int) -> None:
    context = torch.rand(1, 2, *VIDEO)
    assert first_leak(Leaking(5, 6, ROADS[road]), context, K, seed=seed) == (5, 6)


def test_a_leak_at_one_horizon_is_found_at_that_horizon() -> None:
    model, context = Leaking(3, 4, ROADS["in the open"]), torch.rand(1, 2, *VIDEO)
    assert first_leak(model, context, K) == (3, 4)
    assert first_leak(model, context, K - 1) is None


def test_of_several_leaks_the_first_is_named() -> None:
    class Both(Leaking):
        def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
            """A plain leak at step 6, and at step 4 one that only some draws of weights show."""
            assert teacher is not None
            forecast = super().forward(context, horizon, teacher).clone()
            forecast[:, 3] += ROADS["through a unit that starts dead"](self, teacher[:, 6])
            return forecast

    assert first_leak(Both(6, 6, ROADS["in the open"]), torch.rand(1, 1, *VIDEO), K) == (4, 7)


def test_an_output_that_hides_everything_is_taken_at_its_arithmetic() -> None:
    class Saturated(Leaking):
        def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
            """White, whatever is seen: nothing can clear what is connected."""
            return torch.sigmoid(1e6 + super().forward(context, horizon, teacher))

    assert first_leak(Saturated(5, 6, ROADS["in the open"]), torch.rand(1, 1, *VIDEO), K) == (5, 6)


# --- honest, and hard to tell -----------------------------------------------------------------------


class Attending(Forecaster):
    """Each step is a masked mean of all frames: what is masked is multiplied by zero, which NaN survives."""

    def __init__(self, ahead: int) -> None:
        super().__init__(VIDEO)
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("mask", torch.ones(K, K + 1).tril(ahead))

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Σ_i mask_ji x_i, scaled."""
        assert teacher is not None
        frames = torch.cat([context[:, -1:], teacher], dim=1)
        return self.weight * torch.einsum("ji,bi...->bj...", self.mask, frames)


class Sampling(Leaking):
    """Honest, and another forecast every time."""

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Noise is no frame."""
        return self.honest(context, horizon, teacher) + torch.randn(horizon, *VIDEO)


@SEEDS
def test_masks_and_samples_are_no_leaks(seed: int) -> None:
    context = torch.rand(2, 3, *VIDEO)
    assert first_leak(Attending(0), context, K, seed=seed) is None
    assert first_leak(Attending(1), context, K, seed=seed) == (1, 1)
    assert first_leak(Sampling(1, 1, ROADS["in the open"]), context, K, seed=seed) is None


def test_statistics_of_normalisation_are_no_leak_and_nothing_is_changed() -> None:
    model = built("next_frame", 0, normalisation="batch").train()
    model.blocks[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    context = torch.rand(2, 1, *VIDEO)
    torch.manual_seed(5)
    assert first_leak(model, context, K) is None
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.training, model.blocks[0].training, model.blocks[1].training) == (True, False, True)


def test_a_system_that_never_forecasts_a_number_cannot_be_probed() -> None:
    class Nowhere(Leaking):
        def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
            """Nothing but NaN."""
            return self.honest(context, horizon, teacher) * torch.nan

    with pytest.raises(UserError, match="not finite under each of 8 draws"):
        first_leak(Nowhere(1, 1, ROADS["in the open"]), torch.rand(1, 1, *VIDEO), K)


@pytest.mark.parametrize(
    ("leak", "replication", "words"),
    [
        (None, False, "causal: every forecast step depends only on frames that are known before it"),
        (None, True, "before it, so it needs no `replication: true`"),
        ((1, 1), False, "leaky: forecast step 1 sees future frame 1, the very frame it forecasts"),
        ((7, 8), False, "forecast step 7 sees future frame 8, one frame after the one it forecasts"),
        ((2, 5), True, "frame 5, 3 frames after the one it forecasts; trained only as a named replication"),
    ],
)
def test_a_verdict_in_words(leak: tuple[int, int] | None, replication: bool, words: str) -> None:
    assert words in in_words(leak, replication=replication)
