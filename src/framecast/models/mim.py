"""MIM: memory in memory, a cell of its own for what does not stay the same.

Y. Wang, J. Zhang, H. Zhu, M. Long, J. Wang, P. S. Yu, "Memory In Memory: A Predictive Neural Network for Learning
Higher-Order Non-Stationarity from Spatiotemporal Dynamics", CVPR 2019 (code Yunbo426/MIM); here the network of
chengtan9907/OpenSTL.

Layer 1 is an ST-LSTM (``predrnn.py``). Every higher layer l is a MIM block; what it has in the place of a forget gate
reads the difference of the hidden maps of layer 1, Δ_t = h¹_t − h¹_{t−1} with Δ_1 = 0, as it comes through the MIM-N
cells beside the layers:

    d² = MIM-N²(Δ)        d^l = MIM-N^l(d^{l−1})

MIM-N and MIM-S are one form, an LSTM whose gates peek at its own cell s by maps of weights, one for each place:

    i = σ(W_xi * x + W_hi * y + w_i ⊙ s)    f = σ(W_xf * x + W_hf * y + w_f ⊙ s + 1)    g = tanh(W_xg * x + W_hg * y)
    s′ = f ⊙ s + i ⊙ g
    o = σ(W_xo * x + W_ho * y + w_o ⊙ s′)   out = o ⊙ tanh(s′)

MIM-N reads x = the difference and y = its own last output; MIM-S, inside the block, x = d^l and y = c. The block, with
x = h^{l−1}, and the i, f, g of x in both memories:

    c′ = MIM-S(d^l, c) + σ(W_xi * x + W_hi * h) ⊙ tanh(W_xg * x + W_hg * h)
    m′ = σ(W_xf * x + W_mf * m + 1) ⊙ m + σ(W_xi * x + W_mi * m) ⊙ tanh(W_xg * x + W_mg * m)
    h′ = σ(W_xo * x + W_ho * h + W_mo * m) ⊙ tanh(W_1 * [c′; m′])                              W_1 is 1×1

The memory m zigzags as in PredRNN. ``depth`` layers of D = ``hidden_channels`` maps stand on each other in the loop of
``layers/unroll.py``; one layer alone is a PredRNN.

Departures from OpenSTL: the cell s of each block starts at 0 for every sequence and is differentiated through time,
where the code keeps it from batch to batch and cuts its gradient off at every step (the original's graph does as is
done here); a 1×1 convolution in each MIM-N, which nothing reads, is left out (37 945 344 parameters instead of
38 043 648). Departures of OpenSTL, followed here, from the original: 128 maps in every layer instead of 64, no layer
normalisation, no biases, and maps w that start at 0. At the first step, where Δ = 0, MIM-N is not asked, as in both
codes: without biases it would hold and give 0.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from framecast.models.layers.unroll import Held, Unrolled
from framecast.models.predrnn import STLSTMCell, STLSTMState
from framecast.ranges import Kernel, PositiveInt

FRAMES = "video"
UNIT_RANGE = {"output": ("sigmoid",)}  #: else there is no sigmoid at the end
SAMPLED = True  #: training may feed it its own forecasts
FITS = ("side % patch_size == 0",)


class PeepholeLSTMCell(nn.Module):
    """MIM-N or MIM-S: (x, y, s), each (B, D, H, W) → (out, s′)."""

    def __init__(self, channels: int, kernel_size: int, size: tuple[int, int]) -> None:
        super().__init__()
        conv = partial(nn.Conv2d, channels, 4 * channels, kernel_size, padding="same", bias=False)
        self.x, self.y = conv(), conv()
        self.peephole = nn.Parameter(torch.zeros(3, channels, *size))  # w_i, w_f, w_o

    def forward(self, x: Tensor, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """The equations; gates in the order i, g, f, o."""
        i, g, f, o = (self.x(x) + self.y(y)).chunk(4, dim=1)
        w_i, w_f, w_o = self.peephole
        s = (f + w_f * s + 1).sigmoid() * s + (i + w_i * s).sigmoid() * g.tanh()
        return (o + w_o * s).sigmoid() * s.tanh(), s

    def forgets(self, x: Tensor, y: Tensor, s: Tensor) -> Tensor:
        """f."""
        f = (self.x(x) + self.y(y)).chunk(4, dim=1)[2]
        return (f + self.peephole[1] * s + 1).sigmoid()


class BlockState(NamedTuple):
    """What a MIM block leaves behind, all of it (B, D, H, W)."""

    h: Tensor
    c: Tensor
    s: Tensor


class MIMBlock(nn.Module):
    """One step on maps: x, d, h, c, s, m (B, D, H, W) → the next h, c, s and m."""

    def __init__(self, channels: int, kernel_size: int, size: tuple[int, int]) -> None:
        super().__init__()
        d, conv = channels, partial(nn.Conv2d, channels, kernel_size=kernel_size, padding="same", bias=False)
        self.x, self.h, self.m = conv(4 * d), conv(3 * d), conv(4 * d)
        self.mim_s = PeepholeLSTMCell(d, kernel_size, size)
        self.last = nn.Conv2d(2 * d, d, 1, bias=False)

    def forward(self, x: Tensor, d: Tensor, state: BlockState, m: Tensor) -> tuple[BlockState, Tensor]:
        """The equations; gates in the order i, g, f, o of x and m, i, g, o of h."""
        h, c, s = state
        i_x, g_x, f_x, o_x = self.x(x).chunk(4, dim=1)
        i_h, g_h, o_h = self.h(h).chunk(3, dim=1)
        i_m, g_m, f_m, o_m = self.m(m).chunk(4, dim=1)
        kept, s = self.mim_s(d, c, s)
        c = kept + (i_x + i_h).sigmoid() * (g_x + g_h).tanh()
        m = (f_x + f_m + 1).sigmoid() * m + (i_x + i_m).sigmoid() * (g_x + g_m).tanh()
        h = (o_x + o_h + o_m).sigmoid() * self.last(torch.cat([c, m], dim=1)).tanh()
        return BlockState(h, c, s), m

    def held(self, x: Tensor, d: Tensor, before: BlockState, m: Tensor) -> Held:
        """What a step leaves; i is that of c, and f that of MIM-S, which stands for c's own."""
        i_x, _, _, o_x = self.x(x).chunk(4, dim=1)
        i_h, _, o_h = self.h(before.h).chunk(3, dim=1)
        o = o_x + o_h + self.m(m).chunk(4, dim=1)[3]
        gates = (i_x + i_h).sigmoid(), self.mim_s.forgets(d, before.c, before.s), o.sigmoid()
        after, m = self(x, d, before, m)
        return Held(after.h, after.c, gates, m)


class MIMState(NamedTuple):
    """What a step leaves behind."""

    first: STLSTMState
    has_read: bool  #: so that there is a hidden map to differ from
    differences: list[tuple[Tensor, Tensor]]  #: (out, s) of every MIM-N
    blocks: list[BlockState]
    m: Tensor


class MIM(Unrolled[MIMState]):
    """An ST-LSTM below MIM blocks, on patches; (B, T, C, H, W) → (B, K, C, H, W).

    Its maps of weights are as large as the frames, so the number of parameters depends on these.

    >>> sum(p.numel() for p in MIM((1, 64, 64), depth=4).parameters())
    37945344
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
        above, size = range(depth - 1), (hidden_channels, kernel_size, self.map_size)
        self.first = STLSTMCell(self.patch_channels, hidden_channels, kernel_size)
        self.mim_n = nn.ModuleList(PeepholeLSTMCell(*size) for _ in above)
        self.blocks = nn.ModuleList(MIMBlock(*size) for _ in above)

    def start(self, zeros: Tensor) -> MIMState:
        """All of it 0, the cells s too."""
        above = len(self.blocks)
        first = STLSTMState(*[zeros] * 5)
        return MIMState(first, False, [(zeros, zeros)] * above, [BlockState(zeros, zeros, zeros)] * above, zeros)

    def step(self, x: Tensor, state: MIMState) -> tuple[Tensor, MIMState]:
        """Layer 1, then layer by layer MIM-N and the block; m goes on from the top to layer 1."""
        first = self.first(x, state.first.h, state.first.c, state.m)
        d = first.h - state.first.h if state.has_read else torch.zeros_like(first.h)
        h, m = first.h, first.m
        differences, blocks = [], []
        for mim_n, block, (out, s), before in zip(
            self.mim_n, self.blocks, state.differences, state.blocks, strict=True
        ):
            if state.has_read:
                d, s = mim_n(d, out, s)
            differences.append((d, s))
            after, m = block(h, d, before, m)
            blocks.append(after)
            h = after.h
        return h, MIMState(first, True, differences, blocks, m)

    def held(self, x: Tensor, before: MIMState, after: MIMState) -> list[Held]:
        """h, c, m and the gates of layer 1 and of each block."""
        layers = [self.first.held(x, before.first.h, after.first)]
        for block, (d, _), state in zip(self.blocks, after.differences, before.blocks, strict=True):
            below = layers[-1]
            assert isinstance(block, MIMBlock)
            assert below.m is not None
            layers.append(block.held(below.h, d, state, below.m))
        return layers
