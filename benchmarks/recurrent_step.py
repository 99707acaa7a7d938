"""A training step of the small recurrent networks against the same step by the authors' plain formula.

Both are the training loop's own step with the same weights: batch, forward, loss, backward, optimiser. The reference
walks cell by cell through time and leaves the gradient of every gate to autograd, as the published code does.
"""

import copy
import functools

import torch
from torch import Tensor, nn

from benchmarks.base import Row, paired
from benchmarks.training_step import as_in_a_job
from framecast.data.base import StoredSplit
from framecast.losses.base import WeightedLoss
from framecast.models.layers.seq2seq import Seq2Seq, State
from framecast.models.seq2seq_convlstm import Seq2SeqConvLSTM
from framecast.models.seq2seq_lstm import Seq2SeqLSTM
from framecast.study.params import Training
from framecast.training.loop import Trainer

CPU = torch.device("cpu")


def rows() -> list[Row]:
    """The published LSTM and the one of the text, and the demo's ConvLSTM, on one core."""
    described = {"layer_semantics": "as_described", "handover": "as_described"}
    lstm = functools.partial(Seq2SeqLSTM, (1,))
    with as_in_a_job():
        return [
            _compared("LSTM step, as coded", lstm(depth=1, layer_semantics="as_trained", handover="as_coded"), 64, 25),
            _compared("LSTM step, as described, depth 3", lstm(depth=3, **described), 64, 25),
            _compared(
                "ConvLSTM step, the demo's",
                Seq2SeqConvLSTM((1, 18, 18), depth=1, hidden_channels=16, **described),
                8,
                10,
            ),
        ]


class _PlainCell(nn.Module):
    """(x, (h, c)) → (h′, c′) by the formula as it is written."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.gates = cell.gates

    def forward(self, x: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = torch.split(self.gates(torch.cat([x, h], dim=1)), c.shape[1], dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def _plain(model: Seq2Seq) -> Seq2Seq:
    model = copy.deepcopy(model)
    for stack in (model.encoder, model.decoder):
        for layer, cell in enumerate(stack):
            stack[layer] = _PlainCell(cell)
    model._encode = functools.partial(Seq2Seq._encode, model)
    return model


def _compared(name: str, model: Seq2Seq, batch: int, frames: int) -> Row:
    step, plain, times = paired(*(_trainer(m, batch, frames)._step for m in (model, _plain(model))), repeats=15)
    reference = f"{plain * 1e3:.1f} ms (the plain formula)"
    return Row(name, f"{step * 1e3:.1f} ms/step", reference, times, "×", "≥ 1", times >= 1)


def _trainer(model: Seq2Seq, batch: int, frames: int) -> Trainer:
    recipe = Training(epochs=10**6, batch_size=batch, learning_rate=1e-3, betas=(0.9, 0.98))
    split = StoredSplit(torch.rand(2 * batch, 2 * frames, *model.frame_shape), CPU)
    loss = WeightedLoss({"mse": 1.0})
    return Trainer("the step", model, loss, split, split, recipe, context=frames, seed=0, device=CPU)
