"""Our schedules against the tables of those that the published recipes used.

Not built: a threshold of ``plateau`` that is relative (``mimo_vp_plateau``), since its ``min_delta`` is in the units of
the loss. What is counted is compared, where both thresholds decide alike.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from framecast.training import optimizers, sampling
from framecast.training.checkpoint import Checkpoints
from tests.oracles.golden import files
from tests.training.test_loop import PLATEAU, Scripted, StopAt, trainer

#: The tables, by how their names begin: each test below takes those of one or two.
CLAIMED = (
    "one_cycle",
    "cosine_epochs",
    "srvp_cosine",
    "keras_plateau",
    "mimo_vp_plateau",
    "scheduled_sampling",
    "reverse_scheduled_sampling",
)
SCHEDULES = pytest.mark.parametrize("path", files("schedules", ".json"), ids=lambda path: path.stem)


def tables(path: Path, prefix: str) -> dict[str, dict[str, Any]]:
    """The tables whose names begin so, as one of ``CLAIMED``."""
    assert prefix in CLAIMED
    found = {name: table for name, table in json.loads(path.read_text()).items() if name.startswith(prefix)}
    assert found, f"{path} holds no table {prefix}*"
    return found


@SCHEDULES
def test_no_table_is_left_out(path: Path) -> None:
    assert {name for name in json.loads(path.read_text()) if not name.startswith(CLAIMED)} == set()


@SCHEDULES
def test_one_cycle_of_rate_and_momentum(path: Path) -> None:
    for table in tables(path, "one_cycle").values():
        steps = table["epochs"] * table["steps_per_epoch"]
        rates = [optimizers.learning_rate("one_cycle", table["max_lr"], step, steps) for step in range(steps)]
        betas = [optimizers.momentum("one_cycle", 0.9, step, steps) for step in range(steps)]
        assert rates == pytest.approx(table["lr"], rel=0, abs=1e-12)
        assert betas == pytest.approx(table["beta1"], rel=0, abs=1e-12)


@SCHEDULES
def test_half_a_cosine_in_epochs(path: Path) -> None:
    found = [
        *(
            (table["lr"], table["lr0"], table["epochs"], table["min_lr"])
            for table in tables(path, "cosine_epochs").values()
        ),
        *((table["lr"], 1e-5, table["T_max"], table["eta_min"]) for table in tables(path, "srvp_cosine").values()),
    ]
    for rates, peak, epochs, floor in found:
        ours = [optimizers.cosine(peak, epoch, epochs, floor) for epoch in range(len(rates))]
        assert ours == pytest.approx(rates, rel=1e-12)


@SCHEDULES
def test_plateau_as_keras_counts(path: Path) -> None:
    for table in tables(path, "keras_plateau").values():
        rules = {"factor": 0.2, "patience": 3, "floor": 1e-6, "min_delta": 1e-4}
        losses = table["val_loss"]
        rates = [optimizers.plateau(5e-4, losses[:seen], **rules) for seen in range(1, len(losses) + 1)]
        assert rates == pytest.approx(table["lr_after_epoch"], rel=1e-6)


@SCHEDULES
def test_plateau_as_pytorch_counts(path: Path) -> None:
    """Its patience of 3 is one of 4 here, and 1e-4 of the best loss, which is 9 or 8.5, is taken as 9e-4."""
    for table in tables(path, "mimo_vp_plateau").values():
        losses = [float(loss) for loss in table["metric"]]
        rules = {"factor": 0.5, "patience": 4, "floor": 0.0, "min_delta": 9e-4}
        rates = [optimizers.plateau(5e-4, losses[:seen], **rules) for seen in range(1, len(losses) + 1)]
        assert rates == pytest.approx(table["lr_after"], rel=1e-12)


@SCHEDULES
def test_early_stopping_as_keras_counts(path: Path, tmp_path: Path) -> None:
    """In the loop, which validates after every epoch and reads the losses of the table."""
    for table in tables(path, "keras_plateau").values():
        losses = table["val_loss"]
        recipe = PLATEAU.model_copy(
            update={"epochs": len(losses), "learning_rate": 5e-4, "plateau_patience": 3, "plateau_min_delta": 1e-4}
            | {"learning_rate_floor": 1e-6, "early_stopping": 10, "noise": 0.0}
        )
        made = trainer(recipe, loss=Scripted(losses))
        made.fit(Checkpoints(tmp_path, "key"), StopAt(10**9), lambda *_: None)
        validations = [row for row in made.ledger.history if row["split"] == "validation"]
        assert len(validations) == table["stops_after_epoch"]
        used = [row["learning_rate"] for row in validations]
        assert used == pytest.approx([5e-4, *table["lr_after_epoch"]][: len(used)], rel=1e-6)


@SCHEDULES
def test_scheduled_sampling(path: Path) -> None:
    """Ours counts steps from 0, as one of the two codes does; the other counts the same ones from 1."""
    for table in tables(path, "scheduled_sampling").values():
        stored = table["iteration" if "iteration" in table else "global_step"]
        steps = [step - ("iteration" in table) for step in stored]
        found = [sampling.scheduled(step, float(table.get("stop", 50_000))) for step in steps]
        assert found == pytest.approx(table["eta"], rel=0, abs=1e-12)


@SCHEDULES
def test_reverse_scheduled_sampling(path: Path) -> None:
    for table in tables(path, "reverse_scheduled_sampling").values():
        times = {name: float(table[theirs]) for name, theirs in (("start", "a"), ("end", "b"), ("decay", "alpha"))}
        context, after = zip(*(sampling.reverse(step, **times) for step in table["iteration"]), strict=True)
        assert list(context) == pytest.approx(table["context_probability"], rel=0, abs=1e-12)
        assert list(after) == pytest.approx(table["forecast_probability"], rel=0, abs=1e-12)
