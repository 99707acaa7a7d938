"""The paired bootstrap: rarely wrong where nothing differs, sure where something does."""

from dataclasses import replace

import numpy as np
import pytest

from framecast.evaluation import bootstrap
from framecast.evaluation.bootstrap import compare, spread


def errors(generator: np.random.Generator, hard: np.ndarray, seeds: int, training_noise: float) -> np.ndarray:
    """Errors (S, N): how hard a sequence is for everybody, chance, and how well each training run went."""
    return hard + generator.normal(0, 0.3, (seeds, len(hard))) + generator.normal(0, training_noise, (seeds, 1))


@pytest.mark.parametrize(("seeds", "training_noise"), [(1, 0.0), (2, 0.3), (3, 0.0), (3, 0.3), (5, 0.3)])
def test_no_difference_is_rarely_called_one(seeds: int, training_noise: float):
    generator = np.random.default_rng(seeds)
    wrong, trials = 0, 200
    for trial in range(trials):
        hard = generator.gamma(2, 0.5, 80)
        pair = [errors(generator, hard, seeds, training_noise) for _ in range(2)]
        wrong += compare(*pair, resamples=400, seed=trial).verdict != "no difference"
    # 5 % expected; 19 or more of 200 has a chance below 1 %.
    assert wrong < 19


def test_pairing_finds_a_difference_much_smaller_than_the_spread_between_sequences():
    generator = np.random.default_rng(0)
    hard = generator.gamma(2, 0.5, 500)
    a, b = (errors(generator, hard, 3, 0.01) for _ in range(2))
    found = compare(a, b + 0.2)
    assert hard.std() > 3 * 0.2
    assert found.verdict == "a better"
    assert found.low < found.difference < found.high < 0
    assert found.difference == pytest.approx(-0.2, abs=0.03)
    assert compare(a, b + 0.2, better="higher").verdict == "b better"


def test_training_noise_widens_the_interval():
    generator = np.random.default_rng(0)
    hard = generator.gamma(2, 0.5, 200)
    shifted = hard + np.array([[-0.3], [0.0], [0.3]])
    seen, hidden = compare(shifted, hard + 0.05), compare(shifted.mean(0), hard + 0.05)
    assert seen.difference == pytest.approx(hidden.difference)
    assert seen.verdict == "no difference"
    assert hidden.verdict == "a better"


@pytest.mark.parametrize("size", ["alike", "unlike"])
def test_where_persons_differ_only_the_interval_over_persons_covers(size: str):
    """Nine persons as in KTH's test split, of whom one forecaster is better on some and worse on others."""
    generator = np.random.default_rng(7)
    sizes = np.full(9, 30) if size == "alike" else np.array([5, 10, 20, 30, 30, 40, 40, 45, 50])
    groups, trials = np.repeat(np.arange(9) * 3, sizes), 200
    covered = {"windows": 0, "persons": 0}
    for trial in range(trials):
        person = generator.normal(0, 1, 9)
        a = person.repeat(sizes) + generator.normal(0, 0.5, len(groups))
        alone, together = (
            compare(a, np.zeros_like(a), groups=one, resamples=400, seed=trial) for one in (None, groups)
        )
        covered["windows"] += alone.low <= 0 <= alone.high
        covered["persons"] += together.low <= 0 <= together.high
        assert alone.difference == together.difference
    assert covered["windows"] < 0.6 * trials
    # 95 % wanted. Fewer than 177 of 200 has a chance below 1 in 1 000.
    assert covered["persons"] >= 177


def test_groups_of_one_are_sequences_and_one_group_knows_of_no_other():
    a, b = np.random.default_rng(0).gamma(2, 0.5, (2, 400))
    each, alone = compare(a, b, groups=np.arange(400)), compare(a, b)
    assert (each.low, each.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    one = compare(a, a + 1, groups=np.zeros(400, int))
    assert (one.low, one.high, one.verdict) == (-np.inf, np.inf, "no difference")


def test_swapping_the_sides_mirrors_the_answer():
    generator = np.random.default_rng(0)
    a, b = generator.gamma(2, 0.5, (2, 60))
    one, other = compare(a, b), compare(b, a)
    assert (other.difference, other.low, other.high) == pytest.approx((-one.difference, -one.high, -one.low))
    better, worse = compare(a, a + 1), compare(a + 1, a)
    assert (better.verdict, worse.verdict) == ("a better", "b better")


def test_the_answer_is_a_function_of_the_numbers(monkeypatch: pytest.MonkeyPatch):
    a, b = np.random.default_rng(0).gamma(2, 0.5, (2, 60))
    first = compare(a, b)
    assert first == compare(a, b)
    assert first.sequences == 60
    monkeypatch.setattr(bootstrap, "CHUNK", 60 * 7)  # memory is bounded by chunks, which must not show
    assert replace(compare(a, b), low=first.low, high=first.high) == first
    assert compare(a, b).low == pytest.approx(first.low)


def test_equal_errors_do_not_differ():
    a = np.random.default_rng(0).random((3, 50))
    assert compare(a[0], a[0]) == bootstrap.Comparison(0.0, 0.0, 0.0, 50, "no difference")


@pytest.mark.parametrize("better", ["lower", "higher", "one"])
def test_of_what_is_not_defined_nobody_is_better(better: bootstrap.Better):
    defined, undefined = np.full(20, 0.5), np.where(np.arange(20) == 3, np.nan, 0.5)
    for pair in ((defined, undefined), (undefined, defined)):
        assert compare(*pair, better=better).verdict == "no difference"


def test_towards_one_the_nearer_is_better_and_of_two_equally_near_ones_neither():
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 300))
    below, above, far = 0.92 + noise[0], 1.08 + noise[1], 0.7 + noise[1]
    apart = compare(below, above, better="one")
    assert apart.high < 0
    assert apart.verdict == "no difference"
    assert compare(below, far, better="one").verdict == "a better"
    assert compare(far, above, better="one").verdict == "b better"


def test_spread():
    assert spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert spread([4.0]) == (4.0, None)
