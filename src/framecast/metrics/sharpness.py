"""Sharpness: how much of the truth's gradient energy a forecast has.

    S(p, y) = E(p) / E(y),    E(x) = Σ (x_{i+1,j} − x_{i,j})² + Σ (x_{i,j+1} − x_{i,j})²

over the valid first differences of each channel of a frame. 1 is as sharp as the truth. A blurred forecast lies below,
0 is flat; noise and wrong edges lie above. It does not ask whether an edge is where it should be, so a copied frame
is sharp: read it beside an error. Squared differences, since the absolute ones (total variation) of an edge and of
the ramp that blurs it are the same.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair

FRAMES = "video"
FLOOR = (1 / 255) ** 2  #: energy of a single step by one grey level, which stands for that of a flat frame


class Sharpness(FrameMean):
    """Gradient energy of the clipped forecast over that of the target, per frame; below 1 is blur."""

    id = "sharpness"
    better = "one"
    unit = "gradient energy / that of the truth"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """E(p) / max(E(y), one grey level squared) of each frame."""
        forecast, target = gradient_energy(pair.clipped.forecast), gradient_energy(pair.target)
        return forecast / target.clamp_min(FLOOR)


def gradient_energy(video: Float[Tensor, "b k c h w"]) -> Float64[Tensor, "b k"]:
    """E of each frame, summed over its channels."""
    down, right = video.diff(dim=-2), video.diff(dim=-1)
    energy = [torch.linalg.vector_norm(part.flatten(2), dim=2, dtype=torch.float64).square() for part in (down, right)]
    return energy[0] + energy[1]
