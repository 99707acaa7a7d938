"""The loop's promises: bit-identical resume at every step, stopping in time, no step on a broken loss."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from framecast.data.base import StoredSplit
from framecast.errors import NotFinished, UserError
from framecast.losses.base import WeightedLoss
from framecast.models.seq2seq_convlstm import Seq2SeqConvLSTM
from framecast.models.seq2seq_lstm import Seq2SeqLSTM
from framecast.study.grid import CHECKPOINTS
from framecast.study.params import Training
from framecast.training import optimizers, snapshots
from framecast.training.checkpoint import Checkpoints
from framecast.training.loop import Trainer
from framecast.training.seeding import be_deterministic, epoch_order, seed_weights

CPU = torch.device("cpu")
RECIPE = Training(epochs=3, batch_size=4, learning_rate=1e-2, log_every=2, schedule="one_cycle", clip_norm=0.5)
PLATEAU = Training(
    epochs=30,
    batch_size=4,
    learning_rate=0.3,
    log_every=2,
    schedule="plateau",
    plateau_patience=1,
    plateau_min_delta=1e-3,
    learning_rate_floor=0.01,
    clip_norm_each=0.1,
    early_stopping=4,
    noise=0.05,
)
VIDEO = PLATEAU.model_copy(update={"epochs": 4, "flips": True, "rotations": True})


class StopAt:
    """Asks to stop when ``count`` steps of this process are done."""

    def __init__(self, count: int) -> None:
        self.left = count

    def reason(self) -> str | None:
        self.left -= 1
        return "the test says so" if self.left < 0 else None


class Dropping(Seq2SeqLSTM):
    """With dropout, so that the random numbers of a step matter."""

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        return super().forward(torch.nn.functional.dropout(context, 0.3, self.training), horizon)


class Scripted(WeightedLoss):
    """A loss whose values on the validation split are given beforehand; the loop asks once per validation."""

    def __init__(self, validations: list[float]) -> None:
        super().__init__({"mse": 1.0, "l1": 0.5})
        self.left = iter(validations)

    def __call__(self, forecast: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        total, terms = super().__call__(forecast, target)
        return total if total.requires_grad else torch.tensor(next(self.left), dtype=torch.float64), terms


def trainer(recipe: Training = RECIPE, seed: int = 1, loss: WeightedLoss | None = None) -> Trainer:
    be_deterministic(1)
    frame = (1, 4, 4) if recipe.flips else (1,)
    rows = torch.from_numpy(np.random.default_rng(0).random((14, 8, *frame), dtype=np.float32))
    seed_weights(seed)
    model = (
        Seq2SeqConvLSTM(frame, depth=1, hidden_channels=2) if recipe.flips else Dropping(frame, depth=1, hidden_size=4)
    )
    loss = loss or WeightedLoss({"mse": 1.0, "l1": 0.5})
    train, validation = StoredSplit(rows[:10], CPU), StoredSplit(rows[10:], CPU)
    return Trainer("the/cell", model, loss, train, validation, recipe, context=5, seed=seed, device=CPU)


Outcome = tuple[dict[str, bytes], dict[int, bytes], Mapping[str, object]]


def outcome(made: Trainer) -> Outcome:
    weights = {name: value.numpy().tobytes() for name, value in made.model.state_dict().items()}
    return weights, {step: kept.numpy().tobytes() for step, kept in made.snapshots.items()}, vars(made.ledger)


def undisturbed(folder: Path, recipe: Training = RECIPE) -> Outcome:
    made = trainer(recipe)
    made.fit(Checkpoints(folder, "key"), StopAt(10**9), lambda *_: None)
    return outcome(made)


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        RECIPE.model_copy(
            update={"optimizer": "rmsprop", "betas": (0.9, 0.9), "clip_norm_each": 0.1, "weight_decay": 1e-3}
        ),
        RECIPE.model_copy(update={"optimizer": "sgd"}),
        RECIPE.model_copy(update={"precision": "bf16", "selection": "last", "schedule": "cosine"}),
        RECIPE.model_copy(update={"early_stopping": 1, "learning_rate": 1.0, "epochs": 30, "schedule": "constant"}),
        PLATEAU,
        VIDEO,
        RECIPE.model_copy(update={"reverse_input": True, "noise": 0.05}),
    ],
    ids=[
        "adam",
        "rmsprop",
        "sgd",
        "bf16",
        "early-stopping",
        "plateau-and-noise",
        "flips-and-rotations",
        "reverse-input",
    ],
)
def test_resume_at_every_step_is_bit_identical(tmp_path: Path, recipe: Training) -> None:
    expected = undisturbed(tmp_path / "whole", recipe)
    steps = expected[2]["step"]
    assert len(expected[1]) >= 2
    for every in (1, 2, 3, 5):
        checkpoints = Checkpoints(tmp_path / f"every-{every}", "key")
        for attempt in range(steps + 1):
            made = trainer(recipe)
            try:
                made.fit(checkpoints, StopAt(every), lambda *_: None)
                break
            except NotFinished:
                assert attempt < steps
        assert outcome(made) == expected


@pytest.mark.parametrize("recipe", [RECIPE, VIDEO], ids=["dropout", "flips-and-rotations"])
def test_snapshots_are_what_validation_forecast_and_cost_nothing(
    tmp_path: Path, recipe: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, kept, ledger = undisturbed(tmp_path / "whole", recipe)
    made = trainer(recipe)
    with pytest.raises(NotFinished):
        made.fit(Checkpoints(tmp_path / "an-epoch", "key"), StopAt(made.steps_per_epoch), lambda *_: None)
    with torch.no_grad():
        forecast = made.model.eval()(made.validation.batch(np.arange(2))[:, :5], 3)
    assert kept[made.steps_per_epoch] == snapshots.stored(forecast).numpy().tobytes()
    assert set(kept) == set(range(made.steps_per_epoch, made.steps + 1, made.steps_per_epoch))

    monkeypatch.setattr(snapshots, "SEQUENCES", 0)
    monkeypatch.setattr(snapshots, "due", lambda *_: False)
    assert undisturbed(tmp_path / "without", recipe) == (weights, {made.steps: b""}, ledger)


@pytest.mark.parametrize("recipe", [RECIPE, VIDEO], ids=["series", "video"])
def test_a_shorter_horizon_is_training_on_shorter_sequences(tmp_path: Path, recipe: Training) -> None:
    made = trainer(recipe.model_copy(update={"horizon": 2}))
    cut = trainer(recipe)
    cut.train, cut.validation = (StoredSplit(split.sequences[:, :7], CPU) for split in (cut.train, cut.validation))
    for one, name in ((made, "made"), (cut, "cut")):
        one.fit(Checkpoints(tmp_path / name, "key"), StopAt(10**9), lambda *_: None)
    assert outcome(made) == outcome(cut)
    assert outcome(made)[0] != undisturbed(tmp_path / "whole", recipe)[0]


@pytest.mark.parametrize("head_kernel", ["1x3x3", "3x3x3"])
def test_channels_last_changes_the_layout_and_not_the_result(tmp_path: Path, head_kernel: str) -> None:
    be_deterministic(1)
    rows = torch.rand(4, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    losses = {}
    for channels_last in (False, True):
        seed_weights(1)
        model = Seq2SeqConvLSTM((1, 8, 8), depth=1, hidden_channels=4, head_kernel=head_kernel)
        recipe = Training(epochs=2, batch_size=2, learning_rate=1e-2, channels_last=channels_last)
        split = StoredSplit(rows, CPU)
        made = Trainer("c", model, WeightedLoss({"mse": 1.0}), split, split, recipe, context=3, seed=1, device=CPU)
        made.fit(Checkpoints(tmp_path / str(channels_last), "key"), StopAt(99), lambda *_: None)
        losses[channels_last] = [row["loss"] for row in made.ledger.history]
        gates = model.encoder[0].gates.weight
        assert gates.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)


def test_early_stopping_stops_and_restores_the_best(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"early_stopping": 1, "learning_rate": 1.0, "epochs": 30, "schedule": "constant"})
    made = trainer(recipe)
    ledger = made.fit(Checkpoints(tmp_path, "key"), StopAt(10**9), lambda *_: None)
    assert ledger.stopped_early
    assert ledger.best_step < ledger.step < made.steps
    rows = [row for row in ledger.history if row["split"] == "validation"]
    assert min(rows, key=lambda row: row["loss"])["step"] == ledger.best_step
    made._validate()
    assert made.ledger.history[-1]["loss"] == pytest.approx(ledger.best_loss)
    assert max(made.snapshots) == ledger.step


@pytest.mark.parametrize(("factor", "patience", "floor", "min_delta"), [(0.2, 3, 1e-6, 1e-4), (0.5, 1, 0.0, 0.0)])
def test_plateau_equals_torch_on_scripted_losses(factor: float, patience: int, floor: float, min_delta: float) -> None:
    """PyTorch's own rule, whose patience is one less; the losses hover about the threshold and are long enough for
    the floor."""
    numbers = np.random.default_rng(5)
    losses = np.concatenate(
        [0.5 - 0.9e-4 * np.arange(12), 0.4 + 2e-4 * numbers.standard_normal(25), 0.3 - 1e-3 * np.arange(3), [0.3] * 20]
    ).tolist()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-4)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience - 1, threshold=min_delta, threshold_mode="abs", min_lr=floor, eps=0
    )
    rules = {"factor": factor, "floor": floor, "min_delta": min_delta}
    rates = [optimizers.plateau(5e-4, losses[:seen], patience=patience, **rules) for seen in range(len(losses) + 1)]
    for rate, loss in zip(rates, losses, strict=False):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        theirs.step(loss)
    assert len(set(rates)) > 4
    assert floor == 0 or rates[-1] == floor
    assert optimizers.plateau(1e-7, losses, patience=patience, factor=factor, floor=1e-6, min_delta=0.0) == 1e-7


def test_plateau_counts_as_keras_does() -> None:
    def rate(*losses: float, patience: int = 2) -> float:
        return optimizers.plateau(1.0, losses, factor=0.5, patience=patience, floor=0.3, min_delta=0.125)

    assert rate(1.0) == rate(1.0, 0.9) == 1.0  # the first loss is the best; one that waits is not enough
    assert rate(1.0, 0.9, 0.875) == 0.5  # two that better it by no more than min_delta are
    assert rate(1.0, 0.9, 0.87) == 1.0  # a sum of small steps is an improvement on the best
    assert rate(1.0, 0.9, 0.87, 0.87) == 1.0  # which starts the waiting again
    assert rate(1.0, 1.0, 1.0, 1.0) == 0.5  # as a reduction does
    assert rate(1.0, *[1.0] * 4) == 0.3  # 0.25 lies below the floor
    assert rate(1.0, *[1.0] * 40) == 0.3
    assert rate(1.0, 1.0, patience=1) == 0.5


def test_plateau_and_early_stopping_follow_the_validation_losses_of_the_loop(tmp_path: Path) -> None:
    losses = [value / 16 for value in (9, 8, 8, 8, 7, 7, 7.5, 7, 7, 7, 7)]
    recipe = PLATEAU.model_copy(update={"plateau_patience": 2, "early_stopping": 5, "noise": 0.0})
    made = trainer(recipe, loss=Scripted(losses))
    taken, optimize = {}, made.optimizer.step

    def step(rate: float, momentum: float) -> None:
        optimize(rate, momentum)
        taken[made.ledger.step] = rate

    made.optimizer.step = step  # type: ignore[method-assign]
    kept = {}
    ledger = made.fit(
        Checkpoints(tmp_path, "key"), StopAt(10**9), lambda at, *_: kept.update({at: outcome(made)[0]}), lambda: False
    )
    by_epoch = [0.3] * 4 + [0.06] * 3 + [0.012] * 2 + [0.01]
    assert [taken[3 * epoch] for epoch in range(10)] == pytest.approx(by_epoch)  # from the next step on, not later
    assert list(taken.values()) == [taken[step // 3 * 3] for step in taken]
    assert [row["learning_rate"] for row in ledger.history] == [taken[row["step"] - 1] for row in ledger.history]
    assert (ledger.stopped_early, ledger.step, ledger.best_step) == (True, 30, 15)
    assert outcome(made)[0] == kept[15]


def test_shares_of_the_gradient_stand_in_every_training_row_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer()
    given: list[tuple[Tensor, Tensor]] = []
    shares, weigh = WeightedLoss.shares, made.loss

    class Watched(WeightedLoss):
        def __call__(self, forecast: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            if forecast.requires_grad:
                given.append((forecast.detach().clone(), target.clone()))
            return super().__call__(forecast, target)

    made.loss = Watched({"mse": 1.0, "l1": 0.5})
    made.fit(Checkpoints(tmp_path / "one", "key"), StopAt(10**9), lambda *_: None)
    rows = [row for row in made.ledger.history if row["split"] == "train"]
    assert [row["step"] for row in rows] == [2, 3, 4, 6, 8, 9]  # every log_every = 2 steps, and each end of an epoch
    for row in rows:
        told = shares(weigh, *given[row["step"] - 1])
        assert {"mse": row["share_mse"], "l1": row["share_l1"]} == told
    assert not any(name.startswith("share_") for row in made.ledger.history if row not in rows for name in row)
    monkeypatch.setattr(WeightedLoss, "shares", lambda *_: {})
    assert undisturbed(tmp_path / "without")[0] == outcome(made)[0]
    single = trainer(loss=WeightedLoss({"mse": 1.0}))
    monkeypatch.setattr(WeightedLoss, "shares", lambda *_: pytest.fail("one term has the whole gradient"))
    single.fit(Checkpoints(tmp_path / "single", "key"), StopAt(10**9), lambda *_: None)


def test_seeds_and_epochs_give_different_orders_and_runs(tmp_path: Path) -> None:
    assert not np.array_equal(epoch_order(1, 0, 50), epoch_order(1, 1, 50))
    assert not np.array_equal(epoch_order(1, 0, 50), epoch_order(2, 0, 50))
    assert sorted(epoch_order(1, 7, 50)) == list(range(50))
    one, two = trainer(seed=1), trainer(seed=2)
    assert outcome(one)[0] != outcome(two)[0]


@pytest.mark.parametrize("update", [1, 2], ids=["the-only-update", "the-second-update"])
def test_nan_stops_at_its_step_and_keeps_the_state_before(tmp_path: Path, update: int) -> None:
    recipe = RECIPE.model_copy(update={"reverse_input": update == 2})
    made, asked = trainer(recipe), Counter[int]()

    class Broken(WeightedLoss):
        def __call__(self, forecast: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            total, terms = super().__call__(forecast, target)
            asked[made.ledger.step] += made.model.training
            if made.model.training and (made.ledger.step, asked[4]) == (4, update):
                terms["l1"] = terms["l1"] * math.nan
                total = total * math.nan
            return total, terms

    made.loss = Broken({"mse": 1.0, "l1": 0.5})
    with pytest.raises(UserError, match=r"the/cell: step 5: loss term l1 is nan; .*lower learning_rate"):
        made.fit(Checkpoints(tmp_path, "key"), StopAt(10**9), lambda *_: None)
    resumed = trainer(recipe)
    resumed.fit(Checkpoints(tmp_path, "key"), StopAt(10**9), lambda *_: None)
    assert outcome(resumed) == undisturbed(tmp_path / "whole", recipe)


def test_a_gradient_that_is_not_finite_is_named_and_not_applied(tmp_path: Path) -> None:
    made = trainer()
    before = outcome(made)[0]

    def loss(forecast: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        total = (forecast - forecast).sqrt().sum()  # 0, with an infinite slope
        return total, {"mse": total}

    made.loss = loss  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"step 1: the gradient of encoder.0.gates.weight is not finite"):
        made.fit(Checkpoints(tmp_path, "key"), StopAt(10**9), lambda *_: None)
    assert outcome(made)[0] == before


def test_the_newest_good_generation_is_taken_and_damage_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = undisturbed(tmp_path / "whole")
    checkpoints = Checkpoints(tmp_path / "c", "key")
    for _ in range(3):
        with pytest.raises(NotFinished):
            trainer().fit(checkpoints, StopAt(2), lambda *_: None)
    older, newer = sorted(checkpoints.folder.glob("step-*"))
    content = bytearray(newer.read_bytes())
    content[-1] ^= 1
    newer.write_bytes(bytes(content))
    made = trainer()
    made.fit(checkpoints, StopAt(10**9), lambda *_: None)
    assert outcome(made) == expected
    (warning,) = capsys.readouterr().err.strip().splitlines()
    assert newer.name in warning
    assert "damaged" in warning
    good = sorted(path.name for path in checkpoints.folder.glob("step-*"))
    assert good[0] == older.name  # what is damaged does not count as one of the two generations
    assert len(good) == 2
    assert checkpoints.newest() is not None
    assert not capsys.readouterr().err  # and is told once


def test_a_checkpoint_folder_that_others_can_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cell = CHECKPOINTS / "the" / "cell" / "key"
    umask = os.umask(0)
    try:
        checkpoints = Checkpoints(cell, "key")
    finally:
        os.umask(umask)
    checkpoints.save(3, {"x": torch.zeros(2)}, {})
    for place, mode, words in (
        (cell, 0o777, f"{cell}: found mode 777, .*allowed: you and your group; run `chmod o-w {cell}`"),
        (cell, 0o1777, f"{cell}: found mode 1777"),
        (CHECKPOINTS / "the", 0o777, f"{CHECKPOINTS / 'the'}: found mode 777"),
        (CHECKPOINTS, 0o777, f"{CHECKPOINTS}: found mode 777"),
    ):
        place.chmod(mode)
        with pytest.raises(UserError, match=words):
            Checkpoints(cell, "key")
        place.chmod(0o755)
    for place, mode in ((cell, 0o2775), (CHECKPOINTS, 0o1777), (tmp_path, 0o777)):  # a group's; /tmp's; not ours to say
        place.chmod(mode)
        assert Checkpoints(cell, "key").newest() is not None
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(UserError, match=f"belongs to user {os.getuid()}, allowed: your own"):
            Checkpoints(cell, "key")
    assert not capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give a folder away (root)")
def test_a_checkpoint_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cell = CHECKPOINTS / "the" / "cell" / "key"
    Checkpoints(cell, "key")
    for place in (cell, CHECKPOINTS / "the", CHECKPOINTS):
        os.chown(place, 4242, 0)
        with pytest.raises(UserError, match=f"{place}: found one that belongs to user 4242"):
            Checkpoints(cell, "key")
        os.chown(place, 0, 0)
    os.chown(tmp_path, 4242, 0)  # who owns the working folder can change the code as well
    os.chown(CHECKPOINTS, 4242, 0)
    Checkpoints(cell, "key")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give a folder away (root)")
def test_a_group_that_shares_the_working_folder_shares_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another member's folders and files are taken; a stranger's are not, whatever group they seem to be of."""
    monkeypatch.chdir(tmp_path)
    ours = os.getegid()
    cell = CHECKPOINTS / "the" / "cell" / "key"
    Checkpoints(cell, "key").save(3, {"x": torch.zeros(2)}, {})
    (file,) = cell.glob("step-*")
    chain = [CHECKPOINTS, CHECKPOINTS / "the", CHECKPOINTS / "the" / "cell", cell, file]
    for path in chain:
        os.chown(path, 4242, ours)
    with pytest.raises(UserError, match="belongs to user 4242, allowed: your own"):
        Checkpoints(cell, "key")  # the working folder is nobody else's to write into
    tmp_path.chmod(0o2775)
    assert Checkpoints(cell, "key").newest() is not None
    for path, what in ((file, "found a link or somebody else's file"), (cell, "belongs to user 4242")):
        os.chown(path, 4242, 4242)
        with pytest.raises(UserError, match=what):
            Checkpoints(cell, "key").newest()
        os.chown(path, 4242, ours)
    file.chmod(0o666)
    with pytest.raises(UserError, match="found a link or somebody else's file"):
        Checkpoints(cell, "key").newest()
    file.chmod(0o664)
    CHECKPOINTS.chmod(0o3777)  # in such a folder everybody's files are of its group
    with pytest.raises(UserError, match=f"{CHECKPOINTS / 'the'}: found one that belongs to user 4242"):
        Checkpoints(cell, "key")
    CHECKPOINTS.chmod(0o2775)
    monkeypatch.setattr(os, "getgroups", lambda: [])
    monkeypatch.setattr(os, "getegid", lambda: ours + 1)
    with pytest.raises(UserError, match="belongs to user 4242"):
        Checkpoints(cell, "key")  # we are not of that group


def test_a_link_in_place_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", "key")
    checkpoints.save(3, {"x": torch.zeros(2)}, {})
    (path,) = checkpoints.folder.glob("step-*")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{path}: found a link or somebody else's file"):
        checkpoints.newest()


def test_foreign_and_wholly_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFinished):
        trainer().fit(Checkpoints(tmp_path, "aaaa"), StopAt(1), lambda *_: None)
    with pytest.raises(UserError, match="belongs to key aaaa, this cell has bbbb"):
        trainer().fit(Checkpoints(tmp_path, "bbbb"), StopAt(1), lambda *_: None)
    for path in tmp_path.glob("step-*"):
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="no good checkpoint is left"):
        trainer().fit(Checkpoints(tmp_path, "aaaa"), StopAt(1), lambda *_: None)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_schedules_equal_torch(schedule: str) -> None:
    """A cosine counts epochs, and one cycle counts steps."""
    steps = 37
    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=0.3)
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
    if schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=steps, eta_min=1e-3)
    elif schedule == "one_cycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(reference, 0.3, total_steps=steps)
    for step in range(steps):
        cosine = optimizers.cosine(0.3, step, steps, floor=1e-3)
        ours = cosine if schedule == "cosine" else optimizers.learning_rate(schedule, 0.3, step, steps)
        assert ours == pytest.approx(reference.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        reference.step()
        if scheduler is not None and step < steps - 1:
            scheduler.step()


OPTIMIZERS = pytest.mark.parametrize(("name", "reference"), [("adam", "Adam"), ("rmsprop", "RMSprop"), ("sgd", "SGD")])


@OPTIMIZERS
@pytest.mark.parametrize("steps", [2, 3, 4, 40])
def test_one_cycle_equals_torch_whose_momentum_cycles_too(name: str, reference: str, steps: int) -> None:
    """Adam's β₁, the momentum of the others, whatever they were set to."""
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    mine = optimizers.Optimizer(name, [ours], (0.5, 0.999), 0.0)
    other = getattr(torch.optim, reference)([theirs], lr=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(other, 0.05, total_steps=steps)
    for step in range(steps):
        for parameter in (ours, theirs):
            parameter.grad = (parameter.detach() * 3 + step).sin()
        group = other.param_groups[0]
        momentum = optimizers.momentum("one_cycle", 0.5, step, steps)
        assert momentum == pytest.approx(group["betas"][0] if name == "adam" else group["momentum"], abs=1e-12)
        mine.step(optimizers.learning_rate("one_cycle", 0.05, step, steps), momentum)
        other.step()
        if step < steps - 1:
            scheduler.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_loop_steps_a_cosine_once_an_epoch(tmp_path: Path) -> None:
    made = trainer(RECIPE.model_copy(update={"schedule": "cosine", "epochs": 3, "learning_rate_floor": 1e-4}))
    made.fit(Checkpoints(tmp_path, "key"), StopAt(10**9), lambda *_: None)
    seen = {row["epoch"]: row["learning_rate"] for row in made.ledger.history}
    peak, floor = RECIPE.learning_rate, 1e-4
    assert seen == {
        1: peak,
        2: pytest.approx(floor + 0.75 * (peak - floor)),
        3: pytest.approx(floor + 0.25 * (peak - floor)),
    }
    assert len({row["learning_rate"] for row in made.ledger.history}) == 3 < len(made.ledger.history)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_elsewhere_the_momentum_is_the_recipes(schedule: str) -> None:
    assert {optimizers.momentum(schedule, 0.7, step, 10) for step in range(10)} == {0.7}


def test_the_loop_cycles_the_momentum(tmp_path: Path) -> None:
    """Every step of a run is PyTorch's own step under PyTorch's own schedule."""
    made = trainer(RECIPE.model_copy(update={"clip_norm": None}))
    seen: list[float] = []
    step = made.optimizer.step
    made.optimizer.step = lambda rate, momentum: (seen.append(momentum), step(rate, momentum))  # type: ignore[method-assign]
    made.fit(Checkpoints(tmp_path, "key"), StopAt(10**9), lambda *_: None)
    reference = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(reference, 1e-2, total_steps=made.steps)
    for index, momentum in enumerate(seen):
        assert momentum == pytest.approx(reference.param_groups[0]["betas"][0], abs=1e-12)
        reference.step()
        if index < made.steps - 1:
            scheduler.step()
    assert len(seen) == made.steps


@OPTIMIZERS
def test_optimizers_equal_the_classes_of_torch(name: str, reference: str) -> None:
    options = {"betas": (0.9, 0.98)} if name == "adam" else {"momentum": 0.9}
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    mine = optimizers.Optimizer(name, [ours], (0.9, 0.98), 1e-2)
    other = getattr(torch.optim, reference)([theirs], lr=0.05, weight_decay=1e-2, **options)
    for step in range(20):
        for parameter in (ours, theirs):
            parameter.grad = (parameter.detach() * 3 + step).sin()
        mine.step(0.05)
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_clipping_equals_torch_and_keras() -> None:
    parameters = [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]
    gradients = [torch.randn(3, 4) * 4, torch.randn(5) * 0.01]

    def clipped(**rule: float) -> list[Tensor]:
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        optimizers.clip(parameters, optimizers.gradient_norms(parameters), **rule)
        return [p.grad for p in parameters if p.grad is not None]

    whole = clipped(whole=1.0)
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    torch.testing.assert_close(whole, [p.grad for p in parameters], rtol=1e-5, atol=1e-7)
    each = clipped(each=1.0)
    torch.testing.assert_close(each, [g * min(1.0, 1.0 / float(g.norm())) for g in gradients])
    for p, g in zip(parameters, each, strict=True):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(parameters, 0.3)
    torch.testing.assert_close(clipped(each=1.0, whole=0.3), [p.grad for p in parameters], rtol=1e-5, atol=1e-7)
