"""What a metric is: one value per horizon step, accumulated over batches so that memory does not grow with N.

Every convention of the literature has its own id, because the same words (MSE, PSNR, SSIM) name incomparable numbers.
A metric is a class with an ``id``, which is the name in ``params.yaml`` and in every table.

Axes: B sequences, K horizon steps, then the frame, (C,) or (C, H, W). n = C·H·W.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from framecast.errors import UserError

T = TypeVar("T")


@dataclass
class Pair:
    """A batch of forecasts, unclipped as the model gave them, beside their targets in [0, 1]: (B, K, *frame) float32.

    Several ids read the same derived images; each is computed once per batch. The target needs no clipping. A few also
    ask for the observed frames before the target, ``context`` (B, T, *frame), and whether the forecast of each step saw
    the true frames up to it (``taught``).
    """

    forecast: Float[Tensor, "b k *frame"]
    target: Float[Tensor, "b k *frame"]
    context: Float[Tensor, "b t *frame"] | None = None
    taught: bool = False
    _shared: dict[Callable[["Pair"], Any], Any] = field(default_factory=dict, repr=False)

    @property
    def sequence(self) -> Float[Tensor, "b n *frame"]:
        """The whole true sequence, N = T + K."""
        return torch.cat([self._observed, self.target], dim=1)

    @property
    def newest(self) -> Float[Tensor, "b k *frame"]:
        """The newest true frame that the forecast of each step was made from."""
        last = self._observed[:, -1:]
        return torch.cat([last, self.target[:, :-1]], dim=1) if self.taught else last.expand_as(self.target)

    @property
    def _observed(self) -> Tensor:
        if self.context is None:
            raise ValueError("this metric needs the observed frames: score (forecast, target, context) batches")
        return self.context

    @cached_property
    def clipped(self) -> "Pair":
        """Forecasts limited to [0, 1]; where none lies outside, what is shared is shared with the clipped pair too."""
        lowest, highest = self.forecast.aminmax()
        if lowest >= 0 and highest <= 1:
            return Pair(self.forecast, self.target, _shared=self._shared)
        return Pair(self.forecast.clamp(0, 1), self.target)

    @cached_property
    def rounded(self) -> "Pair":
        """Grey levels 0..255 of the clipped pair, rounded half to even (SRVP), as float32."""
        return Pair((self.clipped.forecast * 255).round(), (self.clipped.target * 255).round())

    @cached_property
    def truncated(self) -> "Pair":
        """Grey levels 0..255 of the clipped pair, rounded down as a cast to uint8 does (PredRNN), as float32."""
        return Pair((self.clipped.forecast * 255).floor(), (self.clipped.target * 255).floor())

    def shared(self, compute: Callable[["Pair"], T]) -> T:
        """``compute(self)``, evaluated for the first metric that asks and remembered for the others."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return self._shared[compute]


class Metric(ABC):
    """Accumulates pairs; yields one float64 per horizon step.

    ``better`` says which way is an improvement, ``"one"`` being towards 1; ``unit`` is the axis label. Metrics whose
    module has ``FRAMES = "video"`` are skipped on series. ``smallest_frame`` is how many pixels a side a window takes,
    against which ``params.yaml`` is checked. Raises UserError for smaller frames.
    """

    id: ClassVar[str]
    better: ClassVar[Literal["lower", "higher", "one"]]
    unit: ClassVar[str]
    smallest_frame: ClassVar[int] = 1

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        if min(frame_shape[1:], default=self.smallest_frame) < self.smallest_frame:
            height, width = frame_shape[1:]
            raise UserError(
                f"evaluation.metrics: {self.id} needs frames of at least {self.smallest_frame}×{self.smallest_frame} "
                f"pixels, this data set has {height}×{width}; remove {self.id} from the list"
            )
        self.horizon = horizon
        self.frame_shape = frame_shape

    @abstractmethod
    def update(self, pair: Pair) -> None:
        """Add a batch."""

    @abstractmethod
    def result(self) -> Float64[Tensor, " k"]:
        """The metric at each horizon step; NaN where it is not defined."""

    def overall(self, per_step: Float64[Tensor, " k"]) -> float:
        """One number for the table: the mean over horizon steps unless the convention says otherwise."""
        return float(per_step.mean())

    def note(self) -> str:
        """What a reader of the number has to know about this test set; empty when nothing."""
        return ""


class FrameMean(Metric):
    """A metric that has a value for every single frame; its score is the mean over the test sequences."""

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        super().__init__(horizon, frame_shape)
        self.total = torch.zeros(horizon, dtype=torch.float64)
        self.count = 0

    @abstractmethod
    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """The metric of each frame."""

    def update(self, pair: Pair) -> None:
        """Add the frames' values to the running sum."""
        self.add(self.values(pair).cpu())

    def add(self, values: Float64[Tensor, "b k"]) -> None:
        """Add the values of B sequences."""
        self.total += values.sum(0)
        self.count += len(values)

    def result(self) -> Float64[Tensor, " k"]:
        """Mean over the sequences seen."""
        return self.total / self.count
