"""PredRNN++: causal LSTMs, whose two memories follow one another, and a gradient highway beside them.

Y. Wang, Z. Gao, M. Long, J. Wang, P. S. Yu, "PredRNN++: Towards A Resolution of the Deep-in-Time Dilemma in
Spatiotemporal Predictive Learning", ICML 2018 (code Yunbo426/predrnn-pp); here the network of chengtan9907/OpenSTL.

A causal LSTM has the cell c of its own layer and the memory m, which goes up from layer to layer and, from the top one,
to the lowest of the next time step. m is renewed from the new c:

    g = tanh(W_xg * x + W_hg * h + W_cg * c)        and i, f likewise, with σ, + 1 in f
    c′ = f ⊙ c + i ⊙ g
    g' = tanh(W'_xg * x + W'_cg * c′)               i' = σ(W'_xi * x + W_mi * m + W'_ci * c′), and f' likewise, + 1
    m′ = f' ⊙ tanh(W_mm * m) + i' ⊙ g'
    o = tanh(W_xo * x + W_ho * h + W_co * c′ + W_mo * m′)
    h′ = o ⊙ tanh(W_1 * [c′; m′])                                                              W_1 is 1×1

The gradient highway stands between the first layer and the second, which reads z′ in the place of the first one's h:

    p = tanh(W_px * h + W_pz * z)      s = σ(W_sx * h + W_sz * z)      z′ = s ⊙ p + (1 − s) ⊙ z

``depth`` layers of D = ``hidden_channels`` maps stand on each other in the loop of ``layers/unroll.py``; one layer
alone has no highway.

Departures from OpenSTL: its further convolution of each cell, which nothing reads, is left out (35 307 520 parameters
instead of 38 584 320), and so is layer normalisation, which does not run there. Departures of OpenSTL, followed here,
from the original: 128 maps in every layer (it has 128, 64, 64, 64), no biases, no layer normalisation.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from framecast.models.layers.unroll import Held, Unrolled
from framecast.ranges import Kernel, PositiveInt

FRAMES = "video"
UNIT_RANGE = {"output": ("sigmoid",)}  #: else there is no sigmoid at the end
SAMPLED = True  #: training may feed it its own forecasts
FITS = ("side % patch_size == 0",)
HIGHWAY_START = 0.001  #: bound of the uniform initial weights of the highway, as in the code

State = tuple[Tensor, Tensor, Tensor]  #: (h, c, m), each (B, D, H, W)


class CausalLSTMCell(nn.Module):
    """One step on maps: x (B, C, H, W), h, c, m (B, D, H, W) → the next h, c, m."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int) -> None:
        super().__init__()
        d, conv = hidden_channels, partial(nn.Conv2d, kernel_size=kernel_size, padding="same", bias=False)
        self.x = conv(in_channels, 7 * d)
        self.h = conv(d, 4 * d)
        self.c = conv(d, 3 * d)
        self.m = conv(d, 3 * d)
        self.c_next = conv(d, 4 * d)
        self.m_next = conv(d, d)
        self.last = nn.Conv2d(2 * d, d, 1, bias=False)

    def forward(self, x: Tensor, h: Tensor, c: Tensor, m: Tensor) -> State:
        """The equations; gates in the order i, f, g, i', f', g', o of x, i, f, g, o of h, i, g, f, o of c′."""
        d = h.shape[1]
        of_cell, i_x, f_x, g_x, o_x = self.x(x).split([3 * d, d, d, d, d], dim=1)
        h_cell, o_h = self.h(h).split([3 * d, d], dim=1)
        i, f, g = (of_cell + h_cell + self.c(c)).chunk(3, dim=1)
        c = (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()
        i_m, f_m, mu = self.m(m).chunk(3, dim=1)
        i_c, g_c, f_c, o_c = self.c_next(c).chunk(4, dim=1)
        m = (f_x + f_m + f_c + 1).sigmoid() * mu.tanh() + (i_x + i_m + i_c).sigmoid() * (g_x + g_c).tanh()
        o = (o_x + o_h + o_c + self.m_next(m)).tanh()
        return o * self.last(torch.cat([c, m], dim=1)).tanh(), c, m

    def held(self, x: Tensor, before: State, after: State) -> Held:
        """What a step from x has left; i and f are those of c, and o may be negative."""
        (h, c, _), (h_next, c_next, m_next), d = before, after, before[0].shape[1]
        of_x, of_h = self.x(x), self.h(h)
        i, f, _ = (of_x[:, : 3 * d] + of_h[:, : 3 * d] + self.c(c)).chunk(3, dim=1)
        o = of_x[:, 6 * d :] + of_h[:, 3 * d :] + self.c_next(c_next)[:, 3 * d :] + self.m_next(m_next)
        return Held(h_next, c_next, (i.sigmoid(), (f + 1).sigmoid(), o.tanh()), m_next)


class GradientHighway(nn.Module):
    """z′ = s ⊙ p + (1 − s) ⊙ z: h, z (B, D, H, W) → the same."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        conv = partial(nn.Conv2d, channels, 2 * channels, kernel_size, padding="same", bias=False)
        self.x, self.z = conv(), conv()
        for convolution in (self.x, self.z):
            nn.init.uniform_(convolution.weight, -HIGHWAY_START, HIGHWAY_START)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """How much of p passes, s, and how much of z stays."""
        p, s = (self.x(h) + self.z(z)).chunk(2, dim=1)
        return torch.lerp(z, p.tanh(), s.sigmoid())


class PredRNNppState(NamedTuple):
    """What a step leaves behind."""

    layers: list[State]
    z: Tensor  #: (B, D, H, W), of the highway


class PredRNNpp(Unrolled[PredRNNppState]):
    """A stack of causal LSTMs with a gradient highway, on patches; (B, T, C, H, W) → (B, K, C, H, W).

    >>> sum(p.numel() for p in PredRNNpp((1, 64, 64), depth=4).parameters())
    35307520
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
        self.cells = nn.ModuleList(
            CausalLSTMCell(hidden_channels if layer else self.patch_channels, hidden_channels, kernel_size)
            for layer in range(depth)
        )
        self.highway = GradientHighway(hidden_channels, kernel_size) if depth > 1 else None

    def start(self, zeros: Tensor) -> PredRNNppState:
        """h = c = m = z = 0."""
        return PredRNNppState([(zeros, zeros, zeros)] * len(self.cells), zeros)

    def step(self, x: Tensor, state: PredRNNppState) -> tuple[Tensor, PredRNNppState]:
        """Each layer reads what the one below it gives and goes on with its m, the lowest with the top one's."""
        z, after = state.z, []
        m = state.layers[-1][2]
        for layer, (cell, (h, c, _)) in enumerate(zip(self.cells, state.layers, strict=True)):
            if layer == 1 and self.highway is not None:
                x = z = self.highway(x, z)
            x, c, m = cell(x, h, c, m)
            after.append((x, c, m))
        return x, PredRNNppState(after, z)

    def held(self, x: Tensor, before: PredRNNppState, after: PredRNNppState) -> list[Held]:
        """h, c, m and the gates of each cell."""
        layers: list[Held] = []
        for cell, layer, left in zip(self.cells, before.layers, after.layers, strict=True):
            assert isinstance(cell, CausalLSTMCell)
            if len(layers) == 1:
                x = after.z
            layers.append(cell.held(x, layer, left))
            x = left[0]
        return layers
