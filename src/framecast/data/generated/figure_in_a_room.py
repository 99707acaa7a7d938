"""A coloured figure in a room, seen by four cameras: the stand-in for Human3.6M.

A subject has a height. Each take has clothes, skin, pace and a way of its own, the same for the four cameras, which
film it at once. An action says how far round the room the figure goes, either way, and what its arms do: they swing in
turn with the legs, wave, point or gesture. The room, and the corner that a camera looks at it from, are always the
same. Lengths are in heights of the room or of the figure, angles in turns, time in stored images, ten to a second.

Clothes are drawn from a range of colours that is wide and the same for all, so that the colours of the test
are new, but not unlike all that a system was shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from framecast.data.base import counter_uniforms
from framecast.data.formats.human36m_images import Video


@dataclass(frozen=True)
class Action:
    """How the figure goes round the room and holds its arms; 0 turns hang down, a quarter points to the side."""

    reach: tuple[float, float]  #: of its way, along the wall and away from it
    held: tuple[float, float] = (0.03, 0.03)  #: where each arm swings about, in turns
    swing: tuple[float, float] = (0.1, -0.1)  #: how far each arm swings, in turns; with opposite signs, in turn


ACTIONS = {
    "Directions": Action((0.40, 0.30), held=(0.20, 0.20), swing=(0.1, 0.1)),
    "Discussion": Action((0.50, 0.30), held=(0.12, 0.12), swing=(0.12, -0.12)),
    "Greeting": Action((0.45, 0.30), held=(0.33, 0.03), swing=(0.1, 0.0)),
    "Purchases": Action((0.35, 0.50), held=(0.15, 0.03), swing=(0.0, 0.1)),
    "WalkDog": Action((0.60, 0.30), held=(0.10, 0.03), swing=(0.02, 0.1)),
    "Walking": Action((0.60, 0.45)),
}
TAKES = ("", " 1")  #: what follows an action in the name of its first and second take
CAMERAS = {54138969: (1.0, 0.0), 55011271: (0.8, 0.6), 58860488: (0.0, 1.0), 60457274: (-0.6, 0.8)}  #: cosine, sine
WALLS = {
    54138969: (0.75, 0.74, 0.70),
    55011271: (0.66, 0.72, 0.76),
    58860488: (0.73, 0.66, 0.62),
    60457274: (0.6, 0.7, 0.6),
}
FLOOR, DOOR = (0.58, 0.50, 0.42), (0.50, 0.40, 0.33)
HORIZON = 0.62  #: where the floor meets the wall
DARKEST, LIGHTEST = 0.05, 0.65  #: of each of the three colours of clothes; walls are lighter
SLEEVES = 0.8  #: how light they are beside the shirt
SKINS = np.array([(0.38, 0.25, 0.18), (0.90, 0.72, 0.60)])  #: the two ends of their range
ARM, LEG = 0.36, 0.48  #: lengths
DRAWS = 12  #: uniform numbers of a take: its colours, and how it is done


def images(video: Video, count: int, side: int, seed: int) -> Iterator[UInt8[np.ndarray, "{side} {side} 3"]]:
    """The stored images of a video, RGB: a function of these four alone."""
    height = float(counter_uniforms(seed, 0, video.subject, 1, 1)[0, 0])
    drawn = _draws(video, seed)
    shirt, trousers = clothes(video, seed)
    paints = [shirt, trousers, SLEEVES * shirt, SKINS[0] + drawn[6] * (SKINS[1] - SKINS[0])]
    room = _room(video.camera, side)
    for step in range(count):
        yield _with_figure(room, *_pose(video, height, drawn[7:], step), paints, side)


def clothes(video: Video, seed: int) -> Float[np.ndarray, "2 3"]:
    """Colours of shirt and trousers, RGB in [0, 1]: those of the take."""
    return DARKEST + (LIGHTEST - DARKEST) * _draws(video, seed)[:6].reshape(2, 3)


def _draws(video: Video, seed: int) -> Float[np.ndarray, "d"]:
    take = TAKES.index(video.take.removeprefix(video.action)) + len(TAKES) * list(ACTIONS).index(video.action)
    return counter_uniforms(seed, 1 + take, video.subject, 1, DRAWS)[0]


def _wave(turns: float) -> float:
    """Like a sine of so many turns, from two parabolas: the same on every machine."""
    turns -= np.floor(turns)
    half = turns if turns < 0.5 else turns - 0.5
    return float(16 * half * (0.5 - half) * (1 if turns < 0.5 else -1))


def _pose(video: Video, height: float, pace: np.ndarray, step: int) -> tuple[list, tuple[float, float], float]:
    """Limbs as (from, to, radius, paint), in units of the figure, from its hip; where that is, and how tall it is."""
    action = ACTIONS[video.action]
    swing = _wave(step / (14 + 6 * pace[0]) + pace[1])
    way = step / (40 + 16 * pace[2]) * (1 if pace[3] < 0.5 else -1) + pace[4]
    x, z = action.reach[0] * _wave(way), action.reach[1] * _wave(way + 0.25)
    cosine, sine = CAMERAS[video.camera]
    across, away = x * cosine + z * sine, z * cosine - x * sine
    tall = (0.70 + 0.12 * height) / (1 + 0.35 * away)
    limbs = [((0.06 * at, 0.0), (0.06 * at + LEG * _wave(0.1 * swing * at), LEG), 0.07, 1) for at in (1, -1)]
    limbs.append(((0.0, -0.02), (0.0, -0.29), 0.13, 0))
    for at, held, far in zip((1, -1), action.held, action.swing, strict=True):
        turn = held + far * swing
        hand = (0.1 * at + ARM * _wave(turn) * at, ARM * _wave(turn + 0.25) - 0.32)
        limbs.append(((0.1 * at, -0.32), hand, 0.055, 2))
    limbs.append(((0.0, -0.49), (0.0, -0.51), 0.09, 3))
    feet = 0.95 - 0.15 * away
    return limbs, (0.5 + 0.5 * across / (1 + 0.35 * away), feet - 0.53 * tall), tall


def _room(camera: int, side: int) -> Float[np.ndarray, "{side} {side} 3"]:
    y, x = (np.indices((side, side), np.float32) + 0.5) / side
    image = np.where((y < HORIZON)[..., None], np.array(WALLS[camera]) * (1.05 - 0.2 * y[..., None]), np.array(FLOOR))
    at = list(CAMERAS).index(camera) * 0.2 + 0.1
    door = (x > at) & (x < at + 0.16) & (y > 0.22) & (y < HORIZON)
    return np.where(door[..., None], np.array(DOOR), image).astype(np.float32)


def _with_figure(
    room: np.ndarray, limbs: list, hip: tuple[float, float], tall: float, paints: list[np.ndarray], side: int
) -> UInt8[np.ndarray, "{side} {side} 3"]:
    image = room.copy()
    y, x = (np.indices((side, side), np.float32) + 0.5) / side
    u, v = (x - np.float32(hip[0])) / np.float32(tall), (y - np.float32(hip[1])) / np.float32(tall)
    for start, end, radius, paint in limbs:
        ax, ay = end[0] - start[0], end[1] - start[1]
        du, dv = u - np.float32(start[0]), v - np.float32(start[1])
        share = np.clip((du * np.float32(ax) + dv * np.float32(ay)) / np.float32(ax * ax + ay * ay), 0, 1)
        du, dv = du - share * np.float32(ax), dv - share * np.float32(ay)
        beyond = (np.sqrt(du * du + dv * dv) - np.float32(radius)) * np.float32(tall * side)
        covered = np.clip(0.5 - beyond, 0, 1)[..., None]
        image = image * (1 - covered) + covered * paints[paint].astype(np.float32)
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
