"""The training loop.

    θ ← θ − Adam(∇_θ (Σ_i w_i L_i(forecast_θ, target) + Σ_j v_j P_j,θ))

What is forecast in training, against which frames, and what is added to the loss, the system says (its ``lesson``): the
frames x_{T+1}..x_{T+K} from x_1..x_T and nothing, where it says nothing else.

With ``reverse_input`` a step is two such updates: after that on the batch, one on the same sequences read backwards,
with the same sampling mask and learning rate, as the originals of PredRNN, PredRNN++ and MIM train
(thuml/predrnn-pytorch). Its losses are the means of both.

A run stopped at any step and started again is bit-identical to one never stopped: its state is the parameters, the
optimiser's moments, the snapshots and a little bookkeeping, all in the checkpoint; everything else (data order, random
numbers, augmentation, learning rate, momentum) is a function of the seed, the step and the history up to it.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from framecast.data.base import Split
from framecast.errors import NotFinished, UserError
from framecast.losses.base import WeightedLoss
from framecast.models.base import Forecaster, Lesson
from framecast.training import augmentation, optimizers, sampling, snapshots
from framecast.training.checkpoint import Checkpoint, Checkpoints
from framecast.training.seeding import epoch_order, seed_step

if TYPE_CHECKING:
    from framecast.study.params import Training
    from framecast.training.progress import Progress
    from framecast.training.stopping import Stop

Row = dict[str, Any]  #: a line of history.csv


@dataclass
class Ledger:
    """What a run knows besides tensors; saved with every checkpoint, so it must be plain values."""

    step: int = 0
    history: list[Row] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)  #: loss and terms since the last training row
    best_step: int = 0
    best_loss: float = math.inf
    stopped_early: bool = False

    @property
    def validations_since_best(self) -> int:
        """How many validations have passed without a new best one."""
        return sum(row["split"] == "validation" and row["step"] > self.best_step for row in self.history)

    def validation_losses(self, step: int) -> list[float]:
        """The validation losses that were known when ``step`` updates were made, oldest first."""
        return [row["loss"] for row in self.history if row["split"] == "validation" and row["step"] <= step]


class Trainer:
    """Trains one model by one recipe; ``cell`` names it in messages."""

    def __init__(
        self,
        cell: str,
        model: Forecaster,
        loss: WeightedLoss,
        train: Split,
        validation: Split,
        recipe: "Training",
        *,
        context: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.cell, self.loss, self.train, self.validation = cell, loss, train, validation
        self.recipe, self.context, self.seed, self.device = recipe, context, seed, device
        self.length = None if recipe.horizon is None else context + recipe.horizon  #: of a sequence
        self.model = model.to(device)
        if recipe.channels_last:
            _channels_last(self.model)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = optimizers.Optimizer(recipe.optimizer, self.parameters, recipe.betas, recipe.weight_decay)
        self.forward: Callable[..., Tensor] = self._compiled(self.model)
        self.lesson: Callable[..., Lesson] = self._compiled(self.model.lesson)
        self.ledger = Ledger()
        self.best: dict[str, Tensor] = {}
        self.snapshots: dict[int, Tensor] = {}  #: step → forecasts of the first validation sequences
        self.steps_per_epoch = -(-len(train) // recipe.batch_size)
        self.steps = recipe.epochs * self.steps_per_epoch

    # --- the run ----------------------------------------------------------------------------------

    def fit(
        self, checkpoints: Checkpoints, stop: "Stop", tell: "Progress", save_every: Callable[[], bool] = lambda: False
    ) -> Ledger:
        """Train to the last step and leave the selected weights in ``model``.

        Raises NotFinished, with a checkpoint on disk, when ``stop`` asks for it at a step boundary; UserError, with
        the last good state on disk, when a training loss or a gradient is not finite; UserError, the checkpoints left
        as they were, when the validation loss is not.
        """
        if (checkpoint := checkpoints.newest()) is not None:
            self._restore(checkpoint)
        while not self.finished:
            if (reason := stop.reason()) is not None:
                self._save(checkpoints)
                raise NotFinished(f"{self.cell}: {reason}; saved at step {self.ledger.step} of {self.steps}, run again")
            try:
                loss = self._step()
            except _NotFinite as fault:
                self._save(checkpoints)
                raise UserError(
                    f"cell {self.cell}: step {self.ledger.step + 1}: {fault}; the state before that step is kept in "
                    f"{checkpoints.folder}; lower learning_rate or set clip_norm in params.yaml"
                ) from None
            if self._validation_is_due():
                self._validate()
            tell(self.ledger.step, self.steps, loss)
            if save_every():
                self._save(checkpoints)
        self._save(checkpoints)
        if self.recipe.selection == "best_validation":
            self.model.load_state_dict(self.best)
        return self.ledger

    @property
    def finished(self) -> bool:
        """Whether the last step was made, or early stopping said that no more are wanted."""
        return self.ledger.step >= self.steps or self.ledger.stopped_early

    def _step(self) -> float:
        """One step, returning its loss. Nothing changes when the loss or a gradient is not finite."""
        step = self.ledger.step
        seed_step(self.seed, step)
        self.model.train()
        epoch = step // self.steps_per_epoch
        sequences = self.train.batch(self._training_batch(step), epoch)[:, : self.length].contiguous()
        truth, seen = augmentation.augmented(
            sequences, flips=self.recipe.flips, rotations=self.recipe.rotations, noise=self.recipe.noise
        )
        given = sampling.given(self.recipe, self.seed, step, self.steps, truth, self.context)
        if self.recipe.reverse_input:
            forecast, target, values = self._both_ways(seen, truth, given)
        else:
            forecast, target, values = self._update(seen, truth, given)
        self.ledger.step += 1
        for name, value in values.items():
            self.ledger.sums[name] = self.ledger.sums.get(name, 0.0) + value
        self.ledger.sums["steps"] = self.ledger.sums.get("steps", 0) + 1
        if self._row_is_due():
            self._close_row(forecast, target)
        return values["loss"]

    def _both_ways(self, seen: Tensor, truth: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor, dict[str, float]]:
        """An update forwards and one backwards, or neither; forecast and target are those of the second."""
        state = [*self.model.state_dict().values(), *self.optimizer.tensors().values()]
        before = [value.clone() for value in state]
        *_, forwards = self._update(seen, truth, given)
        try:
            forecast, target, backwards = self._update(seen.flip(1), truth.flip(1), given)
        except _NotFinite:
            for value, kept in zip(state, before, strict=True):
                value.copy_(kept)
            raise
        return forecast, target, {name: (forwards[name] + backwards[name]) / 2 for name in forwards}

    def _update(self, seen: Tensor, truth: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Forecast, target and the loss with its terms, of a batch whose gradient the weights have followed."""
        with self._autocast():
            forecast, target, penalties = self.lesson(seen, truth, self.context, given)
        total, terms = self.loss(forecast, target)
        for name, penalty in penalties.items():
            total, terms = total + penalty.weight * penalty.value, terms | {name: penalty.value}
        self.model.zero_grad(set_to_none=True)
        total.backward()
        norms = optimizers.gradient_norms(self.parameters)
        values = self._finite({"loss": total, **terms}, norms)
        optimizers.clip(self.parameters, norms, self.recipe.clip_norm, self.recipe.clip_norm_each)
        step = self.ledger.step
        momentum = optimizers.momentum(self.recipe.schedule, self.recipe.betas[0], step, self.steps)
        self.optimizer.step(self._learning_rate(step), momentum)
        return forecast, target, values

    def held_out(self, indices: np.ndarray) -> Tensor:
        """Validation sequences (B, T+K, *frame), as long as what is trained on."""
        return self.validation.batch(indices)[:, : self.length].contiguous()

    def _forecast(self, sequences: Tensor) -> Tensor:
        """(B, T+K, *frame) → (B, K, *frame): the model reads the context, and the rest as its teacher."""
        context, teacher = sequences[:, : self.context], sequences[:, self.context :]
        with self._autocast():
            return self.forward(context, teacher.shape[1], teacher)

    def _training_batch(self, step: int) -> np.ndarray:
        epoch, position = divmod(step, self.steps_per_epoch)
        if position == 0 or not hasattr(self, "_order"):
            self._order = epoch_order(self.seed, epoch, len(self.train))
        return self._order[position * self.recipe.batch_size : (position + 1) * self.recipe.batch_size]

    def _finite(self, terms: Mapping[str, Tensor], norms: Tensor) -> dict[str, float]:
        """The terms as floats, fetched from the device together with the gradient norm: one wait per step."""
        *values, norm = torch.stack([*(term.detach().float() for term in terms.values()), norms.sum()]).tolist()
        found = dict(zip(terms, values, strict=True))
        for name in [*list(found)[1:], "loss"]:  # a broken term breaks the sum: name the term first
            if not math.isfinite(found[name]):
                raise _NotFinite(f"{'the loss' if name == 'loss' else f'loss term {name}'} is {found[name]}")
        if not math.isfinite(norm):
            named = [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]
            raise _NotFinite(f"the gradient of {named[int((~norms.isfinite()).nonzero()[0])]} is not finite")
        return found

    # --- bookkeeping ------------------------------------------------------------------------------

    def _row_is_due(self) -> bool:
        return self.ledger.step % self.recipe.log_every == 0 or self.ledger.step % self.steps_per_epoch == 0

    def _close_row(self, forecast: Tensor, target: Tensor) -> None:
        """A training row: the means since the last one, and each term's share of the gradient at this very step."""
        count = self.ledger.sums.pop("steps")
        means = {name: value / count for name, value in self.ledger.sums.items()}
        shares = self.loss.shares(forecast, target) if len(self.loss.terms) > 1 else {}
        self._add_row("train", means | {f"share_{name}": share for name, share in shares.items()})
        self.ledger.sums = {}

    def _validation_is_due(self) -> bool:
        epochs, steps_into_the_next = divmod(self.ledger.step, self.steps_per_epoch)
        at_its_turn = steps_into_the_next == 0 and epochs % self.recipe.validate_every == 0
        return self.ledger.step >= self.steps or at_its_turn

    def _validate(self) -> None:
        """Mean loss over the validation split; remembers the best weights, and at times what was forecast."""
        self.model.eval()
        sums: dict[str, float] = {}
        first = torch.empty(0)
        size = max(self.recipe.batch_size, 16)
        with torch.no_grad():
            for start in range(0, len(self.validation), size):
                indices = np.arange(start, min(start + size, len(self.validation)))
                sequences = self.held_out(indices)
                forecast = self._forecast(sequences)
                if start == 0:  # at once: a compiled model may write its next forecast into the same memory
                    first = snapshots.stored(forecast[: snapshots.SEQUENCES])
                total, terms = self.loss(forecast, sequences[:, self.context :])
                for name, value in {"loss": total, **terms}.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(indices)
        means = {name: value / len(self.validation) for name, value in sums.items()}
        if not math.isfinite(means["loss"]):
            raise UserError(f"cell {self.cell}: step {self.ledger.step}: the validation loss is {means['loss']}")
        if means["loss"] < self.ledger.best_loss:
            self.ledger.best_loss, self.ledger.best_step = means["loss"], self.ledger.step
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self._add_row("validation", means)
        patience = self.recipe.early_stopping
        self.ledger.stopped_early = bool(patience) and self.ledger.validations_since_best >= patience
        if self.finished or self._snapshot_is_due():
            self.snapshots[self.ledger.step] = first

    def _snapshot_is_due(self) -> bool:
        made = len(self.ledger.validation_losses(self.ledger.step))
        return snapshots.due(made, -(-self.recipe.epochs // self.recipe.validate_every))

    def _add_row(self, split: str, means: Mapping[str, float]) -> None:
        step = self.ledger.step
        row = {"step": step, "epoch": -(-step // self.steps_per_epoch), "split": split}
        self.ledger.history.append(row | {"learning_rate": self._learning_rate(step - 1), **means})

    def _learning_rate(self, step: int) -> float:
        """The learning rate of the update number ``step``, counted from 0."""
        recipe = self.recipe
        if recipe.schedule == "plateau":
            return optimizers.plateau(
                recipe.learning_rate,
                self.ledger.validation_losses(step),
                factor=recipe.plateau_factor,
                patience=recipe.plateau_patience,
                floor=recipe.learning_rate_floor,
                min_delta=recipe.plateau_min_delta,
            )
        if recipe.schedule == "cosine":
            epoch = step // self.steps_per_epoch
            return optimizers.cosine(recipe.learning_rate, epoch, recipe.epochs, recipe.learning_rate_floor)
        return optimizers.learning_rate(recipe.schedule, recipe.learning_rate, step, self.steps)

    # --- state ------------------------------------------------------------------------------------

    def _save(self, checkpoints: Checkpoints) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"optimizer.{name}": value for name, value in self.optimizer.tensors().items()}
        tensors |= {f"snapshot.{step}": forecast for step, forecast in self.snapshots.items()}
        checkpoints.save(self.ledger.step, tensors, vars(self.ledger))

    def _restore(self, checkpoint: Checkpoint) -> None:
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}, "snapshot": {}}
        for name, value in checkpoint.tensors.items():
            group, rest = name.split(".", 1)
            groups[group][rest] = value
        self.model.load_state_dict(groups["model"])
        self.best = {name: value.to(self.device) for name, value in groups["best"].items()}
        self.optimizer.load(groups["optimizer"])
        self.snapshots = {int(step): forecast for step, forecast in groups["snapshot"].items()}
        self.ledger = Ledger(**checkpoint.notes)

    # --- speed ------------------------------------------------------------------------------------

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.recipe.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.recipe.compile == "off":
            return function
        return torch.compile(function, mode=self.recipe.compile)


def _channels_last(model: nn.Module) -> None:
    """Lay 2-D convolution weights out channels last; other weights have no such layout."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class _NotFinite(Exception):
    """A loss term or gradient that is NaN or infinite."""
