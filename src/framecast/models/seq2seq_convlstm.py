"""Seq2Seq ConvLSTM for video (COLEMAN; M. Coleman, Princeton independent work report, 2022; code msc5/junior-iw).

The LSTM cell with a 3×3 convolution, "same" zero padding and bias in place of the affine map:

    i, f, g, o = W * [x; h] + b        (split in this order; σ on i, f, o and tanh on g)
    c′ = f ⊙ c + i ⊙ g
    h′ = o ⊙ tanh(c′)

at full resolution, without down-sampling or normalisation. The K decoder outputs are read out together by one
Conv3D over (time, height, width) and a sigmoid: kernel (1, 3, 3) in the code since March 2022, (3, 3, 3) in the
report's text. The wider one mixes forecasts with each other, never with targets, so neither leaks.

The defaults are the published network, which is the code's: depth n has n + 1 cells on each side, and only the top
hidden map crosses from encoder to decoder.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from framecast.models.layers.gates import lstm_gates
from framecast.models.layers.seq2seq import Seq2Seq, State
from framecast.ranges import PositiveInt

FRAMES = "video"
#: A head that looks at the next forecast cannot feed the present one back.
FITS = ("head_kernel == '1x3x3' if handover == 'as_described'",)


class ConvLSTMCell(nn.Module):
    """One ConvLSTM step on maps: (x (B, C, H, W), (h, c) (B, D, H, W)) → (h′, c′)."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(in_channels + hidden_channels, 4 * hidden_channels, kernel_size, padding="same")

    def forward(self, x: Tensor, state: State) -> State:
        """i, f, g, o = W * [x; h] + b, and from them c′ and h′."""
        h, c = state
        ifgo = self.gates(torch.cat([x, h], dim=1))
        return lstm_gates(ifgo, c)


class ReadOut(nn.Module):
    """Hidden maps to frames: σ(Conv3D), (B, K, D, H, W) → (B, K, C, H, W).

    Kernel (1, 3, 3) sees one forecast at a time, so it is computed as the 2-D convolution that it is: twice as fast,
    and oneDNN's bf16 gradient of the 3-D one holds NaN for short horizons on CPUs with AMX (PyTorch 2.13).
    """

    def __init__(self, hidden_channels: int, channels: int, kernel: Literal["1x3x3", "3x3x3"]) -> None:
        super().__init__()
        convolution = nn.Conv2d if kernel == "1x3x3" else nn.Conv3d
        self.conv = convolution(hidden_channels, channels, kernel_size=3, padding="same")

    def forward(self, hidden: Tensor) -> Tensor:
        """Convolve over (H, W) or (K, H, W); Conv3d wants channels before time."""
        if isinstance(self.conv, nn.Conv2d):
            return self.conv(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2]).sigmoid()
        return self.conv(hidden.transpose(1, 2)).transpose(1, 2).sigmoid()


class Seq2SeqConvLSTM(Seq2Seq):
    """Encoder and decoder stacks of ConvLSTM cells; (B, T, C, H, W) → (B, K, C, H, W), forecasts in [0, 1].

    >>> sum(p.numel() for p in Seq2SeqConvLSTM((1, 64, 64), depth=1).parameters())
    1036097
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: PositiveInt,
        hidden_channels: PositiveInt = 64,
        kernel_size: PositiveInt = 3,
        layer_semantics: Literal["as_described", "as_coded"] = "as_coded",
        handover: Literal["as_described", "as_coded"] = "as_coded",
        head_kernel: Literal["1x3x3", "3x3x3"] = "1x3x3",
    ) -> None:
        super().__init__(
            frame_shape,
            cell=lambda channels: ConvLSTMCell(channels, hidden_channels, kernel_size),
            read_out=ReadOut(hidden_channels, frame_shape[0], head_kernel),
            hidden=hidden_channels,
            depth=depth,
            layer_semantics=layer_semantics,
            handover=handover,
        )
