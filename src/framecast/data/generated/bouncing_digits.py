"""Digits that bounce through a frame: their trajectories, their rendering, and splits that render on demand.

What is stored or drawn is which digits there are and where they stand; frames are made on the device that uses them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int16, Int32, Integer, UInt8
from torch import Tensor

from framecast.artifacts import sha256
from framecast.data.base import Split
from framecast.errors import UserError

Overlap = Literal["maximum", "clipped_sum"]

BLOCK = 160  #: frames combined at once: what a 64×64 block reads and writes fits into a core's cache


# --- trajectories ---------------------------------------------------------------------------------


def svg_positions(
    uniforms: Float[np.ndarray, "n d 4"], steps: int, *, free: int, max_speed: int
) -> Int16[np.ndarray, "n {steps} d 2"]:
    """Top-left corners (y, x) of each digit in 0..free−1, from uniform numbers (y, x, dy, dx).

    Bounce, record, move: a digit that has left 0..free−1 is put back on the edge and turned round, so |dy| and |dx|
    stay what they were. ``free`` itself, where the digit would touch the far edge, is never reached.
    """
    position = np.floor(free * uniforms[..., :2]).astype(np.int64)
    velocity = np.floor((2 * max_speed + 1) * uniforms[..., 2:]).astype(np.int64) - max_speed
    path = np.empty((len(uniforms), steps, *position.shape[1:]), np.int16)
    for step in range(steps):
        outside = (position < 0) | (position > free - 1)
        velocity = np.where(outside, -velocity, velocity)
        path[:, step] = position = position.clip(0, free - 1)
        position = position + velocity
    return path


def srivastava_positions(
    uniforms: Float[np.ndarray, "n d 3"], steps: int, *, free: int, step_length: float
) -> Int16[np.ndarray, "n {steps} d 2"]:
    """Top-left corners (y, x) of each digit in 0..free, from uniform numbers (y, x, angle).

    Move, bounce, record, in units of the free range: p ← p + step_length · (sin θ, cos θ); a coordinate that reaches
    0 or 1 stays there and turns round; recorded is ⌊free · p⌋. The first frame has already moved.
    """
    position, angle = uniforms[..., :2], 2 * pi * uniforms[..., 2]
    velocity = step_length * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    path = np.empty((len(uniforms), steps, *position.shape[1:]), np.int16)
    for step in range(steps):
        position = position + velocity
        velocity = np.where((position <= 0) | (position >= 1), -velocity, velocity)
        position = position.clip(0, 1)
        path[:, step] = free * position
    return path


def without_replacement(uniforms: Float[np.ndarray, "n d"], pool: int) -> Int32[np.ndarray, "n d"]:
    """Distinct indices below ``pool``, uniform: the k-th is drawn among those that are left.

    Raises UserError when the pool holds fewer digits than one frame shall show.
    """
    if uniforms.shape[1] > pool:
        raise UserError(f"digits: found {uniforms.shape[1]}, all different; allowed: at most {pool}, the pool's size")
    chosen = np.empty(uniforms.shape, np.int32)
    for k in range(uniforms.shape[1]):
        index = np.floor((pool - k) * uniforms[:, k]).astype(np.int32)
        for taken in np.sort(chosen[:, :k], axis=1).T:
            index += index >= taken
        chosen[:, k] = index
    return chosen


# --- rendering ------------------------------------------------------------------------------------


@torch.no_grad()
def render(
    images: UInt8[Tensor, "n s s"],
    digits: Integer[Tensor, "b d"],
    positions: Integer[Tensor, "b t d 2"],
    *,
    frame_size: int,
    overlap: Overlap,
) -> UInt8[Tensor, "b t 1 {frame_size} {frame_size}"]:
    """Paint images[digits[b, d]] with its top-left corner at positions[b, t, d], for all b, t and d at once.

    A digit is laid out once as a strip: its rows as wide as the frame, zeros before and after. A frame with the digit
    at (y, x) is then frame_size² consecutive values of the strip, beginning y · frame_size + x values before the
    digit does: painting is copying whole windows, and no pixel is ever indexed.

    Positions must lie in 0..frame_size − s. Works on the device of ``images``.
    """
    batch, steps, layers, _ = positions.shape
    size = images.shape[-1]
    free = frame_size - size
    lead = free * (frame_size + 1)
    strips = images.new_zeros(batch * layers, lead + frame_size**2)  # (B·D, L)
    rows = strips[:, lead : lead + size * frame_size].unflatten(1, (size, frame_size))
    rows[..., :size] = images.index_select(0, digits.flatten())
    windows = strips.flatten().unfold(0, frame_size**2, 1)  # (B·D·L − F² + 1, F²), a view

    digit_start = lead + strips.shape[1] * torch.arange(batch * layers, device=images.device).view(batch, 1, layers)
    y, x = positions.long().unbind(-1)
    starts = (digit_start - y * frame_size - x).flatten(0, 1)  # (B·T, D)
    frames = images.new_empty(batch * steps, frame_size**2)
    for block, start in zip(frames.split(BLOCK), starts.split(BLOCK), strict=True):
        torch.index_select(windows, 0, start[:, 0], out=block)
        for layer in range(1, layers):
            painted = windows.index_select(0, start[:, layer])
            if overlap == "maximum":
                torch.maximum(block, painted, out=block)
            else:
                block += torch.minimum(painted, 255 - block, out=painted)
    return frames.view(batch, steps, 1, frame_size, frame_size)


# --- splits ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenes:
    """Which digits move where: ``digits`` (N, D) indices into a pool, ``positions`` (N, T, D, 2) corners (y, x)."""

    digits: Integer[Tensor, "n d"]
    positions: Integer[Tensor, "n t d 2"]

    @property
    def sha256(self) -> str:
        """Of the indices as int32, then the corners as int16, little-endian and in the order of their axes."""
        return sha256(self.digits.numpy().astype("<i4").tobytes() + self.positions.numpy().astype("<i2").tobytes())

    def verify(self, expected: str) -> None:
        """Raise UserError unless they have this sha256: another machine's sines could make them others."""
        if self.sha256 != expected:
            raise UserError(
                f"moving digits: expected sequences with sha256 {expected}, drew {self.sha256}; numpy computes others "
                "here: install the versions of requirements.lock, or say another data_seed"
            )

    def to(self, device: torch.device) -> "Scenes":
        """The same scenes on a device."""
        return Scenes(self.digits.to(device), self.positions.to(device))


class RenderedSplit(Split):
    """Fixed scenes, painted when asked for."""

    def __init__(self, images: Tensor, scenes: Scenes, *, frame_size: int, overlap: Overlap) -> None:
        self.images = images
        self.scenes = scenes
        self.frame_size = frame_size
        self.overlap: Overlap = overlap

    def __len__(self) -> int:
        return len(self.scenes.digits)

    def batch(self, indices: np.ndarray, epoch: int = 0) -> Float[Tensor, "b t 1 h w"]:
        """Scenes ``indices``, in [0, 1]; the same in every epoch."""
        chosen = torch.as_tensor(indices, device=self.images.device)
        frames = render(
            self.images,
            self.scenes.digits[chosen],
            self.scenes.positions[chosen],
            frame_size=self.frame_size,
            overlap=self.overlap,
        )
        return frames.float().div_(255)


class FreshSplit(RenderedSplit):
    """New scenes in every epoch: scene i of epoch e is ``draw``'s number e · len + i.

    An epoch's scenes are drawn together when its first batch is asked for (some 0.1 s for 60 000, a few MB).
    """

    def __init__(
        self, images: Tensor, draw: Callable[[int, int], Scenes], length: int, *, frame_size: int, overlap: Overlap
    ) -> None:
        super().__init__(images, draw(0, length).to(images.device), frame_size=frame_size, overlap=overlap)
        self.draw = draw
        self.epoch = 0

    def batch(self, indices: np.ndarray, epoch: int = 0) -> Float[Tensor, "b t 1 h w"]:
        """Scenes ``epoch · len + indices``, in [0, 1]."""
        if epoch != self.epoch:
            self.scenes = self.draw(epoch * len(self), len(self)).to(self.images.device)
            self.epoch = epoch
        return super().batch(indices)
