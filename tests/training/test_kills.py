"""Killing training at random moments, many times over, changes nothing in what it leaves."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from framecast.study import catalogue, reading
from framecast.study.grid import Grid
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


@pytest.mark.slow
def test_a_sampled_system_that_is_killed_leaves_the_same_too(tmp_path: Path) -> None:
    """Masks, a penalty and the second update on reversed time, under a few kills."""
    cell = kill_loop.cell("predrnn")
    calm = kill_loop.study(tmp_path / "calm", epochs=8, kind="predrnn")
    expected, seconds = kill_loop.undisturbed(calm, cell)
    chance, counts = random.Random(0), Counter[str]()
    while kill_loop.sent(counts) < 3:
        folder = tmp_path / f"{kill_loop.sent(counts)}"
        shutil.copytree(calm, folder, ignore=shutil.ignore_patterns("runs", "log"))
        assert kill_loop.killed(folder, chance, counts, seconds, 3, cell) == expected
    assert counts["exit 0"] < sum(counts.values()) - kill_loop.sent(counts)


def test_the_loop_kills_every_system() -> None:
    """Small, and with sampling wherever it can be: the studies are sound, whatever file is added to ``models/``."""
    assert kill_loop.tree(2, "predrnn")["models"]["killed"]["decoupling"] > 0
    for kind in catalogue.trained():
        params = reading.resolve(kill_loop.tree(2, kind))
        assert Grid(params).find(kill_loop.cell(kind)).model == "killed"
        sampled = catalogue.constant(f"models.{kind}", "SAMPLED", False)
        assert params.recipe("killed", kill_loop.dataset(kind)).sampling == ("reverse" if sampled else "none")
