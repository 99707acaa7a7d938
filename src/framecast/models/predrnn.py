"""PredRNN: spatiotemporal LSTMs whose second memory zigzags through the layers.

Y. Wang, M. Long, J. Wang, Z. Gao, P. S. Yu, "PredRNN: Recurrent Neural Networks for Predictive Learning using
Spatiotemporal LSTMs", NeurIPS 2017, and Y. Wang, H. Wu, J. Zhang, Z. Gao, J. Wang, P. S. Yu, M. Long, "PredRNN: A
Recurrent Neural Network for Spatiotemporal Predictive Learning", TPAMI 2023 (PredRNN-V2); code thuml/predrnn-pytorch,
and the same network in chengtan9907/OpenSTL.

An ST-LSTM has the cell c of its own layer, which goes on in time, and the memory m, which goes up from layer to layer
and, from the top one, to the lowest of the next time step. Primed gates are those of m:

    g = tanh(W_xg * x + W_hg * h)      i = σ(W_xi * x + W_hi * h)      f = σ(W_xf * x + W_hf * h + 1)
    c′ = f ⊙ c + i ⊙ g
    g' = tanh(W'_xg * x + W_mg * m)    i' = σ(W'_xi * x + W_mi * m)    f' = σ(W'_xf * x + W_mf * m + 1)
    m′ = f' ⊙ m + i' ⊙ g'
    o = σ(W_xo * x + W_ho * h + W_o * [c′; m′])
    h′ = o ⊙ tanh(W_1 * [c′; m′])                                                              W_1 is 1×1

``depth`` layers of D = ``hidden_channels`` maps stand on each other in the loop of ``layers/unroll.py``. No convolution
has a bias; with ``layer_norm`` a layer normalisation over (channels, H, W), with weights of their own for every
element, follows each of those of x, h and m and W_o.

``decoupling`` is β, the weight of PredRNN-V2's penalty (0.1 on Moving MNIST, 0.01 on KTH; 0 is the first version). With
Δc = i ⊙ g and Δm = i' ⊙ g' of each layer and step, and A a 1×1 convolution that they share,

    L_decouple = mean over samples, channels, layers and steps of |⟨A*Δc, A*Δm⟩| / (‖A*Δc‖ ‖A*Δm‖)

with the product and the norms over places. The paper sums where the code, followed here, takes the mean.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from framecast.models.base import Penalty
from framecast.models.layers.unroll import Held, Unrolled
from framecast.ranges import Kernel, NonNegativeFloat, PositiveInt

FRAMES = "video"
UNIT_RANGE = {"output": ("sigmoid",)}  #: else there is no sigmoid at the end
SAMPLED = True  #: training may feed it its own forecasts
FITS = ("side % patch_size == 0",)


class STLSTMState(NamedTuple):
    """What one ST-LSTM leaves behind, all of it (B, D, H, W)."""

    h: Tensor
    c: Tensor
    m: Tensor
    delta_c: Tensor  #: i ⊙ g
    delta_m: Tensor  #: i' ⊙ g'


class STLSTMCell(nn.Module):
    """One step on maps: x (B, C, H, W), h, c, m (B, D, H, W) → the next h, c, m."""

    def __init__(
        self, in_channels: int, hidden_channels: int, kernel_size: int, *, norm_size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        d, conv = hidden_channels, partial(_conv, kernel_size=kernel_size, norm_size=norm_size)
        self.x = conv(in_channels, 7 * d)
        self.h = conv(d, 4 * d)
        self.m = conv(d, 3 * d)
        self.o = conv(2 * d, d)
        self.last = nn.Conv2d(2 * d, d, 1, bias=False)

    def forward(self, x: Tensor, h: Tensor, c: Tensor, m: Tensor) -> STLSTMState:
        """The equations; gates in the order i, f, g, i', f', g', o of x, i, f, g, o of h and i', f', g' of m."""
        d = h.shape[1]
        of_time, of_memory, of_output = self.x(x).split([3 * d, 3 * d, d], dim=1)
        h_time, h_output = self.h(h).split([3 * d, d], dim=1)
        c, delta_c = _remember(of_time + h_time, c)
        m, delta_m = _remember(of_memory + self.m(m), m)
        memory = torch.cat([c, m], dim=1)
        o = (of_output + h_output + self.o(memory)).sigmoid()
        return STLSTMState(o * self.last(memory).tanh(), c, m, delta_c, delta_m)

    def held(self, x: Tensor, h: Tensor, after: STLSTMState) -> Held:
        """What a step from x and h has left; i and f are those of c."""
        d = h.shape[1]
        of_x, of_h = self.x(x), self.h(h)
        i, f, _ = (of_x[:, : 3 * d] + of_h[:, : 3 * d]).chunk(3, dim=1)
        o = of_x[:, 6 * d :] + of_h[:, 3 * d :] + self.o(torch.cat([after.c, after.m], dim=1))
        return Held(after.h, after.c, (i.sigmoid(), (f + 1).sigmoid(), o.sigmoid()), after.m)


def _remember(ifg: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """σ(f + 1) ⊙ c + Δ and Δ = σ(i) ⊙ tanh(g)."""
    i, f, g = ifg.chunk(3, dim=1)
    delta = i.sigmoid() * g.tanh()
    return torch.addcmul(delta, (f + 1).sigmoid(), c), delta


def _conv(in_channels: int, out_channels: int, kernel_size: int, norm_size: tuple[int, int] | None) -> nn.Sequential:
    conv = nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, padding="same", bias=False))
    if norm_size is not None:
        conv.append(nn.LayerNorm((out_channels, *norm_size)))
    return conv


def _widened(x: Tensor) -> Tensor:
    """In float32 at least, as every loss is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class PredRNN(Unrolled[list[STLSTMState]]):
    """A stack of ST-LSTMs on patches; (B, T, C, H, W) → (B, K, C, H, W).

    >>> sum(p.numel() for p in PredRNN((1, 64, 64), depth=4).parameters())
    23838720
    >>> sum(p.numel() for p in PredRNN((1, 64, 64), depth=4, decoupling=0.1).parameters())
    23855104
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
        layer_norm: bool = False,
        decoupling: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__(
            frame_shape,
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            patch_size=patch_size,
            output=output,
        )
        norm_size = self.map_size if layer_norm else None
        self.cells = nn.ModuleList(
            STLSTMCell(
                hidden_channels if layer else self.patch_channels, hidden_channels, kernel_size, norm_size=norm_size
            )
            for layer in range(depth)
        )
        self.decoupling = decoupling
        self.adapter = nn.Conv2d(hidden_channels, hidden_channels, 1, bias=False) if decoupling else None

    def start(self, zeros: Tensor) -> list[STLSTMState]:
        """h = c = m = 0."""
        return [STLSTMState(*[zeros] * 5)] * len(self.cells)

    def step(self, x: Tensor, state: list[STLSTMState]) -> tuple[Tensor, list[STLSTMState]]:
        """Each layer reads the hidden map of the one below it and goes on with its m, the lowest with the top one's."""
        m, after = state[-1].m, []
        for cell, before in zip(self.cells, state, strict=True):
            layer = cell(x, before.h, before.c, m)
            x, m = layer.h, layer.m
            after.append(layer)
        return x, after

    def held(self, x: Tensor, before: list[STLSTMState], after: list[STLSTMState]) -> list[Held]:
        """h, c, m and the gates of each cell."""
        layers = []
        for cell, layer, left in zip(self.cells, before, after, strict=True):
            assert isinstance(cell, STLSTMCell)
            layers.append(cell.held(x, layer.h, left))
            x = left.h
        return layers

    def penalties(self, states: list[list[STLSTMState]]) -> dict[str, Penalty]:
        """L_decouple of a lesson, where it weighs anything."""
        if self.adapter is None:
            return {}
        similarities = []
        for layer in (layer for state in states for layer in state):
            c, m = (_widened(self.adapter(delta).flatten(2)) for delta in (layer.delta_c, layer.delta_m))
            similarities.append(functional.cosine_similarity(c, m, dim=2).abs())
        return {"decoupling": Penalty(self.decoupling, torch.stack(similarities).mean())}
