"""Playable forecasts: one sheet of frames for a video sequence, one set of lines for a series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from framecast.figures.base import difference, picture
from framecast.report.stage import png, points

BLANK = 0.8  #: grey of a place in a sheet that has no frame


@dataclass(frozen=True)
class Player:
    """A clip that can be played: ``context`` observed steps, then ``horizon`` forecast ones, the first ``known`` of
    which the clip goes on for."""

    context: int
    horizon: int
    known: int
    names: tuple[str, ...]  #: the systems shown

    @property
    def steps(self) -> int:
        """All time steps."""
        return self.context + self.horizon

    @property
    def opens(self) -> int:
        """The step, counted from 1, that stands first: the last one of the clip, beside which there is a truth."""
        return self.context + self.known


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


def film(names: Sequence[str], context: np.ndarray, target: np.ndarray, forecasts: Sequence[np.ndarray]) -> Film:
    """Frames (T, C, H, W) of one sequence as a sheet; during the context a forecast row repeats the truth.

    Where the target ends before the forecasts, its row and the differences are blank.
    """
    truth, known = np.concatenate([context, target]), len(context) + len(target)
    rows = [picture(truth)]
    for forecast in forecasts:
        shown = np.concatenate([context, forecast])
        rows += [picture(shown), difference(shown[:known], truth)]
    steps, (height, width) = len(context) + len(forecasts[0]), truth.shape[2:]
    sheet = np.full((len(rows), steps, height, width, 3), BLANK)
    for place, row in zip(sheet, rows, strict=True):
        place[: len(row)] = row
    pixels = np.rint(sheet.transpose(0, 2, 1, 3, 4) * 255).astype(np.uint8)  # (rows, H, T, W, 3)
    uri = png(pixels.reshape(len(rows) * height, steps * width, 3))
    return Film(len(context), steps - len(context), len(target), tuple(names), uri, f"{width} / {height}")


def lines(
    names: Sequence[str],
    inks: Sequence[str],
    context: np.ndarray,
    target: np.ndarray,
    forecasts: Sequence[np.ndarray],
) -> Lines:
    """The first channel of one sequence (T, C) as polylines; the target may end before the forecasts."""
    truth = np.concatenate([context, target])
    drawn = [points(forecast, len(context)) for forecast in forecasts]
    pairs = tuple(zip(drawn, inks, strict=True))
    return Lines(len(context), len(forecasts[0]), len(target), tuple(names), points(truth, 0), pairs)
