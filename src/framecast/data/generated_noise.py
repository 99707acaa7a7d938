"""GeneratedNoise: smoothed white noise (Coleman 2022), 25 points seen, 25 to forecast."""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from framecast.data.generated.series import GeneratedSeries
from framecast.ranges import NonNegativeInt, PositiveInt

FRAMES = "series"


class GeneratedNoise(GeneratedSeries):
    """v = (g − min g) / (max g − min g), where g = Gaussian filter (σ = 1) of i.i.d. U(0, 1) values.

    Minimum and maximum are taken over the whole window, future included. Only the first steps can be forecast:
    the constant mean errs by 0.064, least squares by 0.0611. The filter's reflected boundary doubles the weight of
    the outermost values, so the last point varies more (0.10 against 0.063): the jump of every model's error at the
    last step belongs to this generator.
    """

    origin = "smoothed uniform noise drawn by framecast after the generator of Coleman (2022)"

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

    @property
    def draws(self) -> int:
        """One uniform number per point of the window."""
        return self.context + self.horizon

    def curves(self, uniforms: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
        """Smooth each row (reflected boundary, kernel cut at 4σ) and stretch it to [0, 1]."""
        smooth = gaussian_filter1d(uniforms, sigma=1, axis=1, mode="reflect", truncate=4)
        low, high = smooth.min(axis=1, keepdims=True), smooth.max(axis=1, keepdims=True)
        return (smooth - low) / (high - low)
