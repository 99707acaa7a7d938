"""ConvLSTM-S: the ConvLSTM of the benchmarks (chengtan9907/OpenSTL), small in its widths.

The cell is that of X. Shi, Z. Chen, H. Wang, D.-Y. Yeung, W. Wong, W. Woo, "Convolutional LSTM Network: A Machine
Learning Approach for Precipitation Nowcasting", NeurIPS 2015, as the benchmark codes it, without peepholes and biases:

    [i; f; g; o] = W_x * x + W_h * h
    c′ = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
    h′ = σ(o) ⊙ tanh(c′)

``depth`` layers of D = ``hidden_channels`` maps stand on each other in the loop of ``layers/unroll.py``.

Departures from the code: W_x and W_h are one convolution of [x; h]; its two further convolutions in each cell, which
nothing reads, are left out (11 675 648 parameters instead of 15 083 520). The code names a forget bias of 1, but adds
it nowhere, and so it is here.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from framecast.models.layers.gates import lstm_gates
from framecast.models.layers.seq2seq import Stack, State
from framecast.models.layers.unroll import Held, Unrolled
from framecast.ranges import Kernel, PositiveInt

FRAMES = "video"
UNIT_RANGE = {"output": ("sigmoid",)}  #: else there is no sigmoid at the end
SAMPLED = True  #: training may feed it its own forecasts
FITS = ("side % patch_size == 0",)


class ConvLSTMCell(nn.Module):
    """One step on maps: (x (B, C, H, W), (h, c) (B, D, H, W)) → (h′, c′)."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int) -> None:
        super().__init__()
        channels = in_channels + hidden_channels
        self.gates = nn.Conv2d(channels, 4 * hidden_channels, kernel_size, padding="same", bias=False)

    def forward(self, x: Tensor, state: State) -> State:
        """[i; f; g; o] = W * [x; h], and from them c′ and h′."""
        h, c = state
        ifgo = self.gates(torch.cat([x, h], dim=1))
        return lstm_gates(ifgo, c)


class ConvLSTMS(Unrolled[list[State]]):
    """A stack of ConvLSTM cells on patches; (B, T, C, H, W) → (B, K, C, H, W).

    >>> sum(p.numel() for p in ConvLSTMS((1, 64, 64), depth=4).parameters())
    11675648
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: PositiveInt,
        hidden_channels: PositiveInt = 128,
        kernel_size: Kernel = 5,
        patch_size: PositiveInt = 4,
        output: Literal["linear", "sigmoid"] = "linear",
    ) -> None:
        super().__init__(
            frame_shape,
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            patch_size=patch_size,
            output=output,
        )
        self.cells = Stack(
            ConvLSTMCell(hidden_channels if layer else self.patch_channels, hidden_channels, kernel_size)
            for layer in range(depth)
        )

    def start(self, zeros: Tensor) -> list[State]:
        """h = c = 0."""
        return [(zeros, zeros)] * len(self.cells)

    def step(self, x: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """Each layer reads the hidden map of the one below it."""
        top, after = self.cells(x, state)
        return top, after

    def held(self, x: Tensor, before: list[State], after: list[State]) -> list[Held]:
        """h, c and the gates of each cell."""
        layers = []
        for cell, (h, _), (h_next, c_next) in zip(self.cells, before, after, strict=True):
            assert isinstance(cell, ConvLSTMCell)
            i, f, _, o = cell.gates(torch.cat([x, h], dim=1)).sigmoid().chunk(4, dim=1)
            layers.append(Held(h_next, c_next, (i, f, o)))
            x = h_next
        return layers
