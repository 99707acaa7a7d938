"""Claims about the recurrent benchmark systems and the loop that they share."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from framecast.errors import UserError
from framecast.evaluation.causality import first_leak
from framecast.models.base import Forecaster
from framecast.models.layers.unroll import Unrolled, from_patches, to_patches
from framecast.models.predrnn_pp import GradientHighway
from framecast.study import catalogue

SYSTEMS = [
    name for name in catalogue.names("models") if issubclass(catalogue.load("models", name), Unrolled)
]  #: whoever uses the loop is asked
LENGTHS = {"context": 3, "horizon": 4}
EVERY = pytest.mark.parametrize("name", SYSTEMS)


def build(name: str, **arguments: object) -> Unrolled:  # type: ignore[type-arg]
    torch.manual_seed(0)
    small = {"depth": 2, "hidden_channels": 4, "kernel_size": 3, "patch_size": 2}
    return catalogue.load("models", name)((1, 4, 6), **{**small, **arguments})


def sequences(batch: int = 2, seed: int = 0) -> Tensor:
    shape = (batch, LENGTHS["context"] + LENGTHS["horizon"], 1, 4, 6)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_the_systems_are_found() -> None:
    assert {"convlstm_s", "predrnn", "predrnn_pp", "mim"} <= set(SYSTEMS)


def test_patches_are_row_then_column_then_colour_and_come_back() -> None:
    ramp = torch.arange(3 * 4 * 8.0).view(3, 4, 8)
    patches = to_patches(ramp, 2)
    assert patches.shape == (12, 2, 4)
    row, column = 3, 6
    for colour in range(3):
        channel = ((row % 2) * 2 + column % 2) * 3 + colour
        assert patches[channel, row // 2, column // 2] == ramp[colour, row, column]
    frames = torch.rand(2, 5, 3, 6, 9)
    assert torch.equal(from_patches(to_patches(frames, 3), 3), frames)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("convlstm_s", (11_675_648, 12_089_344, 11_520_512)),
        ("predrnn", (23_838_720, 24_559_616, 23_568_384)),
        ("predrnn_pp", (35_307_520, 36_028_416, 35_037_184)),
        ("mim", (37_945_344, 39_516_416, 46_522_368)),
    ],
)
def test_published_parameter_counts(name: str, published: tuple[int, ...]) -> None:
    """Those that are alive, of Moving MNIST, of colour frames of 100 pixels and of KTH in patches of 2."""
    with torch.device("meta"):
        for (shape, patch_size), parameters in zip(
            [((1, 64, 64), 4), ((3, 100, 100), 4), ((1, 128, 128), 2)], published, strict=True
        ):
            model = catalogue.load("models", name)(shape, depth=4, patch_size=patch_size)
            assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "published"), [("convlstm_s", 56.8), ("predrnn", 116.0), ("predrnn_pp", 171.7), ("mim", 179.2)]
)
def test_published_multiplications(name: str, published: float) -> None:
    """10^9 of them, of one sequence of Moving MNIST, as the benchmark counts: in convolutions alone."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        model = catalogue.load("models", name)((1, 64, 64), depth=4)
        model(torch.empty(1, 10, 1, 64, 64), 10)
    assert counter.get_total_flops() / 2e9 == pytest.approx(published, abs=0.06)


@EVERY
def test_the_horizon_is_free_and_a_longer_one_begins_alike(name: str) -> None:
    model, context = build(name).eval(), sequences()[:, :3]
    with torch.no_grad():
        torch.testing.assert_close(model(context, 9)[:, :2], model(context, 2))


@EVERY
def test_nothing_is_left_of_one_batch_in_the_next(name: str) -> None:
    """Not of a forecast, nor of a training step, whatever it computed in between."""
    first, second = sequences(3, seed=1), sequences(2, seed=2)
    alone = build(name)
    expected = alone(second[:, :3], 4), alone.lesson(second, second, 3).forecast
    model = build(name).train()
    model.lesson(first, first, 3).forecast.square().mean().backward()
    model.eval()(first[:, :3], 4)
    assert torch.equal(model(second[:, :3], 4), expected[0])
    assert torch.equal(model.train().lesson(second, second, 3).forecast, expected[1])


class _Taught(Forecaster):
    """A system in training, fed true frames all the way, asked as one that forecasts from a teacher."""

    def __init__(self, system: Unrolled) -> None:  # type: ignore[type-arg]
        super().__init__(system.frame_shape)
        self.system = system

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        assert teacher is not None
        frames = torch.cat([context, teacher], dim=1)
        given = torch.ones(len(frames), frames.shape[1] - 2, dtype=torch.bool)
        return self.system.lesson(frames, frames, context.shape[1], given).forecast[:, -horizon:]


@EVERY
def test_a_training_step_that_is_given_every_frame_looks_ahead_in_none(name: str) -> None:
    taught, context = _Taught(build(name)), sequences()[:, :3]
    assert first_leak(taught, context, 4) is None
    other = taught(context, 4, torch.rand(2, 4, 1, 4, 6))
    assert not torch.equal(taught(context, 4, torch.rand(2, 4, 1, 4, 6))[:, 1:], other[:, 1:])  # and it reads them


@EVERY
def test_a_mask_says_for_each_sequence_and_step_what_is_read(name: str) -> None:
    """Of a frame that is not given nothing is read, of one that is, what follows it depends on it."""
    model, truth = build(name), sequences(batch=3)
    given = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]], dtype=torch.bool)
    kept = torch.cat([torch.ones(3, 1), given, torch.zeros(3, 1)], dim=1).bool()  # the first frame is, the last is not
    seen = torch.where(kept[..., None, None, None], truth, torch.nan)
    forecast, target, _ = model.lesson(truth, truth, 3, given)
    assert torch.equal(model.lesson(seen, truth, 3, given).forecast, forecast)
    assert torch.equal(target, truth[:, 1:])
    assert forecast.shape == target.shape
    for row, step in kept[:, 1:].nonzero().tolist():
        changed = truth.clone()
        changed[row, step + 1] += 0.5
        moved = (model.lesson(changed, truth, 3, given).forecast != forecast).flatten(2).any(2)
        assert moved[row].tolist() == [t > step for t in range(6)]
        assert not moved[[other for other in range(3) if other != row]].any()


@EVERY
def test_what_is_inside_is_what_forecasts_and_the_gates_explain_it(name: str) -> None:
    """The top maps give the very forecasts; with one channel, whose mean is the gate, h′ and c′ follow from them."""
    model, truth = build(name, hidden_channels=1, depth=3).eval(), sequences()
    with torch.no_grad():
        layers = model.inside(truth[:, :-1])
        given = torch.ones(len(truth), truth.shape[1] - 2, dtype=torch.bool)
        top = layers[-1].hidden[..., ::2, ::2].flatten(0, 1)
        shown = from_patches(model.read_out(top).unflatten(0, (2, 6)), 2)
        torch.testing.assert_close(shown, model.lesson(truth, truth, 3, given).forecast, rtol=1e-6, atol=1e-6)
        assert len(layers) == 3
        for number, layer in enumerate(layers):
            for maps in (layer.hidden, layer.cell, layer.gates, *([] if layer.memory is None else [layer.memory])):
                assert maps.shape == (2, 6, 3 if maps is layer.gates else 1, 4, 6)
                assert torch.equal(maps[..., ::2, ::2], maps[..., 1::2, 1::2])  # one value for each patch
            i, f, o = (gate[..., ::2, ::2] for gate in layer.gates.unbind(2))
            c, memory = layer.cell[..., ::2, ::2], layer.memory
            if memory is None:
                squashed = c
            else:
                block = model.cells[number] if name != "mim" else [model.first, *model.blocks][number]
                both = torch.cat([c, memory[..., ::2, ::2]], dim=2)
                squashed = block.last(both.flatten(0, 1)).unflatten(0, (2, 6))
            torch.testing.assert_close(layer.hidden[..., ::2, ::2], o[:, :, None] * squashed.tanh())
            if name != "mim" or number == 0:  # a block's c′ is what MIM-S gives
                candidate = (c[:, 1:, 0] - f[:, 1:] * c[:, :-1, 0]) / i[:, 1:]
                assert candidate.abs().max() <= 1 + 1e-4
            assert 0 < min(i.min(), f.min()) <= max(i.max(), f.max()) < 1
            assert (o < 0).any() == (name == "predrnn_pp")


@EVERY
def test_a_sigmoid_keeps_the_forecasts_between_black_and_white(name: str) -> None:
    """And is fed back with them: the first forecast is the other network's, squashed, and the later ones are not."""
    plain, squashed = build(name).eval(), build(name, output="sigmoid").eval()
    with torch.no_grad():
        ours, other = squashed(sequences()[:, :3], 3), plain(sequences()[:, :3], 3).sigmoid()
    torch.testing.assert_close(ours[:, 0], other[:, 0], rtol=0, atol=1e-7)
    assert (ours[:, 1:] - other[:, 1:]).abs().max() > 1e-6
    assert 0 < ours.min() < ours.max() < 1


def test_the_decoupling_penalty_is_one_for_equal_increments_and_leaves_the_forecasts() -> None:
    plain, second = build("predrnn"), build("predrnn", decoupling=0.25)
    second.load_state_dict(plain.state_dict(), strict=False)
    truth = sequences()
    assert plain.lesson(truth, truth, 3).penalties == {}
    forecast, _, penalties = second.lesson(truth, truth, 3)
    assert torch.equal(forecast, plain.lesson(truth, truth, 3).forecast)
    (penalty,) = penalties.values()
    assert penalty.weight == 0.25
    assert 0 < penalty.value.item() < 1
    state = second.start(torch.zeros(2, 4, 2, 3))[0]._replace(delta_c=(delta := torch.rand(2, 4, 2, 3)), delta_m=-delta)
    assert second.penalties([[state]])["decoupling"].value.item() == pytest.approx(1)


def test_the_gradient_highway_lets_either_pass() -> None:
    highway, h, z = GradientHighway(2, 3), torch.rand(1, 2, 3, 3) + 0.1, torch.rand(1, 2, 3, 3)
    with torch.no_grad():
        for switch in (1e4, -1e4):
            highway.x.weight[2:] = switch * torch.eye(2)[..., None, None] * (torch.arange(9).view(3, 3) == 4)
            passed = (highway.x(h) + highway.z(z))[:, :2].tanh() if switch > 0 else z
            torch.testing.assert_close(highway(h, z), passed)


def test_a_patch_that_does_not_divide_the_frame_is_told_in_one_line() -> None:
    told = r"found patch_size 4 with frames of 4 × 6 pixels, allowed: .+; change .+ in params\.yaml"
    for name in SYSTEMS:
        with pytest.raises(UserError, match=f"^{told}$"):
            build(name, patch_size=4)
