"""Sampling masks, what they are a function of, and training with them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from framecast.data.base import StoredSplit
from framecast.errors import NotFinished
from framecast.losses.base import WeightedLoss
from framecast.models.layers.unroll import Unrolled
from framecast.study.params import Training
from framecast.training import sampling
from framecast.training.checkpoint import Checkpoints
from framecast.training.loop import Trainer
from framecast.training.seeding import be_deterministic, epoch_order, seed_weights
from tests.models.test_unrolled import EVERY, build
from tests.study.test_params import changed, refused, tree_of
from tests.training.test_loop import CPU, StopAt

SCHEDULED = Training(
    epochs=2, batch_size=4, learning_rate=1e-2, log_every=1, sampling="scheduled", sampling_unit="run", sampling_end=0.7
)
REVERSE = SCHEDULED.model_copy(update={"sampling": "reverse", "sampling_start": 0.3, "sampling_decay": 0.1})
SEQUENCES = torch.zeros(200, 8, 1)


def mask(recipe: Training, step: int, seed: int = 1) -> Tensor:
    given = sampling.given(recipe, seed, step, 100, SEQUENCES, context=5)
    assert given is not None
    return given


def test_masks_are_a_function_of_seed_and_step() -> None:
    assert torch.equal(mask(REVERSE, 7), mask(REVERSE, 7))
    assert not torch.equal(mask(REVERSE, 7), mask(REVERSE, 8))
    assert not torch.equal(mask(REVERSE, 7), mask(REVERSE, 7, seed=2))
    before = torch.get_rng_state()
    mask(REVERSE, 7)
    assert torch.equal(torch.get_rng_state(), before)  # dropout and noise draw what they drew without


@pytest.mark.parametrize("recipe", [SCHEDULED, REVERSE], ids=lambda recipe: recipe.sampling)
@pytest.mark.parametrize("step", [0, 35, 60, 90])
def test_masks_hold_true_as_often_as_the_schedule_says(recipe: Training, step: int) -> None:
    """Four of the frames 2 … 7 belong to the context of five, two come after it."""
    given = mask(recipe, step).double()
    assert given.shape == (200, 6)
    for part, probability in zip(given.split([4, 2], dim=1), sampling.probabilities(recipe, step, 100), strict=True):
        spread = (probability * (1 - probability) / part.numel()) ** 0.5
        assert abs(float(part.mean()) - probability) <= 4 * spread


def test_times_are_iterations_or_shares_of_the_run() -> None:
    counted = REVERSE.model_copy(
        update={"sampling_unit": "iterations", "sampling_start": 30.0, "sampling_end": 70.0, "sampling_decay": 10.0}
    )
    for step in range(100):
        shares = sampling.probabilities(REVERSE, step, 100)
        assert shares == pytest.approx(sampling.probabilities(counted, step, 12_345))
    assert sampling.given(SCHEDULED.model_copy(update={"sampling": "none"}), 1, 0, 100, SEQUENCES, 5) is None


# --- training -------------------------------------------------------------------------------------


def trainer(model: Unrolled, recipe: Training) -> Trainer:  # type: ignore[type-arg]
    be_deterministic(1)
    rows = torch.from_numpy(np.random.default_rng(0).random((14, 6, 1, 4, 6), dtype=np.float32))
    train, validation = StoredSplit(rows[:10], CPU), StoredSplit(rows[10:], CPU)
    return Trainer("c", model, WeightedLoss({"mse": 2.0}), train, validation, recipe, context=3, seed=1, device=CPU)


def built(name: str, recipe: Training) -> Trainer:
    seed_weights(1)
    return trainer(build(name, **({"decoupling": 0.5} if name == "predrnn" else {})), recipe)


def outcome(made: Trainer) -> tuple[dict[str, bytes], Mapping[str, object]]:
    return {name: value.numpy().tobytes() for name, value in made.model.state_dict().items()}, vars(made.ledger)


@EVERY
def test_a_run_with_sampling_that_is_stopped_at_every_step_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    found = {}
    for kind, recipe in {"none": SCHEDULED.model_copy(update={"sampling": "none"}), "reverse": REVERSE}.items():
        made = built(name, recipe)
        made.fit(Checkpoints(tmp_path / kind, "key"), StopAt(99), lambda *_: None)
        found[kind] = outcome(made)
    assert found["none"][0] != found["reverse"][0]  # the mask matters
    for _ in range(7):
        again = built(name, REVERSE)
        try:
            again.fit(Checkpoints(tmp_path / "stopped", "key"), StopAt(1), lambda *_: None)
            break
        except NotFinished:
            pass
    assert outcome(again) == found["reverse"]


def test_a_penalty_is_weighed_into_the_loss_and_has_a_column_of_its_own(tmp_path: Path) -> None:
    made = built("predrnn", REVERSE)
    made.fit(Checkpoints(tmp_path, "key"), StopAt(99), lambda *_: None)
    rows = [row for row in made.ledger.history if row["split"] == "train"]
    assert len(rows) == 6
    for row in rows:
        assert row["loss"] == pytest.approx(2 * row["mse"] + 0.5 * row["decoupling"], rel=1e-6)
        assert 0 < row["decoupling"] < 1
    assert not any("decoupling" in row for row in made.ledger.history if row["split"] == "validation")


def test_reverse_input_is_a_second_update_on_each_batch_with_time_reversed(tmp_path: Path) -> None:
    """By a second hand: PyTorch's own optimiser, one mask for both, and losses that are the means of both."""
    recipe = REVERSE.model_copy(update={"reverse_input": True, "selection": "last"})
    made = built("predrnn", recipe)
    made.fit(Checkpoints(tmp_path, "key"), StopAt(99), lambda *_: None)
    by_hand = built("predrnn", recipe)
    model, rows, losses = by_hand.model.train(), by_hand.train.batch(np.arange(10)), []
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(6):
        epoch, position = divmod(step, 3)
        batch = rows[epoch_order(1, epoch, 10)[4 * position : 4 * position + 4]]
        given = sampling.given(recipe, 1, step, 6, batch, 3)
        both = []
        for frames in (batch, batch.flip(1)):
            forecast, target, penalties = model.lesson(frames, frames, 3, given)
            loss = 2 * (forecast - target).square().mean() + 0.5 * penalties["decoupling"].value
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            both.append(loss.item())
        losses.append(sum(both) / 2)
    for ours, theirs in zip(made.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    told = [row["loss"] for row in made.ledger.history if row["split"] == "train"]
    assert told == pytest.approx(losses, rel=1e-5)


# --- params.yaml ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "training", "told"),
    [
        ("seq2seq_convlstm", {"sampling": "scheduled"}, 'sampling: found "scheduled", and seq2seq_convlstm is never'),
        ("mim", {"sampling_unit": "run"}, "sampling_end: found 50000, as a share of the run; allowed: above 0"),
        ("predrnn_v2", {"sampling_start": 5e4}, "sampling_start: found 50000; allowed: below sampling_end, 50000"),
    ],
)
def test_a_sampling_that_cannot_be_is_told_in_one_line(model: str, training: dict[str, object], told: str) -> None:
    tree = tree_of("real")
    whole = {**tree["models"][model].get("training", {}), **training}
    message = refused(changed(tree, ("models", model, "training"), whole))
    assert message.startswith(f"params.yaml: models.{model}.training.{told}")


def test_a_loss_of_probabilities_is_for_a_system_with_a_sigmoid_at_its_end() -> None:
    tree = tree_of("real")
    name = "mim_srvp_recipe"
    message = refused(changed(tree, ("models", name, "output"), "linear"))
    assert f"found model {name}, whose forecasts may leave [0, 1], with loss bce_srvp (term bce)" in message
