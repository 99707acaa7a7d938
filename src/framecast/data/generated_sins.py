"""GeneratedSins: sine waves of random frequency and phase (Coleman 2022), 25 points seen, 25 to forecast."""

from math import pi

import numpy as np
from jaxtyping import Float

from framecast.data.generated.series import GeneratedSeries
from framecast.ranges import NonNegativeInt, PositiveInt

FRAMES = "series"


class GeneratedSins(GeneratedSeries):
    """v(τ) = ½ (sin(ατ + β) + 1) with α ~ U(0, 4π) and β ~ U(0, π), per sequence.

    τ runs from 0 to 1, both included, over the whole window, so a longer window samples the same waves more densely.
    The forecast is determined by the context: the floor of the error is 0. Linear regression reaches 6e-7 in float64;
    on the stored float32 values it reaches 1.9e-4, because extrapolation amplifies their rounding.
    The thesis reports 22 000 training and 7 000 test sequences; it held out no validation set, we do.
    """

    origin = "sine waves drawn by framecast after the generator of Coleman (2022)"
    facts = {"floor": 0.0}  # noqa: RUF012 (read only)
    draws = 2

    def __init__(
        self,
        *,
        context: PositiveInt = 25,
        horizon: PositiveInt = 25,
        train: PositiveInt = 22000,
        validation: PositiveInt = 2000,
        test: PositiveInt = 7000,
        data_seed: NonNegativeInt = 0,
    ) -> None:
        super().__init__(context, horizon, {"train": train, "validation": validation, "test": test}, data_seed)

    def curves(self, uniforms: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n t"]:
        """½ (sin(ατ + β) + 1), α = 4π u₀, β = π u₁."""
        alpha, beta = 4 * pi * uniforms[:, :1], pi * uniforms[:, 1:]
        tau = np.linspace(0, 1, self.context + self.horizon)
        return (np.sin(alpha * tau + beta) + 1) / 2
