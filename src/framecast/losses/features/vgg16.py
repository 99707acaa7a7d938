"""The first two blocks of VGG16 (Simonyan and Zisserman, ICLR 2015), and the distance between two videos in their eyes.

    3 ─ conv1_1 ─ 64 ─ conv1_2 ─ 64 ─ pool ─ conv2_1 ─ 128 ─ conv2_2 ─ 128

Convolutions are 3×3 with zero padding, each followed by ReLU; pooling is the maximum of 2×2. 260 160 parameters:
(27 + 1)·64 + (576 + 1)·64 + (576 + 1)·128 + (1152 + 1)·128.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from framecast.errors import UserError

#: name → channels in and out
CONVOLUTIONS = {"conv1_1": (3, 64), "conv1_2": (64, 64), "conv2_1": (64, 128), "conv2_2": (128, 128)}
IMAGENET_MEAN = (123.68, 116.779, 103.939)  #: red, green, blue, of 255
FLOOR = 1e-12  #: of a squared length, below which a feature vector is not brought to length 1


class Block2(nn.Module):
    """VGG16 up to and with the ReLU of ``block2_conv2``: frozen, in evaluation mode, float32.

    ``weights`` holds ``conv1_1.weight`` (out, in, 3, 3; in RGB order), ``conv1_1.bias`` and so on; their shapes are the
    network's, so random ones may be narrower.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.conv1_1 = _convolution(weights["conv1_1.weight"])
        self.conv1_2 = _convolution(weights["conv1_2.weight"])
        self.conv2_1 = _convolution(weights["conv2_1.weight"])
        self.conv2_2 = _convolution(weights["conv2_2.weight"])
        self.load_state_dict({name: value.float() for name, value in weights.items()})
        self.requires_grad_(False).eval()

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n features h//2 w//2"]:
        """Features of images in RGB."""
        x = functional.relu(self.conv1_1(images))
        x = functional.relu(self.conv1_2(x))
        x = _pooled(x)
        x = functional.relu(self.conv2_1(x))
        return functional.relu(self.conv2_2(x))


def _convolution(weight: Tensor) -> nn.Conv2d:
    """Without the usual initialisation, which would take random numbers from the training that builds this."""
    outputs, inputs = weight.shape[:2]
    return nn.utils.skip_init(nn.Conv2d, inputs, outputs, kernel_size=3, padding=1)


def he_weights(seed: int, channels: int = 64) -> dict[str, Tensor]:
    """Weights to start from (He, Zhang, Ren and Sun 2015): U(−√(6/n), √(6/n)) for n inputs to a unit; biases 0.

    ``channels`` is the width of the first block, 64 in VGG16; the second is twice as wide.

    Drawn by a counter-based generator of their own: the same bits on every machine, whatever was drawn before, and no
    random number of the training is used up.
    """
    stream = np.random.Generator(np.random.Philox(seed))
    drawn = {}
    for name, (inputs, outputs) in CONVOLUTIONS.items():
        inputs, outputs = (size if size == 3 else size * channels // 64 for size in (inputs, outputs))
        bound = math.sqrt(6 / (9 * inputs))
        uniform = stream.random((outputs, inputs, 3, 3)) * 2 - 1
        drawn[f"{name}.weight"] = torch.from_numpy((bound * uniform).astype(np.float32))
        drawn[f"{name}.bias"] = torch.zeros(outputs)
    return drawn


def distance(
    network: Block2,
    forecast: Float[Tensor, "b k c h w"],
    target: Float[Tensor, "b k c h w"],
    *,
    centred: bool,
    normalised: bool,
) -> Float[Tensor, ""]:
    """Mean squared difference of the features of two videos in [0, 1], every frame an image of its own.

    Float32 also under autocast; the gradient reaches the forecast, neither the target nor the network.
    """
    with torch.autocast(forecast.device.type, enabled=False):
        with torch.no_grad():
            wanted = _features(network, target, centred, normalised)
        return functional.mse_loss(_features(network, forecast, centred, normalised), wanted)


def _features(network: Block2, video: Tensor, centred: bool, normalised: bool) -> Float[Tensor, "n features h2 w2"]:
    features = network(_images(video, centred))
    if not normalised:
        return features  # type: ignore[no-any-return]
    return features * features.square().sum(1, keepdim=True).clamp_min(FLOOR).rsqrt()  # type: ignore[no-any-return]


def _images(video: Float[Tensor, "b k c h w"], centred: bool) -> Float[Tensor, "n 3 h w"]:
    """Frames in [0, 1] as images in 0..255 without the mean colour of ImageNet, which the filters expect.

    Not ``centred``, as KARTAL shows them to Keras' network: with the mean, and RGB where the filters expect BGR. Ours
    expect RGB, so colours are turned round to make the same mistake.
    """
    if (channels := video.shape[2]) not in (1, 3):
        raise UserError(f"perceptual loss: found frames of {channels} channels; allowed: 1 (grey) or 3 (RGB)")
    images = 255 * video.float().flatten(0, 1).expand(-1, 3, -1, -1)
    if not centred:
        return images.flip(1)
    return images - images.new_tensor(IMAGENET_MEAN).view(3, 1, 1)


def _pooled(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h//2 w//2"]:
    """The maximum of every 2×2; an odd last row or column is left out.

    Written as a reduction because equal maxima, the rule in a flat background, then share the gradient, and because its
    backward pass adds in a fixed order on every device.
    """
    height, width = (size // 2 for size in maps.shape[-2:])
    cells = maps[..., : 2 * height, : 2 * width].unflatten(-1, (width, 2)).unflatten(-3, (height, 2))
    return cells.amax((-3, -1))
