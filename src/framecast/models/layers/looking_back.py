"""What a system says that attends to the frames it has read."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor


class LooksBack(ABC):
    """A forecaster whose every forecast weighs the T frames that it read."""

    @abstractmethod
    def look_back(self, context: Float[Tensor, "b t *frame"], horizon: int) -> dict[str, Float[Tensor, "b k t"]]:
        """The weights of the T frames at each forecast, by the name of what attends; they sum to 1 over T.

        The very weights of ``forward`` in its free run; where more than T frames are given, those of the last T.
        """
