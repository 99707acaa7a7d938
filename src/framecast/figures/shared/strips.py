"""Frames of a sequence side by side: one row of a picture of forecasts."""

import textwrap
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from framecast.figures.base import INK, MUTED

GUTTER = 1 / 16  #: white space between frames, as a fraction of their width
DIFFERENCE = "|difference|"
LINE = 20  #: letters of a long label side by side


class Strip(NamedTuple):
    """One row: frames (T, H, W, 3); ``first`` is the number of the first time step, 0 leaves the frames bare."""

    label: str
    frames: np.ndarray
    first: int = 0

    @property
    def is_long(self) -> bool:
        """Whether its label needs a wider column, and breaks at its spaces."""
        return len(self.label) > len(DIFFERENCE)


def draw_strip(axes: Axes, strip: Strip, columns: int) -> None:
    """Frames side by side on an axis that has room for ``columns`` of them."""
    steps, height, width, _ = strip.frames.shape
    gutter = max(1, round(GUTTER * width))
    padded = np.pad(strip.frames, ((0, 0), (0, 0), (0, gutter), (0, 0)), constant_values=1.0)
    row = padded.transpose(1, 0, 2, 3).reshape(height, -1, 3)
    axes.imshow(np.rint(row * 255).astype(np.uint8), interpolation="none", aspect="auto")
    axes.set_xlim(-0.5, columns * (width + gutter) - 0.5)
    ink = MUTED if strip.label == DIFFERENCE else INK
    text, size = (textwrap.fill(strip.label, LINE, break_long_words=False), 7) if strip.is_long else (strip.label, 9)
    axes.set_ylabel(text, rotation=0, ha="right", va="center", color=ink, fontsize=size)
    centres = [step * (width + gutter) + width / 2 for step in range(steps)] if strip.first else []
    axes.set_xticks(centres, [str(strip.first + step) for step in range(len(centres))], fontsize=7)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=1)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
