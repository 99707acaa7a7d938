"""Next-frame ConvLSTM for video (KARTAL): frames 0 … N−2 in, frames 1 … N−1 out.

Up to three blocks, D maps each, with kernels 5, 3, 1 and "same" zero padding. A block is a ConvLSTM over all steps, a
normalisation, and optionally attention; the head turns the last block's maps into one frame per step:

    H₁ … H_L = blocks(x₀ … x_{N−2})            ŷ_{t+1} = σ(W_head * [H_L at t−2, t−1, t])

``cell="as_described"`` is the cell of Shi et al. (2015), whose gates peek at the cell, the output gate at the new one:

    i = σ(W_xi*x + W_hi*h + w_ci⊙c + b_i)      f = σ(W_xf*x + W_hf*h + w_cf⊙c + b_f)
    c′ = f⊙c + i⊙tanh(W_xc*x + W_hc*h + b_c)   o = σ(W_xo*x + W_ho*h + w_co⊙c′ + b_o)      h′ = o⊙tanh(c′)

``cell="as_coded"`` has no peepholes and ReLU in the place of both tanh.

The head is a 3×3×3 convolution. The published one pads time on both sides, so that forecast t + 1 sees the maps of
step t + 1, which have read the very frame it must forecast: ``head="leaky"``, for replication only. ``"causal"`` pads
two zero steps in front and none behind; ``"last_only"`` has a kernel of one step.

With a teacher the model reads the true frames; without, it goes on from its own output with the states carried on,
which equals reading its output again from the start.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from framecast.models.base import Forecaster, Layer
from framecast.models.layers.gates import lstm_gates
from framecast.ranges import PositiveInt, UnitInterval

FRAMES = "video"
LEAKS = {"head": ("leaky",)}  #: only in a named replication
KERNELS = (5, 3, 1)  #: of the blocks, from the input up
EPSILON = 1e-3  #: of the normalisation

State = tuple[Tensor, Tensor]  #: (h, c), each (B, D, H, W)
Seen = tuple[Tensor, Tensor]  #: of one step: i, f, o as means over D (B, 3, H, W), and c′ (B, D, H, W)
Peephole = Literal["none", "per_channel", "full_map"]


class NextFrameCell(nn.Module):
    """A ConvLSTM whose input is convolved for all steps at once: (B, T, C, H, W) → (B, T, D, H, W)."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int,
        size: tuple[int, int],
        *,
        peephole: Peephole,
        activation: Literal["tanh", "relu"],
    ) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.activation = torch.tanh if activation == "tanh" else torch.relu
        self.is_plain = peephole == "none" and activation == "tanh"
        self.input = nn.Conv2d(in_channels, 4 * hidden_channels, kernel_size, padding="same")
        self.recurrent = nn.Conv2d(hidden_channels, 4 * hidden_channels, kernel_size, padding="same", bias=False)
        places = size if peephole == "full_map" else (1, 1)
        weights = torch.zeros(3, hidden_channels, *places)
        self.peephole = None if peephole == "none" else nn.Parameter(weights)
        self._initialise()

    def forward(self, x: Tensor, state: State | None = None, seen: list[Seen] | None = None) -> tuple[Tensor, State]:
        """All steps from a state, zeros by default: the hidden maps of each, and the state after the last.

        Where a list is given, what cannot be told from the hidden maps is appended to it at every step.
        """
        advance = self.step if seen is None else partial(self._step_seen, seen)
        inputs = self.input(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        if state is None:
            zeros = inputs.new_zeros(len(x), self.hidden_channels, *x.shape[3:])
            state = zeros, zeros
        hidden = []
        for step in inputs.unbind(1):
            state = advance(step + self.recurrent(state[0]), state[1])
            hidden.append(state[0])
        return torch.stack(hidden, dim=1), state

    def step(self, preactivations: Tensor, c: Tensor) -> State:
        """(W_x*x + W_h*h + b, c) → (h′, c′), the gates in the order i, f, g, o."""
        if self.is_plain:
            return lstm_gates(preactivations, c)
        _, _, o, c = self.gates(preactivations, c)
        return o * self.activation(c), c

    def gates(self, preactivations: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(W_x*x + W_h*h + b, c) → (i, f, o, c′)."""
        i, f, g, o = preactivations.chunk(4, dim=1)
        if self.peephole is not None:
            i, f = i + self.peephole[0] * c, f + self.peephole[1] * c
        c = (f := f.sigmoid()) * c + (i := i.sigmoid()) * self.activation(g)
        if self.peephole is not None:
            o = o + self.peephole[2] * c
        return i, f, o.sigmoid(), c

    def _step_seen(self, seen: list[Seen], preactivations: Tensor, c: Tensor) -> State:
        """The same step, looked at: its gates are computed once more, its state is the one of ``step``."""
        gates = self.gates(preactivations, c)[:3]
        state = self.step(preactivations, c)
        seen.append((torch.stack([gate.mean(1) for gate in gates], dim=1), state[1]))
        return state

    def _initialise(self) -> None:
        """As Keras does: Glorot-uniform on the input, orthogonal on the state, biases 0 but 1 for the forget gate."""
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.orthogonal_(self.recurrent.weight)
        assert self.input.bias is not None
        nn.init.zeros_(self.input.bias)
        nn.init.ones_(self.input.bias.data.chunk(4)[1])


class SpatialAttention(nn.Module):
    """CBAM's mask over places: σ(W₇ₓ₇ * [mean over channels; maximum over channels]) ⊙ x, no bias, He-normal W."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding="same", bias=False)
        nn.init.kaiming_normal_(self.conv.weight)

    def mask(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n 1 h w"]:
        """How much of each place passes, 0 to 1."""
        return self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)).sigmoid()

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d h w"]:
        """The masked maps."""
        return self.mask(x) * x


class ChannelAttention(nn.Module):
    """A mask over channels: σ(W₂ ReLU(W₁ mean over places + b₁) + b₂) ⊙ x, with D/8 units between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(1, channels // 8))
        self.excite = nn.Linear(max(1, channels // 8), channels)
        for dense in (self.squeeze, self.excite):
            nn.init.xavier_uniform_(dense.weight)
            nn.init.zeros_(dense.bias)

    def mask(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d 1 1"]:
        """How much of each channel passes, 0 to 1."""
        return self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()[..., None, None]

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d h w"]:
        """The weighted maps."""
        return self.mask(x) * x


class Block(nn.Module):
    """ConvLSTM → normalisation → attention, every step by itself but for the recurrence."""

    def __init__(self, cell: NextFrameCell, after: nn.Sequential) -> None:
        super().__init__()
        self.cell = cell
        self.after = after

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """(B, T, C, H, W) and a state → (B, T, D, H, W) and the state after the last step."""
        hidden, state = self.cell(x, state)
        return self.after(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2]), state

    def inside(self, x: Tensor) -> tuple[Tensor, Layer]:
        """The output of ``forward`` from zero states, and what was on the way to it."""
        seen: list[Seen] = []
        hidden, _ = self.cell(x, None, seen)
        gates, cells = zip(*seen, strict=True)
        layer = Layer(hidden, torch.stack(cells, dim=1), torch.stack(gates, dim=1))
        maps = hidden.flatten(0, 1)
        for stage in self.after:
            if isinstance(stage, SpatialAttention):
                layer = layer._replace(spatial_attention=stage.mask(maps)[:, 0].unflatten(0, x.shape[:2]))
            elif isinstance(stage, ChannelAttention):
                layer = layer._replace(channel_attention=stage.mask(maps)[..., 0, 0].unflatten(0, x.shape[:2]))
            maps = stage(maps)
        return maps.unflatten(0, x.shape[:2]), layer


class Head(nn.Module):
    """Maps of successive steps to frames, σ(Conv3D): (B, T, D, H, W) → (B, T, C, H, W)."""

    def __init__(self, hidden_channels: int, channels: int, kind: Literal["causal", "leaky", "last_only"]) -> None:
        super().__init__()
        steps = 1 if kind == "last_only" else 3
        self.padding = {"causal": (2, 0), "leaky": (1, 1), "last_only": (0, 0)}[kind]
        self.conv = nn.Conv3d(hidden_channels, channels, (steps, 3, 3), padding=(0, 1, 1))
        nn.init.xavier_uniform_(self.conv.weight)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Every step's frame, zeros standing for the steps before the first and after the last."""
        padded = functional.pad(hidden.transpose(1, 2), (0, 0, 0, 0, *self.padding))
        return self.conv(padded).transpose(1, 2).sigmoid()


class NextFrame(Forecaster):
    """Three ConvLSTM blocks and a convolution over time; (B, T, C, H, W) → (B, K, C, H, W), forecasts in [0, 1].

    >>> sum(p.numel() for p in NextFrame((1, 64, 64), depth=3, cell="as_coded", peephole="none").parameters())
    746561
    """

    READS_TEACHER = True

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: PositiveInt,
        hidden_channels: PositiveInt = 64,
        cell: Literal["as_described", "as_coded"] = "as_described",
        peephole: Literal["none", "per_channel", "full_map"] = "per_channel",
        normalisation: Literal["none", "batch", "batch_relu", "relu_batch"] = "batch",
        normalise_last: bool = True,
        normalisation_momentum: UnitInterval = 0.01,
        spatial_attention: Literal["none", "last", "every"] = "none",
        channel_attention: Literal["none", "last", "every"] = "none",
        head: Literal["causal", "leaky", "last_only"] = "causal",
    ) -> None:
        super().__init__(frame_shape)
        kernels = KERNELS[:depth] + (KERNELS[-1],) * (depth - len(KERNELS))
        self.blocks = nn.ModuleList()
        for layer, kernel_size in enumerate(kernels):
            last = layer == depth - 1
            wanted = normalisation if normalise_last or not last else "none"
            recurrent = NextFrameCell(
                frame_shape[0] if layer == 0 else hidden_channels,
                hidden_channels,
                kernel_size,
                (frame_shape[1], frame_shape[2]),
                peephole=peephole,
                activation="relu" if cell == "as_coded" else "tanh",
            )
            after = [*_normalisation(wanted, hidden_channels, normalisation_momentum)]
            if channel_attention == "every" or (channel_attention == "last" and last):
                after.append(ChannelAttention(hidden_channels))
            if spatial_attention == "every" or (spatial_attention == "last" and last):
                after.append(SpatialAttention())
            self.blocks.append(Block(recurrent, nn.Sequential(*after)))
        self.head = Head(hidden_channels, frame_shape[0], head)

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Forecast (B, horizon, C, H, W): each from the true frames before it, or without a teacher from its own."""
        if teacher is None:
            return self._free_run(context, horizon)
        frames = torch.cat([context, teacher[:, : horizon - 1]], dim=1)
        maps, _ = self._blocks(frames, [None] * len(self.blocks))
        return self.head(maps)[:, context.shape[1] - 1 :]

    def inside(self, frames: Tensor) -> list[Layer]:
        """What each block's cell and attention hold while they read these frames."""
        maps, layers = frames, []
        for block in self.blocks:
            assert isinstance(block, Block)
            maps, layer = block.inside(maps)
            layers.append(layer)
        return layers

    def _free_run(self, context: Tensor, horizon: int) -> Tensor:
        """Continue from the last output; the past is not computed again, its states and last two maps are carried."""
        maps, states = self._blocks(context, [None] * len(self.blocks))
        forecast = [self.head(maps[:, -3:])[:, -1]]
        while len(forecast) < horizon:
            new, states = self._blocks(forecast[-1].unsqueeze(1), states)
            maps = torch.cat([maps[:, -2:], new], dim=1)
            forecast.append(self.head(maps)[:, -1])
        return torch.stack(forecast, dim=1)

    def _blocks(self, x: Tensor, states: "list[State | None]") -> "tuple[Tensor, list[State | None]]":
        after: list[State | None] = []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block(x, state)
            after.append(state)
        return x, after


def _normalisation(kind: str, channels: int, momentum: float) -> Iterator[nn.Module]:
    """Batch normalisation per channel over batch, time and places, with or without a ReLU on either side.

    ``momentum`` is the new batch's part of the running statistics (Keras counts the other way round, 0.99). They start
    at mean 0 and variance 1 and are what the network sees when it is not trained: with 0.01 they need some 500 steps.
    """
    if kind == "relu_batch":
        yield nn.ReLU()
    if kind != "none":
        yield nn.BatchNorm2d(channels, eps=EPSILON, momentum=momentum)
    if kind == "batch_relu":
        yield nn.ReLU()
