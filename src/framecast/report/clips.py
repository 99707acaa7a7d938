"""Playable forecasts: one sheet of frames for a video sequence, one set of lines for a series."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib.image import imsave

from framecast.figures.base import colour, difference, picture
from framecast.figures.shared.choice import featured
from framecast.results import Results, label

CLIPS = 4


@dataclass(frozen=True)
class Player:
    """A test sequence that can be played: ``context`` observed steps, then ``horizon`` forecast ones."""

    sequence: int
    context: int
    horizon: int
    names: tuple[str, ...]  #: the systems shown

    @property
    def steps(self) -> int:
        """All time steps."""
        return self.context + self.horizon


@dataclass(frozen=True)
class Film(Player):
    """A sheet of frames: time to the right; rows: truth, then forecast and |difference| of each system."""

    sheet: str  #: data URI
    ratio: str  #: width / height of a frame

    @property
    def rows(self) -> int:
        """Rows of the sheet."""
        return 1 + 2 * len(self.names)


@dataclass(frozen=True)
class Lines(Player):
    """Points of polylines in a box of ``steps`` × 1, the value 1 on top."""

    truth: str
    forecasts: tuple[tuple[str, str], ...]  #: (points, colour), a forecast for each name


def players(results: Results, dataset: str) -> list[Player]:
    """The first stored test sequences of a dataset, each with the first seed of every system (of a few, if many)."""
    systems = featured(results, dataset)
    if not systems:
        return []
    names = tuple(label(results, dataset, systems, system) for system in systems)
    inks = [colour(systems, system) for system in systems]
    clips = [results.scored(dataset, system)[0].clips for system in systems]
    build = _film if clips[0]["target"].ndim == 5 else _lines
    return [
        build(index, names, inks, [{name: clip[index] for name, clip in each.items()} for each in clips])
        for index in range(min(CLIPS, len(clips[0]["target"])))
    ]


def _film(index: int, names: tuple[str, ...], inks: list[str], clips: list[dict[str, np.ndarray]]) -> Film:
    """Frames (T, C, H, W) of one sequence as a sheet; during the context a forecast row repeats the truth."""
    context, target = clips[0]["context"], clips[0]["target"]
    truth = np.concatenate([context, target])
    rows = [picture(truth)]
    for clip in clips:
        shown = np.concatenate([context, clip["forecast"]])
        rows += [picture(shown), difference(shown, truth)]
    sheet = np.stack(rows).transpose(0, 2, 1, 3, 4)  # (rows, H, T, W, 3)
    height, steps, width = sheet.shape[1:4]
    pixels = np.rint(sheet.reshape(len(rows) * height, steps * width, 3) * 255).astype(np.uint8)
    return Film(index + 1, len(context), len(target), names, png(pixels), f"{width} / {height}")


def _lines(index: int, names: tuple[str, ...], inks: list[str], clips: list[dict[str, np.ndarray]]) -> Lines:
    """The first channel of one sequence (T, C) as polylines."""
    context, target = clips[0]["context"], clips[0]["target"]
    truth = np.concatenate([context, target])
    drawn = [_points(clip["forecast"], len(context)) for clip in clips]
    pairs = tuple(zip(drawn, inks, strict=True))
    return Lines(index + 1, len(context), len(target), names, _points(truth, 0), pairs)


def _points(values: np.ndarray, start: int) -> str:
    return " ".join(f"{start + step + 0.5:g},{1 - value:.4f}" for step, value in enumerate(values[:, 0].tolist()))


def png(pixels: np.ndarray) -> str:
    """(H, W, 3) uint8 as a data URI. No text chunk with a program's version: same pixels, same bytes."""
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", origin="upper", metadata={"Software": None})  # type: ignore[dict-item]
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
