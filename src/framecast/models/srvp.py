"""SRVP: a ConvGRU that looks back at what it has read (Y. Kim, K. Park, "SRVP: Strong Recollection Video Prediction
Model Using Attention-Based Spatiotemporal Correlation Fusion", CVPR Workshops 2025; code yuseonk/SRVP).

Encoder and forecaster are those of ``layers/convgru.py``. E (T, D, H, W) are the encoder's top states. Before a frame
is read out, the forecaster's L new states are looked at in two ways,

    ŷ_j = σ(W_out * [S_1; …; S_L; f_s; f_t; g_s; g_t]),   W_out 3×3

with two kinds of attention, over time and over channels; vectors are whole maps, N = D·H·W and M = H·W long:

    TA(Q, K, V)  Σ_t w_t V_t,  w = softmax over t of ‖R_·t‖₂,  R = Q Kᵀ/√N      no norm where there is one query
    CA(q, k, v)  softmax over the last axis of (W_q q)(W_k k)ᵀ/√M, a D×D matrix, times W_v v          W: 1×1 with bias

**Standard attention** (SA), from U = the L states:

    ctx = TA(U, E, E)    u = ‖U‖₂ over layers    ref = CA₁(u, u, u)
    f_s = CA₂(ctx, ref, ref)    f_t = CA₃(ref, ctx, ctx)

**Reinforced feature attention** (RFA) first adds to a set of maps a (M maps of N places) their self-correlation:

    P = a softmax(a)ᵀ/N    G = ρ νᵀ,  ρ_j = ‖P_·j‖₂,  ν_n = ‖a_·n‖₂             softmax and ν over the maps

    Ê = GN_T(G(φ(x_1) … φ(x_T)) + drop(E))                 once: the maps are the T frames; each frame normalised
    d = tanh(W_d * IN(G(A) + drop(A))),  A = [S_1; …; S_L]     the maps are channels; each channel normalised
    ctx′ = tanh(W_c * TA(d, Ê, Ê))    ref′ = tanh(W_r * CA₄(d, d, d))                             D/2 channels
    g_s = tanh(W_s * CA₅(ctx′, ref′, ref′))    g_t = tanh(W_t * CA₆(ref′, ctx′, ctx′))            D/4 channels

where φ is a 3×3 convolution to D/2 channels, batch normalisation, ReLU, and the same again to D; the other W are 3×3.

So what the paper calls a self-correlation map is an outer product of two vectors of norms, of rank 1, and its spatial
attention compares channels with channels, not places with places.

The defaults are the published network; ``depth`` is L, 4 there. It was released whole, so what its ablations leave out
is our reading: without SA, f_s and f_t; without RFA, g_s and g_t with everything before them; without cross attention,
CA₂, CA₃, CA₅ and CA₆, in whose place ctx, ref, ctx′ and ref′ go on as they are.

Departures from the code: an ablation's weights are not there at all; of more frames than T the last T are read; and
φ, which the code lists T times, is one module. In training it normalises frame by frame, by statistics over (B, H, W)
of one frame, and updates its running statistics T times in each pass, as in the code.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from framecast.errors import UserError
from framecast.models.layers.convgru import ConvGRUForecaster
from framecast.models.layers.looking_back import LooksBack
from framecast.ranges import Decay, MultipleOfFour, PositiveInt

FRAMES = "video"
FITS = ("standard_attention or rfa",)  #: without both it is the kind convgru


def _norm(x: Tensor, dim: int) -> Tensor:
    """ℓ2 norm, its gradient 0 where it is 0, as in ``vector_norm``, which takes six times as long on small maps."""
    return x.square().sum(dim).clamp_min(torch.finfo(x.dtype).tiny).sqrt()


# --- two kinds of attention -----------------------------------------------------------------------


def temporal_attention(
    queries: Float[Tensor, "b q d h w"], keys: Float[Tensor, "b t d h w"], values: Float[Tensor, "b t d h w"]
) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b t"]]:
    """TA(Q, K, V), and the weights w of the T frames, which sum to 1."""
    q, k = queries.flatten(2), keys.flatten(2)
    scores = q @ k.mT / q.shape[-1] ** 0.5  # (B, q, T)
    strength = scores.squeeze(1) if scores.shape[1] == 1 else _norm(scores, dim=1)
    weights = strength.softmax(-1)
    return (weights.unsqueeze(1) @ values.flatten(2)).view_as(values[:, 0]), weights


class ChannelAttention(nn.Module):
    """CA(q, k, v), all (B, D, H, W): channels attend to channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The values of all channels, weighted anew for each."""
        return (self.weights(q, k) @ self.value(v).flatten(2)).view_as(v)

    def weights(self, q: Tensor, k: Tensor) -> Float[Tensor, "b d d"]:
        """How much channel i takes of channel j; rows sum to 1."""
        q, k = self.query(q).flatten(2), self.key(k).flatten(2)  # (B, D, M)
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


class CrossAttention(nn.Module):
    """CA(ctx, ref, ref) and CA(ref, ctx, ctx): (B, D, H, W) twice → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial, self.temporal = ChannelAttention(channels), ChannelAttention(channels)

    def forward(self, context: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Each asks the other."""
        return self.spatial(context, reference, reference), self.temporal(reference, context, context)


class AsTheyAre(nn.Module):
    """What stands in the place of cross attention where there is none."""

    def forward(self, context: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """ctx and ref."""
        return context, reference


class Features(NamedTuple):
    """What a way of looking back found at one forecast step."""

    context: Float[Tensor, "b d h w"]  #: ctx or ctx′
    reference: Float[Tensor, "b d h w"]  #: ref or ref′
    spatial: Float[Tensor, "b d h w"]  #: f_s or g_s
    temporal: Float[Tensor, "b d h w"]  #: f_t or g_t
    weights: Float[Tensor, "b t"]  #: of TA


# --- standard attention ---------------------------------------------------------------------------


class StandardAttention(nn.Module):
    """SA: L states of (B, D, H, W) and E (B, T, D, H, W) → features of D channels."""

    def __init__(self, channels: int, *, cross_attention: bool) -> None:
        super().__init__()
        self.attention = ChannelAttention(channels)
        self.cross = CrossAttention(channels) if cross_attention else AsTheyAre()

    def forward(self, states: Sequence[Tensor], encoded: Tensor) -> Features:
        """ctx, ref, f_s, f_t."""
        stacked = torch.stack(tuple(states), dim=1)  # (B, L, D, H, W)
        context, weights = temporal_attention(stacked, encoded, encoded)
        u = _norm(stacked, dim=1)
        reference = self.attention(u, u, u)
        spatial, temporal = self.cross(context, reference)
        return Features(context, reference, spatial, temporal, weights)


# --- reinforced feature attention -----------------------------------------------------------------


def self_correlation(maps: Float[Tensor, "b m n"]) -> Float[Tensor, "b m n"]:
    """G = ρ νᵀ of M maps of N places, a matrix of rank 1."""
    correlation = maps @ maps.softmax(1).mT / maps.shape[-1]  # P (B, M, M)
    rho = _norm(correlation, dim=1)
    nu = _norm(maps, dim=1)
    return rho.unsqueeze(2) * nu.unsqueeze(1)


class TemporalCorrelation(nn.Module):
    """Ê: the frames (B, T, C, H, W) and E (B, T, D, H, W) → (B, T, D, H, W)."""

    def __init__(self, in_channels: int, channels: int, context: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_normalised(in_channels, channels // 2),
            *_normalised(channels // 2, channels),
        )
        self.norm = nn.GroupNorm(context, context)
        self.drop = nn.Dropout(dropout)

    def forward(self, frames: Tensor, encoded: Tensor) -> Tensor:
        """GN_T(G(φ(x)) + drop(E))."""
        return self.norm(self.correlation(frames) + self.drop(encoded))

    def correlation(self, frames: Tensor) -> Tensor:
        """G of φ(x_1) … φ(x_T); one frame after the other, each with statistics of its own in training."""
        seen = torch.stack([self.features(x) for x in frames.unbind(1)], dim=1)
        return self_correlation(seen.flatten(2)).view_as(seen)


class SpatialCorrelation(nn.Module):
    """d: A (B, L·D, H, W) → (B, D, H, W)."""

    def __init__(self, in_channels: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(in_channels, in_channels)
        self.drop = nn.Dropout(dropout)
        self.conv = _squashed(in_channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """tanh(W_d * Â)."""
        return self.conv(self.normalised(maps))

    def normalised(self, maps: Tensor) -> Tensor:
        """Â = IN(G(A) + drop(A))."""
        return self.norm(self_correlation(maps.flatten(2)).view_as(maps) + self.drop(maps))


class ReinforcedFeatureAttention(nn.Module):
    """RFA: A (B, L·D, H, W) and Ê (B, T, D, H, W) → features of D/2 channels, the last two of D/4."""

    def __init__(self, channels: int, depth: int, *, cross_attention: bool, dropout: float) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.correlation = SpatialCorrelation(depth * channels, channels, dropout)
        self.attention = ChannelAttention(channels)
        self.context, self.reference = _squashed(channels, half), _squashed(channels, half)
        self.cross = CrossAttention(half) if cross_attention else AsTheyAre()
        self.spatial, self.temporal = _squashed(half, quarter), _squashed(half, quarter)

    def forward(self, maps: Tensor, encoded: Tensor) -> Features:
        """ctx′, ref′, g_s, g_t."""
        d = self.correlation(maps)
        found, weights = temporal_attention(d.unsqueeze(1), encoded, encoded)
        context, reference = self.context(found), self.reference(self.attention(d, d, d))
        spatial, temporal = self.cross(context, reference)
        return Features(context, reference, self.spatial(spatial), self.temporal(temporal), weights)


def _normalised(in_channels: int, channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()


def _squashed(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1), nn.Tanh())


# --- the network ----------------------------------------------------------------------------------


class SRVP(ConvGRUForecaster, LooksBack):
    """ConvGRU with SA and RFA; (B, T, C, H, W) → (B, K, C, H, W), forecasts in [0, 1].

    T is ``context``, which RFA's normalisation is built for; of more frames the last T are read.

    Raises UserError for fewer than T frames to read.

    >>> sum(p.numel() for p in SRVP((1, 64, 64), depth=4).parameters())
    18309525
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: PositiveInt,
        context: PositiveInt = 10,
        standard_attention: bool = True,
        rfa: bool = True,
        cross_attention: bool = True,
        hidden_channels: MultipleOfFour = 128,
        kernel_size: PositiveInt = 5,
        dropout: Decay = 0.5,
        correlation_dropout: Decay = 0.2,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            frame_shape,
            depth=depth,
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            dropout=dropout,
            checkpoint_steps=checkpoint_steps,
            added=2 * hidden_channels * standard_attention + 2 * (hidden_channels // 4) * rfa,
        )
        self.context = context
        self.standard: StandardAttention | None = None
        self.recollection: TemporalCorrelation | None = None
        self.reinforced: ReinforcedFeatureAttention | None = None
        if standard_attention:
            self.standard = StandardAttention(hidden_channels, cross_attention=cross_attention)
        if rfa:
            self.recollection = TemporalCorrelation(frame_shape[0], hidden_channels, context, correlation_dropout)
            self.reinforced = ReinforcedFeatureAttention(
                hidden_channels, depth, cross_attention=cross_attention, dropout=correlation_dropout
            )

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Forecast (B, horizon, C, H, W); free-running also in training, so no teacher is used."""
        if context.shape[1] < self.context:
            raise UserError(
                f"srvp: found {context.shape[1]} frames to read, allowed: {self.context} or more, as it was built for"
            )
        return super().forward(context[:, -self.context :], horizon)

    def remember(self, context: Tensor, tops: Tensor) -> tuple[Tensor, ...]:
        """E for SA, and Ê for RFA."""
        if self.recollection is None:
            return (tops,)
        return tops, self.recollection(context, tops)

    def attend(self, states: Sequence[Tensor], memory: Sequence[Tensor]) -> list[Tensor]:
        """f_s, f_t, g_s, g_t, as far as they are there."""
        found: list[Features] = []
        if self.standard is not None:
            found.append(self.standard(states, memory[0]))
        if self.reinforced is not None:
            found.append(self.reinforced(torch.cat(tuple(states), dim=1), memory[1]))
        return [part for features in found for part in (features.spatial, features.temporal)]

    def look_back(self, context: Tensor, horizon: int) -> dict[str, Tensor]:
        """The weights of TA in SA (``standard``) and in RFA (``reinforced``)."""
        ways = {"standard": self.standard, "reinforced": self.reinforced}
        seen: dict[str, list[Tensor]] = {name: [] for name, way in ways.items() if way is not None}
        hooks = [
            way.register_forward_hook(lambda _module, _input, found, name=name: seen[name].append(found.weights))
            for name, way in ways.items()
            if way is not None
        ]
        try:
            self(context, horizon)
        finally:
            for hook in hooks:
                hook.remove()
        return {name: torch.stack(weights, dim=1) for name, weights in seen.items()}
