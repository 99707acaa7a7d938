"""The loop that the recurrent benchmark systems share: N − 1 one-step forecasts over N = T + K frames.

    u₁ = x₁        u_t = x_t where frame t is given, else ŷ_t        ŷ_{t+1} = W_out * h_t        t = 1 … N − 1

with x_t a frame cut into patches of p×p pixels, h_t the top hidden map of the system's own step, which reads u_t, and
W_out a 1×1 convolution without bias. There is no sigmoid: forecasts may leave [0, 1], and go back in as they are. With
``output`` "sigmoid", ŷ_{t+1} = σ(W_out * h_t), for losses of probabilities; that is ours, no code has it.

In training the loss asks for all N − 1 forecasts, those within the context too, and a mask (B, N − 2) says which of
the frames 2 … N − 1 are given. In a forecast all of the context are, and none after it: K is free.

Source: Y. Wang, M. Long, J. Wang, Z. Gao, P. S. Yu, "PredRNN", NeurIPS 2017 (code thuml/predrnn-pytorch), and the same
loop in chengtan9907/OpenSTL. The second update that the original code makes on each batch, with time reversed, is the
training's: ``reverse_input``.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from framecast.errors import UserError
from framecast.models.base import Forecaster, Layer, Lesson, Penalty

S = TypeVar("S")
Output = Literal["linear", "sigmoid"]


def to_patches(frames: Float[Tensor, "*n c h w"], size: int) -> Float[Tensor, "*n ppc hp wp"]:
    """Space to depth: channel (row in the patch · p + column in the patch) · C + colour.

    >>> to_patches(torch.arange(16.0).view(1, 4, 4), 2)[:, 0, 0]
    tensor([0., 1., 4., 5.])
    """
    cut = frames.unflatten(-1, (-1, size)).unflatten(-3, (-1, size))  # (…, C, H/p, p, W/p, p)
    return torch.einsum("...cyrxs->...rscyx", cut).flatten(-5, -3)


def from_patches(patches: Float[Tensor, "*n ppc hp wp"], size: int) -> Float[Tensor, "*n c h w"]:
    """The inverse of ``to_patches``."""
    cut = patches.unflatten(-3, (size, size, -1))  # (…, p, p, C, H/p, W/p)
    return torch.einsum("...rscyx->...cyrxs", cut).flatten(-2, -1).flatten(-3, -2)


class Held(NamedTuple):
    """What a layer holds after a step, all of it (B, D, H/p, W/p)."""

    h: Tensor
    c: Tensor
    gates: tuple[Tensor, Tensor, Tensor]  #: i, f and o: those of c, where there is a second memory
    m: Tensor | None = None


class Unrolled(Forecaster, Generic[S]):
    """A system that maps (x_t, its state) to (h_t, its next state), in this loop; (B, T, C, H, W) → (B, K, C, H, W).

    Raises UserError for a patch that does not divide the frame.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        hidden_channels: int,
        kernel_size: int,
        patch_size: int,
        output: Output,
    ) -> None:
        super().__init__(frame_shape)
        channels, height, width = frame_shape
        if height % patch_size or width % patch_size:
            raise UserError(
                f"found patch_size {patch_size} with frames of {height} × {width} pixels, allowed: a number that "
                "divides both sides; change patch_size or frame_size in params.yaml"
            )
        self.hidden_channels, self.patch_size = hidden_channels, patch_size
        self.patch_channels = channels * patch_size**2
        self.map_size = height // patch_size, width // patch_size
        self.read_out = nn.Conv2d(hidden_channels, self.patch_channels, 1, bias=False)
        self.output = output

    @abstractmethod
    def start(self, zeros: Float[Tensor, "b d h w"]) -> S:
        """The state before the first frame, of maps of zeros."""

    @abstractmethod
    def step(self, x: Float[Tensor, "b ppc h w"], state: S) -> tuple[Float[Tensor, "b d h w"], S]:
        """One step: the top hidden map and the next state."""

    @abstractmethod
    def held(self, x: Float[Tensor, "b ppc h w"], before: S, after: S) -> list[Held]:
        """What each layer holds after the step from one state to the next, the lowest first."""

    def penalties(self, states: list[S]) -> dict[str, Penalty]:
        """What the states after all N − 1 steps of a lesson cost; the default is nothing."""
        return {}

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """Forecast (B, horizon, C, H, W) from its own forecasts, so no teacher is used."""
        steps = self._unroll(context, context.shape[1] + horizon - 1)
        forecast = [y for t, (y, _) in enumerate(steps, start=1) if t >= context.shape[1]]
        return from_patches(torch.stack(forecast, dim=1), self.patch_size)

    def lesson(self, seen: Tensor, truth: Tensor, context: int, given: Tensor | None = None) -> Lesson:
        """All N − 1 one-step forecasts against the frames 2 … N, and the penalties."""
        readable = seen[:, :context] if given is None else seen
        steps = list(self._unroll(readable, seen.shape[1] - 1, given))
        forecast = from_patches(torch.stack([y for y, _ in steps], dim=1), self.patch_size)
        return Lesson(forecast, truth[:, 1:], self.penalties([state for _, state in steps]))

    def inside(self, frames: Tensor) -> list[Layer]:
        """What every layer holds while it reads these frames; a place of its maps is spread over its p×p pixels."""
        x = to_patches(frames, self.patch_size)
        state = self.start(x.new_zeros(len(x), self.hidden_channels, *self.map_size))
        steps = []
        for u in x.unbind(1):
            before, (_, state) = state, self.step(u, state)
            steps.append(self.held(u, before, state))
        return [self._layer(layer) for layer in zip(*steps, strict=True)]

    def _layer(self, steps: Sequence[Held]) -> Layer:
        """One layer at all steps."""
        gates = [torch.stack([gate.mean(1) for gate in held.gates], dim=1) for held in steps]
        memories = [held.m for held in steps if held.m is not None]
        return Layer(
            hidden=self._spread([held.h for held in steps]),
            cell=self._spread([held.c for held in steps]),
            gates=self._spread(gates),
            memory=self._spread(memories) if memories else None,
        )

    def _spread(self, maps: Sequence[Tensor]) -> Tensor:
        """T maps (B, ·, H/p, W/p) → (B, T, ·, H, W)."""
        stacked = torch.stack(tuple(maps), dim=1)
        return stacked.repeat_interleave(self.patch_size, -2).repeat_interleave(self.patch_size, -1)

    def _unroll(
        self,
        frames: Float[Tensor, "b t c h w"],
        steps: int,
        given: Bool[Tensor, "b steps_less_1"] | None = None,
    ) -> Iterator[tuple[Float[Tensor, "b ppc hp wp"], S]]:
        """The forecast and the state of each step, which reads the last forecast where no frame is given."""
        device = frames.device.type
        if torch.is_autocast_enabled(device):  # else maps of mixed types are widened and narrowed again at every step
            frames = frames.to(torch.get_autocast_dtype(device))
        x = to_patches(frames, self.patch_size)
        state = self.start(x.new_zeros(len(x), self.hidden_channels, *self.map_size))
        y = x[:, 0]
        for t in range(steps):
            if t and given is not None:
                u = torch.where(given[:, t - 1, None, None, None], x[:, t], y)
            else:
                u = x[:, t] if t < x.shape[1] else y
            h, state = self.step(u, state)
            y = self.read_out(h).sigmoid() if self.output == "sigmoid" else self.read_out(h)
            yield y, state
