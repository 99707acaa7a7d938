"""Perceptual term of KARTAL: distance between features of VGG16 (Simonyan and Zisserman 2015) at ``block2_conv2``.

With φ(x) the 128 feature maps after the last ReLU of the second block, and φ̂ the same scaled to length 1 at every
position,

    L = mean (φ̂(p) − φ̂(y))²   over frames, positions and the 128 channels.

Features after a ReLU are not negative, so two unit vectors differ by at most |φ̂(p) − φ̂(y)|² = 2 and L ≤ 2/128 =
0.0156: with KARTAL's weight of 0.1 the term adds at most 0.0016 to a loss of 10·BCE. ``normalised: false`` is the
term without that bound.

The weights are Oxford's, as in Keras. ``framecast fetch vgg16`` puts them where ``RAW_WEIGHTS`` says; the content of
that file belongs to the key of every cell that uses the term.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from framecast.losses.features import vgg16, vgg16_weights

FRAMES = "video"
RAW_WEIGHTS = "vgg16/block2_conv2.safetensors"


def perceptual(
    forecast: Float[Tensor, "b k c h w"],
    target: Float[Tensor, "b k c h w"],
    *,
    inputs: Literal["as_coded", "as_trained"] = "as_coded",
    normalised: bool = True,
) -> Float[Tensor, ""]:
    """mean (φ̂(p) − φ̂(y))² of frames in [0, 1], grey or RGB; in [0, 2/128], unbounded when not ``normalised``.

    ``inputs="as_coded"`` shows the network 255·x, as KARTAL does, though its filters expect 255·x less the mean colour
    of ImageNet, and blue before red: ``"as_trained"`` gives them that. The gradient goes to the forecast only.

    Raises UserError when the weights are not there, and for frames of neither 1 nor 3 channels.
    """
    network = _published(vgg16_weights.place(RAW_WEIGHTS), forecast.device)
    return vgg16.distance(network, forecast, target, centred=inputs == "as_trained", normalised=normalised)


@cache
def _published(path: Path, device: torch.device) -> vgg16.Block2:
    return vgg16.Block2(vgg16_weights.read(path)).to(device)
