"""What a metric is: one value per horizon step, accumulated over batches so that memory does not grow with N.

Every convention of the literature has its own id, because the same words (MSE, PSNR, SSIM) name incomparable numbers.
A metric is a class with an ``id``, which is the name in ``params.yaml`` and in every table.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor


class Metric(ABC):
    """Accumulates (B, K, *frame) batches of forecasts and targets in [0, 1]; yields (K,) float64.

    ``better`` says which way is an improvement; ``unit`` is the axis label. Metrics whose module has
    ``FRAMES = "video"`` are skipped on series.
    """

    id: ClassVar[str]
    better: ClassVar[Literal["lower", "higher"]]
    unit: ClassVar[str]

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        self.horizon = horizon
        self.frame_shape = frame_shape

    @abstractmethod
    def update(self, forecast: Tensor, target: Tensor) -> None:
        """Add a batch: forecast (unclipped, as the model gave it) and target, (B, K, *frame) float32."""

    @abstractmethod
    def result(self) -> Tensor:
        """The metric at each horizon step, (K,) float64."""

    def overall(self) -> float:
        """One number for the table: the mean over horizon steps unless the convention says otherwise."""
        return float(self.result().mean())
