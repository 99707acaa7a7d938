"""What a recurrent network holds while it reads: as maps to look at, and as a number that tests what they seem to say.

Having read frame x_t, a recurrent layer holds h_t (D, H, W): its own output, before normalisation and attention. Two
recipes make a picture of it:

    source (KARTAL)   m_t = max(0, mean over d of h_t,d) / (its maximum over places + 10⁻⁷)
    ours              a_t = mean over d of |h_t,d|

The source divides each map by its own maximum, so a layer that is all but silent looks as hot as one that is not, and
two maps cannot be compared; and in its mean channels of opposite sign cancel. Ours keeps the units of the state and is
drawn from 0 to one scale for a layer: the largest value in any of its stored maps.

**Alignment.** "The hot spots align with the digits" says that activation lies on the digits rather than beside them:

    S_t = {p : x_t(p) > 0.1}                                    the digits of the frame just read
    share = mean over t of Σ_{p ∈ S_t} ‖h_t(p)‖² / Σ_p ‖h_t(p)‖²    of the activation's energy
    area  = mean over t of |S_t| / HW                           of the places
    preference = share / area                                   1: none

The background is exactly 0; what is brighter, but not above 0.1, is the rim that enlarging a digit leaves, which no eye
sees. A layer that is silent at a step (energy 0) prefers no place: its share is the area.

A convolution without a bias leaves black places black, so any network, trained or not, holds most where its input is.
What training adds is therefore read against the same network before training, and against the frames themselves,
which lie on the digits by definition. Training moves the biases away from 0, which lights the background: a preference
may well fall while the network learns.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from framecast.evaluation.bootstrap import compare
from framecast.models.base import Forecaster, Layer
from framecast.models.layers.looking_back import LooksBack

DIGIT = 0.1  #: a place that is brighter than this belongs to a digit
AT_A_TIME = 8  #: sequences looked into together; the states of all steps are in memory


# --- maps -----------------------------------------------------------------------------------------


def source_map(hidden: Float[Tensor, "*n d h w"]) -> Float[Tensor, "*n h w"]:
    """m: the mean over channels, its negative part cut to 0, divided by the maximum of this very map; 0 to 1."""
    mean = hidden.mean(-3).relu()
    return mean / (mean.amax((-2, -1), keepdim=True) + 1e-7)


def activation_map(hidden: Float[Tensor, "*n d h w"]) -> Float[Tensor, "*n h w"]:
    """a: the mean of the absolute value over channels, in the units of the state."""
    return hidden.abs().mean(-3)


@torch.no_grad()
def maps(model: Forecaster, sequences: Float[Tensor, "n steps *frame"]) -> dict[str, Tensor]:
    """What is stored of a few sequences, on the CPU; all frames but the last are read, T = steps − 1, all of them true.

    For each layer ``<l>`` of D channels, counted from 1 at the input:

    ===================================  ========================  ==================================================
    ``inside/layer-<l>/activation``      (n, T, H, W) uint8        a, 255 being the layer's scale
    ``inside/layer-<l>/scale``           (1,) float32              the largest a in these sequences
    ``inside/layer-<l>/source``          (n, T, H, W) uint8        m · 255, cut to whole numbers as in the source
    ``inside/layer-<l>/gates``           (n, T, 3, 2) float32      i, f, o: mean over channels and over the places on
                                                                   the digits | beside them (NaN without such places)
    ``inside/layer-<l>/spatial_attention``  (n, T, H, W) uint8     the mask · 255, where there is one
    ``inside/layer-<l>/channel_attention``  (n, T, D) float32      the mask, where there is one
    ===================================  ========================  ==================================================

    A model that shows nothing gives {}, and so do series.
    """
    if sequences.ndim != 5:
        return {}
    frames = sequences[:, :-1]
    stored: dict[str, Tensor] = {}
    for number, layer in enumerate(model.inside(frames), start=1):
        stored |= {f"inside/layer-{number}/{name}": part for name, part in _maps(layer, _on_digits(frames)).items()}
    return {name: part.cpu().contiguous() for name, part in stored.items()}


@torch.no_grad()
def look_back(model: Forecaster, batches: Iterable[Tensor], context: int, horizon: int) -> dict[str, Tensor]:
    """How much each forecast weighs each frame that was read: ``inside/look-back/<name>``, (n, K, T) float32.

    The batches (B, steps, *frame) hold whole sequences, of which the first ``context`` frames are read; <name> is what
    attends. A model that does not look back gives {}.
    """
    if not isinstance(model, LooksBack):
        return {}
    parts = [model.look_back(sequences[:, :context], horizon) for sequences in batches]
    return {
        f"inside/look-back/{name}": torch.cat([part[name] for part in parts]).float().cpu().contiguous()
        for name in parts[0]
    }


def _maps(layer: Layer, digits: Bool[Tensor, "b t h w"]) -> dict[str, Tensor]:
    activation = activation_map(layer.hidden.float())
    scale = activation.amax()
    stored = {
        "activation": _grey(activation / scale.clamp_min(torch.finfo().tiny)),
        "scale": scale[None],
        "source": (source_map(layer.hidden.float()) * 255).byte(),
        "gates": torch.stack([_mean_on(layer.gates.float(), places) for places in (digits, ~digits)], dim=-1),
    }
    if layer.spatial_attention is not None:
        stored["spatial_attention"] = _grey(layer.spatial_attention)
    if layer.channel_attention is not None:
        stored["channel_attention"] = layer.channel_attention.float()
    return stored


def _grey(values: Tensor) -> UInt8[Tensor, "..."]:
    return (values * 255).round().byte()


def _mean_on(gates: Float[Tensor, "b t 3 h w"], places: Bool[Tensor, "b t h w"]) -> Float[Tensor, "b t 3"]:
    return (gates * places[:, :, None]).sum((-2, -1)) / places.sum((-2, -1))[..., None]


def _on_digits(frames: Float[Tensor, "b t c h w"]) -> Bool[Tensor, "b t h w"]:
    """S: the places where any channel of the frame just read is brighter than the background."""
    return frames.amax(2) > DIGIT


# --- alignment ------------------------------------------------------------------------------------


@torch.no_grad()
def alignment(model: Forecaster, untrained: Forecaster, batches: Iterable[Tensor]) -> dict[str, Any]:
    """How much more of the activation lies on the digits than by chance, with and without training.

    ``untrained`` is the same network before its first step; both in inference mode. Each batch (B, steps, *frame), of
    any B, holds whole sequences, read as in ``maps``. Sequences without a single digit do not count.

    Plain values: ``sequences``, ``threshold``, ``area``; ``input``: share and preference of the frames'
    own energy; ``layers``, the lowest first: share and preference of the ``trained`` and the ``untrained`` network,
    and the ``difference`` of their preferences with the 95 % interval ``low`` … ``high`` of the paired bootstrap over
    sequences. A model that shows nothing gives {}, and so do series and frames without digits.
    """
    parts = [part for sequences in batches for part in _parts(model, untrained, sequences)]
    if not parts:
        return {}
    area, shown, trained, before = (np.concatenate(values, axis=-1) for values in zip(*parts, strict=True))
    if not len(area):
        return {}
    return {
        "sequences": len(area),
        "threshold": DIGIT,
        "area": float(area.mean()),
        "input": _summary(shown, area),
        "layers": [_layer(after, first, area) for after, first in zip(trained, before, strict=True)],
    }


_Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  #: area (n,), shares of the input (n,), networks (L, n)


def _parts(model: Forecaster, untrained: Forecaster, sequences: Tensor) -> Iterator[_Part]:
    """A few sequences at a time: the area of their digits, and the shares of energy that lie on them."""
    if sequences.ndim != 5:
        return
    read = sequences[:, :-1]
    for frames in read[_on_digits(read).flatten(1).any(1)].split(AT_A_TIME):
        layers = [[layer.hidden for layer in network.inside(frames)] for network in (model, untrained)]
        if not (layers[0] and len(frames)):
            return
        digits = _on_digits(frames)
        area = digits.double().mean((1, 2, 3))
        shares = [torch.stack([share_on(hidden, digits) for hidden in hiddens]) for hiddens in layers]
        yield tuple(values.cpu().numpy() for values in (area, share_on(frames, digits), *shares))  # type: ignore[misc]


def share_on(activation: Float[Tensor, "b t d h w"], places: Bool[Tensor, "b t h w"]) -> Float[Tensor, " b"]:
    """The share of an activation's energy, its sum of squares, that lies on some places, averaged over steps."""
    energy = activation.double().square().sum(2)
    total = energy.sum((-2, -1))
    share = (energy * places).sum((-2, -1)) / total
    return torch.where(total > 0, share, places.double().mean((-2, -1))).mean(1)


def _layer(trained: np.ndarray, untrained: np.ndarray, area: np.ndarray) -> dict[str, Any]:
    found = compare(trained / area, untrained / area, better="higher")
    return {
        "trained": _summary(trained, area),
        "untrained": _summary(untrained, area),
        **{name: getattr(found, name) for name in ("difference", "low", "high")},
    }


def _summary(share: np.ndarray, area: np.ndarray) -> dict[str, float]:
    return {"share": float(share.mean()), "preference": float((share / area).mean())}
