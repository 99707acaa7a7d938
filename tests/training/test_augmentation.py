"""Augmentation moves whole sequences, hides nothing from the loss, and draws only what is asked for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from framecast.data.base import StoredSplit
from framecast.errors import UserError
from framecast.losses.base import WeightedLoss
from framecast.models.base import Forecaster
from framecast.study.params import Training
from framecast.training.augmentation import augmented, refuse_to_turn
from framecast.training.checkpoint import Checkpoints
from framecast.training.loop import Trainer
from framecast.training.seeding import seed_step
from tests.training.test_loop import CPU, StopAt

#: Each way to lay a frame down, written with array indices alone.
WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda x: x,
    "left-right": lambda x: x[..., :, ::-1],
    "up-down": lambda x: x[..., ::-1, :],
    "half": lambda x: x[..., ::-1, ::-1],
    "quarter": lambda x: x.swapaxes(-1, -2)[..., ::-1, :],
    "three quarters": lambda x: x.swapaxes(-1, -2)[..., :, ::-1],
    "transposed": lambda x: x.swapaxes(-1, -2),
    "transposed the other way": lambda x: x.swapaxes(-1, -2)[..., ::-1, ::-1],
}


def batch(count: int, height: int = 3, width: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).random((count, 4, 2, height, width), dtype=np.float32))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"flips": True}, ["as it is", "left-right", "up-down", "half"]),
        ({"rotations": True}, ["as it is", "quarter", "half", "three quarters"]),
        ({"flips": True, "rotations": True}, list(WAYS)),
    ],
    ids=["flips", "rotations", "both"],
)
def test_every_sequence_is_laid_down_as_a_whole_and_all_ways_are_as_likely(
    rule: dict[str, bool], expected: list[str]
) -> None:
    sequences = batch(1600)
    seed_step(1, 0)
    truth, seen = augmented(sequences, **{"flips": False, "rotations": False, "noise": 0.0} | rule)
    assert truth is seen
    assert truth.is_contiguous()
    found = [
        [name for name, way in WAYS.items() if np.array_equal(way(before), after)]
        for before, after in zip(sequences.numpy(), truth.numpy(), strict=True)
    ]
    assert all(len(names) == 1 for names in found)  # one way for all frames and channels of a sequence
    counts = {name: found.count([name]) for name in WAYS}
    mean = len(sequences) / len(expected)
    assert {name for name, count in counts.items() if abs(count - mean) < 5 * mean**0.5} == set(expected)
    assert sum(counts[name] for name in expected) == len(sequences)


def test_flips_leave_the_shape_of_oblong_frames() -> None:
    seed_step(1, 0)
    assert augmented(batch(8, 3, 5), flips=True, rotations=False, noise=0.0)[0].shape == (8, 4, 2, 3, 5)


def test_noise_is_gaussian_clipped_and_kept_from_the_truth() -> None:
    grey = torch.full((50, 10, 1, 8, 8), 0.5)
    seed_step(1, 0)
    truth, seen = augmented(grey, flips=False, rotations=False, noise=0.01)
    assert torch.equal(truth, torch.full_like(grey, 0.5))
    errors = (seen - truth).double()
    assert errors.mean().abs() < 5 * 0.01 / errors.numel() ** 0.5
    assert errors.std().item() == pytest.approx(0.01, rel=0.03)
    assert (errors.abs() < 0.01).double().mean().item() == pytest.approx(0.6827, abs=0.015)
    assert (errors[:, 1:] * errors[:, :-1]).mean().abs() < 0.03 * 0.01**2  # fresh in each frame
    _, clipped = augmented(torch.zeros(4, 3, 1), flips=False, rotations=False, noise=5.0)  # a series will do
    assert 0 <= clipped.min() < clipped.max() <= 1


def test_draws_are_those_of_the_step_and_none_when_all_is_off() -> None:
    sequences, rule = batch(64), {"flips": True, "rotations": True, "noise": 0.1}

    def drawn(seed: int, step: int) -> bytes:
        seed_step(seed, step)
        return augmented(sequences, **rule)[1].numpy().tobytes()

    assert drawn(1, 7) == drawn(1, 7)
    assert len({drawn(1, 7), drawn(1, 8), drawn(2, 7)}) == 3
    before = torch.get_rng_state()
    truth, seen = augmented(sequences, flips=False, rotations=False, noise=0.0)
    assert truth is seen is sequences
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, absent here")
def test_a_gpu_draws_what_the_cpu_draws() -> None:
    found = []
    for device in ("cpu", "cuda"):
        seed_step(1, 7)
        truth, seen = augmented(batch(64).to(device), flips=True, rotations=True, noise=0.1)
        assert seen.device.type == device
        found.append((truth.cpu(), seen.cpu()))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])  # a fused multiply-add may round otherwise


def test_the_model_reads_the_noise_and_the_loss_does_not_and_validation_knows_none(tmp_path: Path) -> None:
    read: dict[bool, list[Tensor]] = {True: [], False: []}
    asked: dict[bool, list[Tensor]] = {True: [], False: []}

    class Model(Forecaster):
        def __init__(self) -> None:
            super().__init__((1, 4, 4))
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
            assert teacher is not None
            assert teacher.shape[1] == horizon
            read[self.training].append(torch.cat([context, teacher], 1))
            return teacher * self.scale

    class Loss(WeightedLoss):
        def __call__(self, forecast: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            asked[forecast.requires_grad].append(target)
            return super().__call__(forecast, target)

    rows = torch.linspace(0.3, 0.7, 4).view(4, 1, 1, 1, 1).expand(4, 5, 1, 4, 4).contiguous()  # one grey per sequence
    recipe = Training(epochs=2, batch_size=4, learning_rate=1e-3, flips=True, rotations=True, noise=0.05)
    split = StoredSplit(rows, CPU)
    made = Trainer("c", Model(), Loss({"mse": 1.0}), split, split, recipe, context=3, seed=1, device=CPU)
    made.fit(Checkpoints(tmp_path, "key"), StopAt(99), lambda *_: None)
    assert len(read[True]) == len(asked[True]) == 2
    for seen, target in zip(read[True], asked[True], strict=True):
        clean = target[:, :1, :, :1, :1].expand_as(seen)
        assert torch.equal(target, clean[:, 3:])
        assert (seen != clean).float().mean(dim=(0, 2, 3, 4)).min() > 0.95  # every frame, context and teacher
    assert not torch.equal(read[True][0].sort(0).values, read[True][1].sort(0).values)
    assert all(torch.equal(seen, rows) for seen in read[False])
    assert all(torch.equal(target, rows[:, 3:]) for target in asked[False])


def test_frames_that_cannot_be_turned_are_refused_in_one_line() -> None:
    refuse_to_turn((3, 8, 8), "the/cell")
    with pytest.raises(UserError, match=r"^cell the/cell: found rotations with frames of 6 × 8 pixels, allowed: .+$"):
        refuse_to_turn((1, 6, 8), "the/cell")
