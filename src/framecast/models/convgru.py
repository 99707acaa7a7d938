"""ConvGRU, the recurrent network that SRVP puts its attention on (Y. Kim, K. Park, "SRVP: Strong Recollection Video
Prediction Model Using Attention-Based Spatiotemporal Correlation Fusion", CVPR Workshops 2025, section 3.2; code
yuseonk/SRVP).

    [z; r] = σ(W_x * drop(x) + W_h * h)
    g      = tanh(W_xg * x + W_hg * (r ⊙ h))
    h′     = (1 − z) ⊙ g + z ⊙ h

in L layers on either side (``layers/convgru.py``), and every forecast is read out of all of them:

    ŷ_j = σ(W_out * [S_1; …; S_L]),   W_out 3×3

The defaults are the published ones; ``depth`` is L, 4 there. The authors released SRVP alone: that its baseline has the
same head without the attention's channels is our reading.
"""

from framecast.models.layers.convgru import ConvGRUForecaster
from framecast.ranges import Decay, PositiveInt

FRAMES = "video"


class ConvGRU(ConvGRUForecaster):
    """Encoder and forecaster of ConvGRU cells; (B, T, C, H, W) → (B, K, C, H, W), forecasts in [0, 1].

    >>> sum(p.numel() for p in ConvGRU((1, 64, 64), depth=4).parameters())
    17233153
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        depth: PositiveInt,
        hidden_channels: PositiveInt = 128,
        kernel_size: PositiveInt = 5,
        dropout: Decay = 0.5,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            frame_shape,
            depth=depth,
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            dropout=dropout,
            checkpoint_steps=checkpoint_steps,
        )
