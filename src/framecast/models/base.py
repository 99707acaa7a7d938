"""What a forecasting system is.

Axes: B batch, T context frames, K horizon, C channels, H×W image size. A frame is (C,) in a series and (C, H, W) in a
video, values in [0, 1]; ``*frame`` stands for either, so vector series and video share one interface.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn


class Layer(NamedTuple):
    """What a recurrent layer of D channels on maps held after each of the T frames that were read."""

    hidden: Float[Tensor, "b t d h w"]  #: the layer's own output, before normalisation and attention
    cell: Float[Tensor, "b t d h w"]
    gates: Float[Tensor, "b t 3 h w"]  #: i, f, o, each the mean over channels, 0 to 1 (a causal LSTM's o: −1 to 1)
    spatial_attention: Float[Tensor, "b t h w"] | None = None  #: the mask behind the layer, 0 to 1
    channel_attention: Float[Tensor, "b t d"] | None = None
    memory: Float[Tensor, "b t d h w"] | None = None  #: a second one, which goes from layer to layer


class Penalty(NamedTuple):
    """What a system adds to its loss: weight · value."""

    weight: float
    value: Float[Tensor, ""]


class Lesson(NamedTuple):
    """What one training step compares, L(forecast, target), and what it adds by name."""

    forecast: Float[Tensor, "b n *frame"]
    target: Float[Tensor, "b n *frame"]
    penalties: dict[str, Penalty]


class Forecaster(nn.Module, ABC):
    """Maps the observed frames to the next ``horizon`` frames.

    A subclass takes ``frame_shape`` — (C,) or (C, H, W) — first, then ``depth`` and its hyper-parameters as
    keyword-only arguments whose defaults are the paper's values and whose annotations are the bounds that
    ``params.yaml`` is checked against. One whose weights depend on T takes ``context`` as well, which the dataset
    gives. Its module says ``FRAMES = "series"``, ``"video"`` or ``"any"``, ``UNIT_RANGE = False`` where forecasts may
    leave [0, 1] (or the values of an argument with which they stay within), ``SAMPLED = True`` where training may
    feed it its own forecasts, and in ``FITS`` what its arguments must be beside each other, the dataset's ``context``
    and the ``side`` of its frames.
    """

    READS_TEACHER: ClassVar[bool] = False  #: whether ``forward`` makes use of a teacher

    def __init__(self, frame_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.frame_shape = tuple(frame_shape)

    @abstractmethod
    def forward(
        self,
        context: Float[Tensor, "b t *frame"],
        horizon: int,
        teacher: Float[Tensor, "b k *frame"] | None = None,
    ) -> Float[Tensor, "b k *frame"]:
        """Forecast ``horizon`` frames from the context.

        ``teacher`` holds the true future frames for systems that train on them; a system that is free-running in
        training ignores it. Without a teacher the forecast is a function of the context alone.
        """

    def lesson(
        self,
        seen: Float[Tensor, "b n *frame"],
        truth: Float[Tensor, "b n *frame"],
        context: int,
        given: Bool[Tensor, "b n_less_2"] | None = None,
    ) -> Lesson:
        """What the system is trained on, from whole sequences of N = T + K frames, the first T being ``context``.

        ``seen`` is what it may read, ``truth`` what it is asked for; they differ where noise is added. ``given`` is
        for a system that can be fed its own forecasts: whether the frames 2 … N − 1 are read as they are; without it,
        those of the context are. The default: the forecast of the horizon.
        """
        frames, teacher = seen[:, :context], seen[:, context:]
        return Lesson(self(frames, teacher.shape[1], teacher), truth[:, context:], {})

    def inside(self, frames: Float[Tensor, "b t *frame"]) -> list[Layer]:
        """What the recurrent layers hold while they read these frames, all of them true, the lowest layer first.

        The default, an empty list, is that of a system that shows nothing. One that does computes the very states of
        ``forward``, and leaves ``forward`` as fast as it is.
        """
        return []


class Baseline(Forecaster):
    """A forecaster without training: it has no depth, loss or seed, and stands in every table.

    ``fit`` sees the training split once; the default needs nothing from it.
    """

    def fit(self, context: Float[Tensor, "n t *frame"], target: Float[Tensor, "n k *frame"]) -> None:
        """Estimate closed-form coefficients from training sequences (most baselines have none)."""
