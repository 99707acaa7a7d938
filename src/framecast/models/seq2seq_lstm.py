"""Seq2Seq LSTM for 1-D series (COLEMAN; M. Coleman, Princeton independent work report, 2022; code msc5/junior-iw).

Per cell, with one affine map of [x; h] split in the order i, f, g, o:

    i, f, o = σ(·)      g = tanh(·)
    c′ = f ⊙ c + i ⊙ g
    h′ = o ⊙ tanh(c′)

No peepholes, no forget-gate bias. Every forecast passes a sigmoid: ŷ_j = σ(w · s_j + b).

The published "1-, 2- and 3-layer" LSTMs are one and the same network of two cells per side (116 033 parameters),
because the layer count never reached the model: ``layer_semantics="as_trained", handover="as_coded"`` rebuilds it under
each of the three names. The defaults build what the text describes.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from framecast.models.layers.gates import lstm_gates
from framecast.models.layers.seq2seq import Seq2Seq, State
from framecast.ranges import PositiveInt

FRAMES = "series"


class LSTMCell(nn.Module):
    """One LSTM step on vectors: (x (B, C), (h, c) (B, D)) → (h′, c′)."""

    def __init__(self, in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.gates = nn.Linear(in_channels + hidden_size, 4 * hidden_size)

    def forward(self, x: Tensor, state: State) -> State:
        """i, f, g, o = W [x; h] + b, and from them c′ and h′."""
        h, c = state
        ifgo = self.gates(torch.cat([x, h], dim=1))
        return lstm_gates(ifgo, c)

    def read(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """The same over all frames at once, (B, T, C) → (B, T, D) and the state after the last, by PyTorch's own LSTM.

        Its second bias is zero: the affine map of [x; h] has one.
        """
        h, c = (part.unsqueeze(0) for part in state)
        of_input, of_hidden = self.gates.weight.split([frames.shape[2], h.shape[2]], dim=1)
        weights = [of_input, of_hidden, self.gates.bias, torch.zeros_like(self.gates.bias)]
        hidden, h, c = torch.lstm(frames, (h, c), weights, True, 1, 0.0, self.training, False, True)
        return hidden, (h[0], c[0])


class Seq2SeqLSTM(Seq2Seq):
    """Encoder and decoder stacks of ``depth`` LSTM cells; (B, T, C) → (B, K, C), forecasts in [0, 1].

    >>> model = Seq2SeqLSTM((1,), depth=3, layer_semantics="as_trained", handover="as_coded")
    >>> sum(p.numel() for p in model.parameters())
    116033
    >>> model(torch.rand(2, 25, 1), horizon=5).shape
    torch.Size([2, 5, 1])
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: PositiveInt,
        hidden_size: PositiveInt = 64,
        layer_semantics: Literal["as_described", "as_coded", "as_trained"] = "as_described",
        handover: Literal["as_described", "as_coded"] = "as_described",
    ) -> None:
        super().__init__(
            frame_shape,
            cell=lambda channels: LSTMCell(channels, hidden_size),
            read_out=nn.Sequential(nn.Linear(hidden_size, frame_shape[0]), nn.Sigmoid()),
            hidden=hidden_size,
            depth=depth,
            layer_semantics=layer_semantics,
            handover=handover,
        )

    def _encode(self, context: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """Layer by layer, since every frame is there from the start."""
        if torch.compiler.is_compiling():  # which sees through the plain steps only
            return super()._encode(context, states)
        after = []
        for cell, state in zip(self.encoder, states, strict=True):
            assert isinstance(cell, LSTMCell)
            context, state = cell.read(context, state)
            after.append(state)
        return context[:, -1], after
