"""The encoder–decoder scheme of COLEMAN, shared by its LSTM and its ConvLSTM.

The encoder reads the T context frames from zero states. What crosses over to the decoder, and what the decoder is
fed, differs between the thesis' text and its code; ``handover`` chooses.

``as_coded``      the top hidden state s₀ of the encoder is all that crosses; the decoder starts from its own zero
                  states and is fed its own last top hidden state: s_j = decoder(s_{j−1}), ŷ_j = σ(W s_j + b).
``as_described``  every layer's (h, c) is copied to the decoder, which is fed frames: ŷ_j = σ(W s_j + b) with
                  s_j = decoder(ŷ_{j−1}), and ŷ₀ the last context frame.

Likewise ``layer_semantics``: the code builds depth + 1 cells on each side where the text says depth; and the runs that
were published for series never passed the depth on to it, so that ``as_trained`` is two cells, whatever the depth.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from framecast.models.base import Forecaster

State = tuple[Tensor, Tensor]  #: (h, c), each (B, D, *size)


class Stack(nn.ModuleList):
    """Recurrent cells on top of each other: a cell maps (x, (h, c)) to (h′, c′), and h′ feeds the next cell."""

    def forward(self, x: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """One time step: the top hidden state and the new states, bottom first."""
        after = []
        for cell, state in zip(self, states, strict=True):
            h, c = cell(x, state)
            after.append((h, c))
            x = h
        return x, after


class Seq2Seq(Forecaster):
    """Encoder–decoder over any recurrent cell.

    ``cell(in_channels)`` builds one cell whose hidden state has ``hidden`` channels; ``read_out`` maps hidden states
    (B, K, D, *size) to frames (B, K, C, *size) in [0, 1].
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        cell: Callable[[int], nn.Module],
        read_out: nn.Module,
        hidden: int,
        depth: int,
        layer_semantics: str,
        handover: str,
    ) -> None:
        super().__init__(frame_shape)
        cells = {"as_described": depth, "as_coded": depth + 1, "as_trained": 2}[layer_semantics]
        channels = frame_shape[0]
        fed_back = hidden if handover == "as_coded" else channels
        self.hidden = hidden
        self.handover = handover
        self.encoder = Stack(cell(channels if layer == 0 else hidden) for layer in range(cells))
        self.decoder = Stack(cell(fed_back if layer == 0 else hidden) for layer in range(cells))
        self.read_out = read_out

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Forecast (B, horizon, *frame) from (B, T, *frame); free-running also in training, so no teacher is used."""
        device = context.device.type
        if torch.is_autocast_enabled(device):  # else [x; h] of mixed types is widened and narrowed again at every step
            context = context.to(torch.get_autocast_dtype(device))
        top, states = self._encode(context, self._zero_states(context, len(self.encoder)))
        if self.handover == "as_coded":
            return self._decode_hidden(top, horizon, self._zero_states(context, len(self.decoder)))
        return self._decode_frames(context[:, -1], horizon, states)

    def _encode(self, context: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """The top hidden state after the last context frame, and every layer's state."""
        for frame in context.unbind(1):
            top, states = self.encoder(frame, states)
        return top, states

    def _decode_hidden(self, top: Tensor, horizon: int, states: list[State]) -> Tensor:
        tops = []
        for _ in range(horizon):
            top, states = self.decoder(top, states)
            tops.append(top)
        return self.read_out(torch.stack(tops, dim=1))

    def _decode_frames(self, frame: Tensor, horizon: int, states: list[State]) -> Tensor:
        forecast = []
        for _ in range(horizon):
            top, states = self.decoder(frame, states)
            frame = self.read_out(top.unsqueeze(1)).squeeze(1)
            forecast.append(frame)
        return torch.stack(forecast, dim=1)

    def _zero_states(self, context: Tensor, cells: int) -> list[State]:
        zeros = context.new_zeros(len(context), self.hidden, *self.frame_shape[1:])
        return [(zeros, zeros)] * cells
