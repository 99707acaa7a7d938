"""Killing training at random moments, many times over, changes nothing in what it leaves."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests import kill_loop

KILLS = 25
EPOCHS = 120  #: enough that most kills strike training and not the start of it


@pytest.mark.slow
def test_killed_at_random_moments_the_bundle_is_the_same(tmp_path: Path) -> None:
    expected, seconds = kill_loop.undisturbed(kill_loop.study(tmp_path / "calm", epochs=EPOCHS))
    assert set(expected) == {"model.safetensors", "history.csv", "snapshots.safetensors", "run.json", "probe.json"}
    chance, counts, rounds = random.Random(0), Counter[str](), 0
    while kill_loop.sent(counts) < KILLS:
        rounds += 1
        folder = kill_loop.study(tmp_path / f"{rounds}", epochs=EPOCHS)
        assert kill_loop.killed(folder, chance, counts, seconds, KILLS) == expected
    assert counts["exit 75"]
    assert counts["exit -9"]
