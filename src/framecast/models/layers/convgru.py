"""The ConvGRU cell and the encoder–forecaster around it, shared by SRVP and its own baseline (code yuseonk/SRVP).

With * a convolution with bias and "same" zero padding, and drop an element-wise dropout that only the gates see:

    [z; r] = σ(W_x * drop(x) + W_h * h)
    g      = tanh(W_xg * x + W_hg * (r ⊙ h))
    h′     = (1 − z) ⊙ g + z ⊙ h

L cells stand on each other, at full resolution and without normalisation. The encoder reads x₁ … x_T from zero states;
E holds its top states. The forecaster has weights of its own, starts from the encoder's last states, and is fed x_T and
then its own forecasts, in training too:

    S = forecaster(ŷ_{j−1}, S)      ŷ₀ = x_T
    ŷ_j = σ(W_out * [S_1; …; S_L; what the system adds])
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from framecast.models.base import Forecaster, Layer


class ConvGRUCell(nn.Module):
    """One ConvGRU step on maps: (x (B, C, H, W), h (B, D, H, W)) → h′ (B, D, H, W)."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.input_gates = nn.Conv2d(in_channels, 2 * hidden_channels, kernel_size, padding="same")
        self.hidden_gates = nn.Conv2d(hidden_channels, 2 * hidden_channels, kernel_size, padding="same")
        self.input_candidate = nn.Conv2d(in_channels, hidden_channels, kernel_size, padding="same")
        self.hidden_candidate = nn.Conv2d(hidden_channels, hidden_channels, kernel_size, padding="same")
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """h′."""
        z, r = self.gates(x, h)
        g = (self.input_candidate(x) + self.hidden_candidate(r * h)).tanh()
        return (1 - z) * g + z * h

    def gates(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """z, r."""
        z, r = (self.input_gates(self.drop(x)) + self.hidden_gates(h)).sigmoid().chunk(2, dim=1)
        return z, r


class Stack(nn.ModuleList):
    """L cells on top of each other, the lowest first; the new state of each is what the next one reads."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int, dropout: float, depth: int) -> None:
        widths = [in_channels, *[hidden_channels] * (depth - 1)]
        super().__init__(ConvGRUCell(width, hidden_channels, kernel_size, dropout) for width in widths)

    def forward(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One time step: the new states (B, D, H, W), the lowest first."""
        after = []
        for cell, h in zip(self, states, strict=True):
            x = cell(x, h)
            after.append(x)
        return tuple(after)


class ConvGRUForecaster(Forecaster):
    """The encoder–forecaster; a subclass says what stands beside the L states when a frame is read out.

    ``added`` counts the channels of what it adds. With ``checkpoint_steps`` the backward pass computes every time step
    a second time instead of remembering what was inside it: the same numbers, for a third more time and the memory of
    one step.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: int,
        hidden_channels: int,
        kernel_size: int,
        dropout: float,
        checkpoint_steps: bool,
        added: int = 0,
    ) -> None:
        super().__init__(frame_shape)
        self.hidden_channels = hidden_channels
        self.checkpoint_steps = checkpoint_steps
        channels = frame_shape[0]
        self.encoder = Stack(channels, hidden_channels, kernel_size, dropout, depth)
        self.forecaster = Stack(channels, hidden_channels, kernel_size, dropout, depth)
        self.read_out = nn.Conv2d(depth * hidden_channels + added, channels, 3, padding=1)

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Forecast (B, horizon, C, H, W); free-running also in training, so no teacher is used."""
        device = context.device.type
        if torch.is_autocast_enabled(device):  # else the states of mixed types are widened and narrowed at every step
            context = context.to(torch.get_autocast_dtype(device))
        tops, states = self.encode(context)
        memory = self.remember(context, tops)
        frame, forecast = context[:, -1], []
        for _ in range(horizon):
            frame, *states = self._step(self.forecast_step, frame, *states, *memory)
            forecast.append(frame)
        return torch.stack(forecast, dim=1)

    def encode(self, context: Float[Tensor, "b t c h w"]) -> tuple[Float[Tensor, "b t d h w"], list[Tensor]]:
        """E, and the L states after the last frame."""
        states, tops = self._zero_states(context), []
        for frame in context.unbind(1):
            states = list(self._step(lambda x, *before: self.encoder(x, before), frame, *states))
            tops.append(states[-1])
        return torch.stack(tops, dim=1), states

    def forecast_step(self, frame: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
        """(ŷ_{j−1}, S, what was remembered) → (ŷ_j, S′)."""
        depth = len(self.forecaster)
        states = self.forecaster(frame, carried[:depth])
        seen = torch.cat([*states, *self.attend(states, carried[depth:])], dim=1)
        return (self.read_out(seen).sigmoid(), *states)

    def remember(self, context: Tensor, tops: Tensor) -> tuple[Tensor, ...]:
        """What of the context (B, T, C, H, W) and of E (B, T, D, H, W) every forecast may look back at."""
        return ()

    def attend(self, states: Sequence[Tensor], memory: Sequence[Tensor]) -> Sequence[Tensor]:
        """Maps (B, ·, H, W) that stand beside the states when a frame is read out, ``added`` channels in all."""
        return ()

    def inside(self, frames: Tensor) -> list[Layer]:
        """What the encoder holds while it reads these frames, told in the words of an LSTM.

        h′ = (1 − z) ⊙ g + z ⊙ h is a cell with the forget gate z and the input gate 1 − z, whose whole content is its
        output: o = 1, and hidden and cell are one. The reset gate r has no counterpart there and is not shown.
        """
        layers, maps = [], frames
        for cell, h in zip(self.encoder, self._zero_states(frames), strict=True):
            assert isinstance(cell, ConvGRUCell)
            hidden, gates = [], []
            for x in maps.unbind(1):
                z = cell.gates(x, h)[0].mean(1)
                h = cell(x, h)
                hidden.append(h)
                gates.append(torch.stack([1 - z, z, torch.ones_like(z)], dim=1))
            maps = torch.stack(hidden, dim=1)
            layers.append(Layer(maps, maps, torch.stack(gates, dim=1)))
        return layers

    def _zero_states(self, frames: Tensor) -> list[Tensor]:
        zeros = frames.new_zeros(len(frames), self.hidden_channels, *self.frame_shape[1:])
        return [zeros] * len(self.encoder)

    def _step(self, step: Callable[..., tuple[Tensor, ...]], *arguments: Tensor) -> tuple[Tensor, ...]:
        if not (self.checkpoint_steps and torch.is_grad_enabled()):
            return step(*arguments)
        return checkpoint(step, *arguments, use_reentrant=False)  # type: ignore[no-any-return]
