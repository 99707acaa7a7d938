"""SimVP: the next T frames from T frames at once, by convolutions alone.

The first release is Z. Gao, C. Tan, L. Wu, S. Z. Li, "SimVP: Simpler yet Better Video Prediction", CVPR 2022 (code
A4Bio/SimVP). Its successor is C. Tan, Z. Gao, S. Li, S. Z. Li, "SimVP: Towards Simple yet Powerful Spatiotemporal
Predictive Learning", 2022 (code chengtan9907/OpenSTL), which has both translators.

With * a convolution, GN group normalisation, Ĉ = hid_S = ``hidden_channels`` and a = SiLU:

    encoder       z₁ = a(GN₂(W₁ * x))    z_i = a(GN₂(W_i * z_{i−1}))     frame by frame; N_S strides: 1, 2, 1, 2 …
    translator    ẑ = h(z),  z = [z_{N_S}(x₁); …; z_{N_S}(x_T)]           T·Ĉ channels, time outermost
    decoder       d_i = a(GN₂(V_i * d_{i−1})),  d₀ = ẑ                    the strides backwards, up-sampling for 2
                  x̂ = V_out * a(GN₂(V_{N_S} * (d_{N_S−1} + z₁)))          1×1, no sigmoid: forecasts may leave [0, 1]

``depth`` is N_T, the number of blocks of the translator, ``translator_channels`` is hid_T, its width.

``translator="gsta"``: N_T blocks of gated spatiotemporal attention and an MLP, each on a batch-normalised input (BN),

    z ← z + λ₁ ⊙ Att(BN z)        z ← z + λ₂ ⊙ MLP(BN z)        λ = 0.01 at the start, one for each channel
    Att(u) = W₂ * (σ(g) ⊙ f) + u,   [f; g] = W₃ * DW₇(DW₅(GELU(W₁ * u)))         DW₇ with dilation 3
    MLP(u) = W₂ * GELU(DW₃(W₁ * u)),   8 times as wide inside

where DW is a depth-wise convolution and the other kernels are 1×1. The first block works on T·Ĉ channels and then
goes to hid_T, the last one on hid_T and then back, by a 1×1 convolution where the two differ. In training, stochastic
depth leaves a branch out of a sample's sum with a rate that runs linearly from 0.01 in the first block to ``drop_path``
in the last: so with ``drop_path`` 0 only the last block always takes part, as in the published code.

``translator="incepu"``: a U-Net of 2 N_T inception modules, N_T down and N_T up; from its second module on, the way up
reads [ẑ; the output of its opposite on the way down]. A module, with the ``kernels`` k and 8 groups,

    Inception(z) = Σ_k a'(GN₈(W_k * (W * z)))        W: 1×1 to hid_T/2; a' = LeakyReLU(0.2)

falls back to one group, in the convolution and in its normalisation alike, where 8 does not divide hid_T/2.

``release`` chooses between the two codes' encoder and decoder. ``"openstl"`` is written above: the sum with z₁, and
up-sampling by a convolution to 4 Ĉ channels and a pixel shuffle; its convolutions start as normal numbers of σ = 0.02
(which the code cuts off at ±2, where none are), those of gSTA as ones of σ = √(2/fan-out), with biases of 0.
``"first"`` has a = LeakyReLU(0.2), [d; z₁] in the place of the sum, transposed convolutions, and PyTorch's own start.

The defaults are OpenSTL's network for Moving MNIST (gSTA). The first release is ``release="first", translator="incepu",
translator_channels=256``. Departures from both codes: ``depth=1`` is possible (they want 2 or more); an odd
``encoder_blocks`` means what it says (OpenSTL builds one block less).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from framecast.errors import UserError
from framecast.models.base import Forecaster
from framecast.ranges import Decay, Even, Kernel, NonEmpty, PositiveInt

FRAMES = "video"
UNIT_RANGE = False  #: there is no sigmoid at the end
FITS = (
    "side % 2 ** (encoder_blocks // 2) == 0",
    "side > 2 ** (encoder_blocks // 2)",  # of a batch of one map of one pixel nothing can be normalised
    "translator_channels % 2 == 0 if translator == 'incepu'",
    "context * hidden_channels % 8 == 0 if translator == 'incepu' and translator_channels % 16 == 0",  # the groups
    "drop_path == 0 if translator == 'incepu'",
)
GROUPS = 8  #: of an inception module

Release = Literal["openstl", "first"]
Resampling = Literal["none", "down", "up"]


class ConvBlock(nn.Module):
    """a(GN₂(W * x)) with a 3×3 kernel, to the same size, half of it or twice: (N, C, H, W) → (N, D, H′, W′)."""

    def __init__(self, in_channels: int, channels: int, resampling: Resampling, release: Release) -> None:
        super().__init__()
        self.shuffles = resampling == "up" and release == "openstl"
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if resampling == "up" and release == "first":
            self.conv = nn.ConvTranspose2d(in_channels, channels, 3, stride=2, padding=1, output_padding=1)
        else:
            width, stride = channels * (4 if self.shuffles else 1), 2 if resampling == "down" else 1
            self.conv = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(2, channels)
        self.activation = nn.SiLU() if release == "openstl" else nn.LeakyReLU(0.2)
        if release == "openstl":
            nn.init.normal_(self.conv.weight, std=0.02)
            _zero_bias(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, lay four channels out as a square of 2×2 pixels where the size doubles so, normalise, activate."""
        x = self.conv(x)
        return self.activation(self.norm(functional.pixel_shuffle(x, 2) if self.shuffles else x))


class Branch(nn.Module):
    """a'(GN(W_k * z)), convolution and normalisation in the same groups."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        groups = GROUPS if in_channels % GROUPS == 0 else 1
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups)
        self.norm = nn.GroupNorm(groups, out_channels)

    def forward(self, z: Tensor) -> Tensor:
        """(B, hid_T/2, H, W) → (B, D, H, W)."""
        return functional.leaky_relu(self.norm(self.conv(z)), 0.2)


class Inception(nn.Module):
    """A sum over kernels: (B, C, H, W) → (B, D, H, W)."""

    def __init__(self, in_channels: int, inner: int, out_channels: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, inner, 1)
        self.branches = nn.ModuleList(Branch(inner, out_channels, kernel_size) for kernel_size in kernels)

    def forward(self, z: Tensor) -> Tensor:
        """Σ_k a'(GN(W_k * (W * z)))."""
        z = self.reduce(z)
        return torch.stack([branch(z) for branch in self.branches]).sum(0)


class IncepU(nn.Module):
    """The U-Net of inception modules: (B, T·Ĉ, H, W) → the same."""

    def __init__(self, channels: int, hidden: int, depth: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        inner, last = hidden // 2, depth - 1
        self.down = nn.ModuleList(Inception(hidden if j else channels, inner, hidden, kernels) for j in range(depth))
        self.up = nn.ModuleList(
            Inception(2 * hidden if j else hidden, inner, channels if j == last else hidden, kernels)
            for j in range(depth)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Down, then up; what comes in second on the way up went out last but one on the way down, and so on."""
        skips = []
        for module in self.down:
            z = module(z)
            skips.append(z)
        z = self.up[0](skips.pop())
        for module in self.up[1:]:
            z = module(torch.cat([z, skips.pop()], dim=1))
        return z


class GatedAttention(nn.Module):
    """Att(u) = W₂ * (σ(g) ⊙ f) + u, [f; g] = W₃ * DW₇(DW₅(GELU(W₁ * u))): (B, C, H, W) → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.gates = nn.Conv2d(channels, 2 * channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, u: Tensor) -> Tensor:
        """Gate what was seen near and far; what is added is the normalised input, not the block's."""
        f, g = self.gates(self.far(self.near(functional.gelu(self.enter(u))))).chunk(2, dim=1)
        return self.leave(g.sigmoid() * f) + u


class MLP(nn.Module):
    """MLP(u) = W₂ * GELU(DW₃(W₁ * u)): (B, C, H, W) → the same."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels, inner, 1)
        self.near = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.narrow = nn.Conv2d(inner, channels, 1)

    def forward(self, u: Tensor) -> Tensor:
        """Widen, look at the neighbours, narrow."""
        return self.narrow(functional.gelu(self.near(self.widen(u))))


class DropPath(nn.Module):
    """Stochastic depth: in training a sample is left out with probability ``rate``, the others divided by 1 − rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, H, W), some samples zero in training; as it is in evaluation."""
        if not self.training or not self.rate:
            return z
        kept = z.new_empty(len(z), 1, 1, 1).bernoulli_(1 - self.rate)
        return z * (kept / (1 - self.rate))


class GSTABlock(nn.Module):
    """z + λ₁ ⊙ Att(BN z), then + λ₂ ⊙ MLP(BN z), then to another width: (B, C, H, W) → (B, D, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, drop_rate: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(in_channels), nn.BatchNorm2d(in_channels)
        self.attention = GatedAttention(in_channels)
        self.mlp = MLP(in_channels, 8 * in_channels)
        self.lambda1, self.lambda2 = (nn.Parameter(torch.full((in_channels, 1, 1), 0.01)) for _ in range(2))
        self.drop = DropPath(drop_rate)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=(2 * module.groups / module.weight[:, 0].numel()) ** 0.5)
                _zero_bias(module)
        same = in_channels == out_channels
        self.resize = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Attention and MLP, each added to what it reads."""
        z = z + self.drop(self.lambda1 * self.attention(self.norm1(z)))
        z = z + self.drop(self.lambda2 * self.mlp(self.norm2(z)))
        return self.resize(z)


class GSTA(nn.Sequential):
    """``depth`` blocks one after the other: (B, T·Ĉ, H, W) → the same."""

    def __init__(self, channels: int, hidden: int, depth: int, drop_path: float) -> None:
        widths = [channels, *[hidden] * (depth - 1), channels]
        rates = [0.01 + (drop_path - 0.01) * j / max(depth - 1, 1) for j in range(depth)]
        super().__init__(*map(GSTABlock, widths[:-1], widths[1:], rates))


class SimVP(Forecaster):
    """Encoder, translator and decoder of convolutions; (B, T, C, H, W) → (B, K, C, H, W), all T frames at once.

    T is ``context``; of more frames the last T are read. For K < T the first K forecasts are kept; for K > T the
    forecasts are read in their turn, T at a time, and what is too many cut off.

    Raises UserError for frames that cannot be halved as often, and for fewer than T frames to read.

    >>> sum(p.numel() for p in SimVP((1, 64, 64), depth=8).parameters())
    46769665
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: PositiveInt,
        context: PositiveInt = 10,
        translator: Literal["gsta", "incepu"] = "gsta",
        release: Literal["openstl", "first"] = "openstl",
        hidden_channels: Even = 64,
        translator_channels: PositiveInt = 512,
        encoder_blocks: PositiveInt = 4,
        kernels: NonEmpty[Kernel] = (3, 5, 7, 11),
        drop_path: Decay = 0.0,
    ) -> None:
        super().__init__(frame_shape)
        self.context = context
        self.concatenates = release == "first"
        channels, stacked = frame_shape[0], context * hidden_channels
        _refuse_what_does_not_fit(frame_shape, encoder_blocks)

        halved = [bool(i % 2) for i in range(encoder_blocks)]
        self.encoder = nn.ModuleList(
            ConvBlock(hidden_channels if i else channels, hidden_channels, "down" if halves else "none", release)
            for i, halves in enumerate(halved)
        )
        self.translator = (
            GSTA(stacked, translator_channels, depth, drop_path)
            if translator == "gsta"
            else IncepU(stacked, translator_channels, depth, tuple(kernels))
        )
        self.decoder = nn.ModuleList(
            ConvBlock(
                2 * hidden_channels if i == 0 and self.concatenates else hidden_channels,
                hidden_channels,
                "up" if doubles else "none",
                release,
            )
            for i, doubles in reversed(list(enumerate(halved)))
        )
        self.read_out = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Forecast (B, horizon, C, H, W); free-running also in training, so no teacher is used."""
        if context.shape[1] < self.context:
            raise UserError(
                f"simvp: found {context.shape[1]} frames to read, allowed: {self.context} or more, as it was built for"
            )
        forecast = [context[:, -self.context :]]
        for _ in range(-(-horizon // self.context)):
            forecast.append(self._next(forecast[-1]))
        return torch.cat(forecast[1:], dim=1)[:, :horizon]

    def _next(self, x: Tensor) -> Tensor:
        """(B, T, C, H, W) → the T frames after them."""
        frames = x.shape[:2]
        skip = z = self.encoder[0](x.flatten(0, 1))  # (B·T, Ĉ, H, W)
        for block in self.encoder[1:]:
            z = block(z)
        z = self.translator(z.unflatten(0, frames).flatten(1, 2))  # (B, T·Ĉ, H′, W′)
        z = z.unflatten(1, (self.context, -1)).flatten(0, 1)
        for block in self.decoder[:-1]:
            z = block(z)
        z = self.decoder[-1](torch.cat([z, skip], dim=1) if self.concatenates else z + skip)
        return self.read_out(z).unflatten(0, frames)


def _refuse_what_does_not_fit(frame_shape: tuple[int, ...], encoder_blocks: int) -> None:
    _, height, width = frame_shape
    stride = 2 ** (encoder_blocks // 2)
    if height % stride or width % stride:
        raise UserError(
            f"simvp: found frames of {height} × {width} pixels with encoder_blocks {encoder_blocks}, allowed: sides "
            f"that {stride} divides; choose another frame_size or fewer encoder_blocks in params.yaml"
        )


def _zero_bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
