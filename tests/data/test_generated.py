"""The drawn series: each sequence a function of its index alone, and the error floors that the generators imply."""

from pathlib import Path

import numpy as np
import pytest
import torch

from framecast import assemble
from framecast.data.base import SPLITS, Prepared, counter_uniforms
from framecast.data.generated_noise import GeneratedNoise
from framecast.data.generated_sins import GeneratedSins
from framecast.study import reading
from framecast.study.grid import Grid

NOWHERE = Path("no raw files are read")
KINDS = [GeneratedSins, GeneratedNoise]


@pytest.fixture(scope="module")
def sins() -> dict[str, np.ndarray]:
    return dict(GeneratedSins().prepare(NOWHERE).arrays)


@pytest.fixture(scope="module")
def noise() -> dict[str, np.ndarray]:
    return dict(GeneratedNoise().prepare(NOWHERE).arrays)


def least_squares_error(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Test MSE per horizon step of the affine map of the 25 inputs that is best on the training split, (25,)."""
    design = [np.column_stack([split[:, :25], np.ones(len(split))]) for split in (train, test)]
    weights = np.linalg.lstsq(design[0], train[:, 25:], rcond=1e-12)[0]
    return ((design[1] @ weights - test[:, 25:]) ** 2).mean(axis=0)


def test_published_sizes_and_range(sins, noise):
    for arrays in (sins, noise):
        assert {split: len(arrays[split]) for split in SPLITS} == {"train": 22000, "validation": 2000, "test": 7000}
        for sequences in arrays.values():
            assert sequences.shape[1:] == (50, 1)
            assert sequences.dtype == np.float32
            assert sequences.min() >= 0
            assert sequences.max() <= 1


def test_least_squares_solves_sines_in_float64():
    dataset = GeneratedSins()
    train, test = (dataset.curves(counter_uniforms(0, stream, 0, 20000, dataset.draws)) for stream in (0, 2))
    assert least_squares_error(train, test).mean() == pytest.approx(5.7e-7, rel=0.2)


def test_float32_storage_sets_the_floor_of_linear_extrapolation(sins):
    """25 points of half a window are nearly collinear, so rounding to 24 bits is amplified to 1.9e-4."""
    train, test = (sins[split][..., 0].astype(np.float64) for split in ("train", "test"))
    assert least_squares_error(train, test).mean() == pytest.approx(1.9e-4, rel=0.1)


def test_floors_of_sines(sins):
    target = sins["test"][:, 25:, 0]
    assert ((target - target.mean()) ** 2).mean() == pytest.approx(0.1254, rel=0.03)
    assert ((target - sins["test"][:, 24:25, 0]) ** 2).mean() == pytest.approx(0.2010, rel=0.03)


def test_floors_of_noise(noise):
    error = least_squares_error(*(noise[split][..., 0].astype(np.float64) for split in ("train", "test")))
    assert error.mean() == pytest.approx(0.0611, abs=1e-3)
    assert error[:3] == pytest.approx([0.0092, 0.042, 0.060], rel=0.05)

    target = noise["test"][:, 25:, 0]
    constant = ((target - target.mean()) ** 2).mean(axis=0)
    assert constant.mean() == pytest.approx(0.064, abs=1e-3)
    assert constant[:24].mean() == pytest.approx(0.0631, abs=1e-3)
    assert target[:, -1].var() == pytest.approx(0.102, abs=2e-3)
    assert ((target - noise["test"][:, 24:25, 0]) ** 2).mean() == pytest.approx(0.121, abs=2e-3)


def test_every_noise_window_touches_both_ends(noise):
    assert (noise["train"].min(axis=1) == 0).all()
    assert (noise["train"].max(axis=1) == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_sequence_is_a_function_of_its_index_alone(kind):
    dataset = kind(train=300, validation=7, test=5)
    arrays = dataset.prepare(NOWHERE).arrays
    for index in (0, 1, 150, 299):
        assert dataset.sequences("train", index, 1).tobytes() == arrays["train"][index].tobytes()
    assert kind(train=1000).sequences("train", 0, 300).tobytes() == arrays["train"].tobytes()

    split = dataset.split("train", {"train": torch.from_numpy(arrays["train"])}, seed=3, device=torch.device("cpu"))
    order = np.random.default_rng(0).permutation(300)[:64]
    assert torch.equal(split.batch(order), torch.from_numpy(arrays["train"][order]))


@pytest.mark.parametrize("kind", KINDS)
def test_splits_and_data_seeds_share_no_sequence(kind):
    drawn = [kind(train=500, validation=500, test=500, data_seed=seed).prepare(NOWHERE).arrays for seed in (0, 1)]
    rows = [row.tobytes() for arrays in drawn for sequences in arrays.values() for row in sequences]
    assert len(set(rows)) == len(rows) == 3000


def test_arrays_are_stored_in_their_own_order_however_they_lie_in_memory(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published file is read as a transposed view of what is on disk."""
    grid = Grid(reading.load())
    made = GeneratedSins(context=5, horizon=5, train=8, validation=4, test=4).prepare(Path())
    views = {name: np.asfortranarray(array) for name, array in made.arrays.items()}
    assert not all(array.flags.c_contiguous for array in views.values())
    monkeypatch.setattr(GeneratedSins, "prepare", lambda self, raw: Prepared(views, made.facts))
    assemble.prepare(grid, "generated_sins")
    for name, array in assemble.Prepared(grid, "generated_sins").arrays.items():
        np.testing.assert_array_equal(array.numpy(), made.arrays[name])
