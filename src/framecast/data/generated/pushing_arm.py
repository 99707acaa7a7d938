"""An arm that reaches over a table and pushes blocks: the stand-in for BAIR robot pushing.

Lengths are in widths of the frame. The gripper follows a cubic Bézier curve through its trajectory, so its speed and
direction vary smoothly; a block that it meets is shoved out of its way, and shoves the others. Everything is made of
sums, products, quotients and square roots, which every machine rounds alike.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from framecast.data.base import counter_uniforms
from framecast.data.formats.softmotion import FRAMES_EACH, Trajectory

BLOCKS = 3
GRIPPER, ARM = 0.09, 0.075  #: radius of the gripper and of the arm
SHOULDER = (0.5, -0.25)  #: where the arm comes from, x and y
SUBSTEPS, SETTLING = 4, 12  #: of the motion: for each frame, and before the first, until no block lies on another
REACH = np.array([0.76, 1.4, 1.4, 0.76])[:, None]  #: how far apart the points that shape the gripper's curve may lie
EDGE = 0.06  #: width of the rim around the table

RIM, LINK, HAND, PALM = (0.25, 0.22, 0.20), (0.20, 0.22, 0.26), (0.85, 0.85, 0.88), (0.10, 0.10, 0.12)
TABLES = {"aux1": (0.62, 0.54, 0.44), "main": (0.44, 0.53, 0.60)}  #: the cameras differ, so that it shows which is read
#: Muted, so that the arm is what stands out; a network first learns what costs it most, and few steps are for the arm.
PAINTS = np.array([(0.80, 0.40, 0.30), (0.42, 0.58, 0.36), (0.42, 0.50, 0.68), (0.84, 0.70, 0.32), (0.64, 0.42, 0.58)])
DRAWS = 8 + 4 * BLOCKS + len(PAINTS)  #: uniform numbers: the curve, the blocks, their paints


@dataclass(frozen=True)
class _Scene:
    gripper: Float[np.ndarray, "t 2"]
    blocks: Float[np.ndarray, "t k 2"]
    halves: Float[np.ndarray, "k"]
    paints: Float[np.ndarray, "k 3"]


def trajectory(seed: int, stream: int, number: int, size: int) -> Trajectory:
    """Trajectory ``number`` of a stream, frames of ``size`` pixels a side: a function of these four alone."""
    scene = _scene(counter_uniforms(seed, stream, number, 1, DRAWS)[0])
    path = np.concatenate([scene.gripper, np.full((FRAMES_EACH, 1), 0.1)], axis=1)
    moves = np.diff(path, axis=0, append=path[-1:])
    return Trajectory(
        aux1=_drawn(scene, size, "aux1"),
        main=np.ascontiguousarray(_drawn(scene, size, "main")[:, ::-1, ::-1]),  # from the other side of the table
        actions=np.concatenate([moves, np.zeros((FRAMES_EACH, 1))], axis=1).astype(np.float32),
        positions=path.astype(np.float32),
    )


def _scene(uniforms: Float[np.ndarray, "d"]) -> _Scene:
    points = 0.5 + REACH * (uniforms[:8].reshape(4, 2) - 0.5)
    along, aside_x, aside_y, half = uniforms[8 : 8 + 4 * BLOCKS].reshape(BLOCKS, 4).T
    halves = 0.06 + 0.03 * half
    fine = _curve(points, np.arange(FRAMES_EACH * SUBSTEPS) / (FRAMES_EACH * SUBSTEPS))
    aside = np.stack([aside_x, aside_y], axis=1) - 0.5
    reach = np.array([0.1, 0.6, 0.9])[:BLOCKS, None]  # the first lies in the gripper's way, the others somewhere
    at = _curve(points, 0.25 + 0.6 * along) + reach * aside
    for _ in range(SETTLING):
        at = _shoved(at, halves, fine[0])
    shown = []
    for step, gripper in enumerate(fine):
        at = _shoved(at, halves, gripper)
        if step % SUBSTEPS == 0:
            shown.append(at)
    paints = PAINTS[np.argsort(uniforms[-len(PAINTS) :])[:BLOCKS]]  # no two blocks alike
    return _Scene(fine[::SUBSTEPS], np.stack(shown), halves, paints)


def _curve(points: Float[np.ndarray, "4 2"], s: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 2"]:
    """Cubic Bézier, kept on the table: (1−s)³ p₀ + 3 s (1−s)² p₁ + 3 s² (1−s) p₂ + s³ p₃."""
    r, s = 1 - s[:, None], s[:, None]
    curve = r * r * r * points[0] + 3 * s * r * r * points[1] + 3 * s * s * r * points[2] + s * s * s * points[3]
    return np.clip(curve, 0.1, 0.9)


def _shoved(at: np.ndarray, halves: np.ndarray, gripper: np.ndarray) -> np.ndarray:
    """Blocks (K, 2) moved straight away from what they overlap: from the gripper, then half of the way each."""
    at = at.copy()
    for k in range(BLOCKS):
        at[k] += _way_out(at[k] - gripper, GRIPPER + halves[k])
    for k in range(BLOCKS):
        for other in range(k):
            way = _way_out(at[k] - at[other], halves[k] + halves[other]) / 2
            at[k] += way
            at[other] -= way
    within = (EDGE + halves)[:, None]
    return np.clip(at, within, 1 - within)


def _way_out(apart: np.ndarray, least: float) -> np.ndarray:
    distance = np.sqrt(apart[0] * apart[0] + apart[1] * apart[1])
    return apart / max(distance, 1e-9) * max(least - distance, 0)


# --- drawing ----------------------------------------------------------------------------------------


def _drawn(scene: _Scene, size: int, camera: str) -> UInt8[np.ndarray, "t {size} {size} 3"]:
    centre = ((np.arange(size) + 0.5) / size).astype(np.float32)
    gripper, blocks = scene.gripper.astype(np.float32), scene.blocks.astype(np.float32)
    x, y = centre[None, None, :], centre[None, :, None]  # (1, 1, S), (1, S, 1)
    ground = np.array(TABLES[camera], np.float32) * (1.1 - 0.25 * y[..., None])
    frames = np.broadcast_to(ground, (FRAMES_EACH, size, size, 3)).copy()
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    _paint(frames, edge - EDGE, RIM, size)
    for k in range(BLOCKS):
        dx, dy = _offsets(blocks[:, k], x, y)
        _paint(frames, np.maximum(np.abs(dx), np.abs(dy)) - np.float32(scene.halves[k]), tuple(scene.paints[k]), size)
    _paint(frames, _from_segment(gripper, x, y) - ARM, LINK, size)
    dx, dy = _offsets(gripper, x, y)
    distance = np.sqrt(dx * dx + dy * dy)
    _paint(frames, distance - GRIPPER, HAND, size)
    _paint(frames, distance - GRIPPER / 2, PALM, size)
    return np.floor(np.clip(frames, 0, 1) * 255 + 0.5).astype(np.uint8)


def _paint(frames: np.ndarray, beyond: np.ndarray, colour: tuple[float, ...], size: int) -> None:
    """Cover what lies inside of a shape: ``beyond`` is each pixel's distance from its outline, negative inside."""
    covered = np.clip(0.5 - beyond * size, 0, 1)[..., None]
    frames *= 1 - covered
    frames += covered * np.array(colour, np.float32)


def _offsets(centres: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x - centres[:, 0, None, None], y - centres[:, 1, None, None]


def _from_segment(ends: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each pixel's distance (T, S, S) from the line between the shoulder and the gripper."""
    along = ends - np.array(SHOULDER, np.float32)
    dx, dy = x - SHOULDER[0], y - SHOULDER[1]
    ax, ay = along[:, 0, None, None], along[:, 1, None, None]
    share = np.clip((dx * ax + dy * ay) / (ax * ax + ay * ay), 0, 1)
    dx, dy = dx - share * ax, dy - share * ay
    return np.sqrt(dx * dx + dy * dy)
