"""Motion extrapolation baseline: what moved goes on moving as it did.

    v = the dense optical flow of the last observed pair, averaged with that of the pair before it where there is one
    x̂_{t+1}(p) = x̂_t(p − v_t(p))      v_{t+1}(p) = v_t(p − v_t(p))      from x̂_T = x_T, v_T = v

that is, semi-Lagrangian advection of the last frame, the flow carried along; between pixels bilinear, edges repeated.
The flow is scikit-image's iterative Lucas–Kanade (Le Besnerais & Champagnat, 2005) on the mean over channels. One frame
shows no motion: its forecast is that frame.
"""

import itertools

import numpy as np
import torch
from jaxtyping import Float
from skimage.registration import optical_flow_ilk
from torch import Tensor
from torch.nn import functional

from framecast.models.base import Baseline

FRAMES = "video"
RADIUS = 3  #: pixels around each that the flow is fitted to


class MotionExtrapolation(Baseline):
    """x̂_{t+1}(p) = x̂_t(p − v_t(p)): untrained and deterministic; the flow is found on the CPU."""

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """(B, T, C, H, W) → (B, horizon, C, H, W), within the range of the last frame."""
        flow = torch.stack([_flow(frames) for frames in context.float().mean(2).cpu().numpy()])
        moving = torch.cat([context[:, -1].float(), flow.to(context.device)], dim=1)
        forecast = []
        for _ in range(horizon):
            moving = advected(moving, moving[:, -2:])
            forecast.append(moving[:, :-2])
        return torch.stack(forecast, dim=1).to(context.dtype)


def _flow(frames: Float[np.ndarray, "t h w"]) -> Float[Tensor, "2 h w"]:
    """(vertical, horizontal) motion in pixels a frame, by up to the last two pairs."""
    pairs = list(itertools.pairwise(frames[-3:]))
    if not pairs:
        return torch.zeros(2, *frames.shape[1:])
    # It tells where in the frame before each pixel comes from: before(p + w(p)) ≈ after(p).
    came_from = [optical_flow_ilk(after, before, radius=RADIUS, dtype=np.float32) for before, after in pairs]
    return torch.from_numpy(-np.mean(came_from, axis=0, dtype=np.float32))


def advected(maps: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b c h w"]:
    """Maps one step on: maps(p − flow(p)), with flow (vertical, horizontal) in pixels."""
    height, width = maps.shape[2:]
    rows = torch.arange(height, device=maps.device)[:, None] - flow[:, 0]
    columns = torch.arange(width, device=maps.device) - flow[:, 1]
    # grid_sample counts −1 … 1 from the centre of the first pixel to that of the last.
    grid = torch.stack([2 * columns / max(width - 1, 1) - 1, 2 * rows / max(height - 1, 1) - 1], dim=-1)
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)
