"""The perceptual term with random features, for where VGG16's weights are not at hand.

The layers and the distance of ``perceptual``, with He's initial weights from one fixed seed. Untrained convolutions
still answer to edges and textures, but nothing measured with them says anything about VGG16: hence a name of its own.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from framecast.losses.features import vgg16
from framecast.ranges import PositiveInt

FRAMES = "video"
SEED = 16


def perceptual_seeded(
    forecast: Float[Tensor, "b k c h w"],
    target: Float[Tensor, "b k c h w"],
    *,
    normalised: bool = True,
    channels: PositiveInt = 64,
) -> Float[Tensor, ""]:
    """mean (φ̂(p) − φ̂(y))² of frames in [0, 1], grey or RGB; in [0, 2/128], unbounded when not ``normalised``.

    ``channels`` is the width of the first block: VGG16's 64 cost far more than a small network that they teach. With D
    of them there are 2D features and the bound is 2/(2D).

    The mean colour of ImageNet is subtracted: without it, and without biases, a black region would have no features at
    all, and the direction of the slightest error in it would count in full. The gradient goes to the forecast only.

    Raises UserError for frames of neither 1 nor 3 channels.
    """
    return vgg16.distance(_seeded(channels, forecast.device), forecast, target, centred=True, normalised=normalised)


@cache
def _seeded(channels: int, device: torch.device) -> vgg16.Block2:
    return vgg16.Block2(vgg16.he_weights(SEED, channels)).to(device)
