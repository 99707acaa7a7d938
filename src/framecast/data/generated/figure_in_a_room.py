"""A coloured figure in a room, seen by four cameras: the stand-in for Human3.6M.

A subject has its height, and for each action its clothes and pace; an action says how it moves about and swings its
limbs: who walks goes round the room, either way, who greets waves an arm and steps aside and back, who directs points
with both arms. A camera looks at the room from its own corner. Lengths are in heights of the room, time in stored
images, ten to a second.

Clothes are of a few colours each, so that few subjects show them all: a system that has never seen a colour cannot be
asked to go on with it.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from framecast.data.base import counter_uniforms
from framecast.data.formats.human36m_images import Video

ACTIONS = ("Walking", "Greeting", "Directions")
CAMERAS = {54138969: (1.0, 0.0), 55011271: (0.8, 0.6), 58860488: (0.0, 1.0), 60457274: (-0.6, 0.8)}  #: cosine, sine
WALLS = {
    54138969: (0.75, 0.74, 0.70),
    55011271: (0.66, 0.72, 0.76),
    58860488: (0.73, 0.66, 0.62),
    60457274: (0.6, 0.7, 0.6),
}
FLOOR, DOOR, SKIN = (0.45, 0.36, 0.28), (0.50, 0.40, 0.33), (0.86, 0.68, 0.56)
HORIZON = 0.62  #: where the floor meets the wall
SHIRTS = np.array([(0.80, 0.22, 0.18), (0.18, 0.36, 0.75), (0.92, 0.76, 0.20), (0.14, 0.14, 0.20)])
TROUSERS = np.array([(0.16, 0.20, 0.42), (0.10, 0.10, 0.12), (0.62, 0.58, 0.50)])
DRAWS = 8  #: uniform numbers of a subject's action: its clothes, and how it is done


def images(video: Video, count: int, side: int, seed: int) -> Iterator[UInt8[np.ndarray, "{side} {side} 3"]]:
    """The stored images of a video, RGB: a function of these four alone."""
    height = float(counter_uniforms(seed, 0, video.subject, 1, 1)[0, 0])
    drawn = counter_uniforms(seed, 1 + ACTIONS.index(video.action), video.subject, 1, DRAWS)[0]
    shirt, trousers = SHIRTS[int(len(SHIRTS) * drawn[0])], TROUSERS[int(len(TROUSERS) * drawn[1])]
    pace = drawn[2:]
    room = _room(video.camera, side)
    for step in range(count):
        yield _with_figure(room, *_pose(video, height, pace, step), [shirt, trousers, shirt, np.array(SKIN)], side)


def _wave(turns: float) -> float:
    """Like a sine of so many turns, from two parabolas: the same on every machine."""
    turns -= np.floor(turns)
    half = turns if turns < 0.5 else turns - 0.5
    return float(16 * half * (0.5 - half) * (1 if turns < 0.5 else -1))


def _pose(video: Video, height: float, pace: np.ndarray, step: int) -> tuple[list, tuple[float, float], float]:
    """Limbs as (from, to, radius, paint), in units of the figure, from its hip; where that is, and how tall it is."""
    beat = step / (16 + 8 * pace[0]) + pace[1]
    x, z, arms, legs = 0.3 * (pace[2] - 0.5), 0.3 * (pace[3] - 0.5), (0.15, 0.15), 0.0
    swing = _wave(beat)
    if video.action == "Walking":
        way = step / (50 + 20 * pace[4]) * (1 if pace[3] < 0.5 else -1) + pace[5]
        x, z = 0.6 * _wave(way), 0.4 * _wave(way + 0.25)
        arms, legs = (0.35 * swing, -0.35 * swing), 0.3 * swing
    elif video.action == "Greeting":
        x += 0.2 * _wave(beat / 2)
        arms = (0.8 + 0.4 * swing, 0.15)
    else:
        x += 0.1 * _wave(beat / 2)
        arms = (0.5 + 0.4 * swing, 0.5 + 0.4 * _wave(beat / 2))
    cosine, sine = CAMERAS[video.camera]
    across, away = x * cosine + z * sine, z * cosine - x * sine
    tall = (0.62 + 0.12 * height) / (1 + 0.35 * away)
    limbs = [
        ((0.0, 0.0), (0.12 + legs, 0.48), 0.055, 1),
        ((0.0, 0.0), (-0.12 - legs, 0.48), 0.055, 1),
        ((0.0, -0.02), (0.0, -0.32), 0.1, 0),
        ((0.06, -0.34), (0.06 + arms[0] * 0.5, -0.06 - 0.4 * max(arms[0] - 0.4, 0)), 0.04, 2),
        ((-0.06, -0.34), (-0.06 - arms[1] * 0.5, -0.06 - 0.4 * max(arms[1] - 0.4, 0)), 0.04, 2),
        ((0.0, -0.48), (0.0, -0.5), 0.075, 3),
    ]
    feet = 0.93 - 0.15 * away
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
