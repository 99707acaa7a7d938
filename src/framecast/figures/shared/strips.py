"""Frames of a sequence side by side: a row of a picture of forecasts, and the blocks of rows that it is made of."""

import textwrap
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast.figures.base import INK, MUTED

GUTTER = 1 / 16  #: white space between frames, as a fraction of their width
DIFFERENCE = "|difference|"
LIMIT = "#d55e00"  #: the line at which training ended
LINE = 20  #: letters of a long label side by side
WIDTH, LABELS, LONG = 7.6, 0.95, 1.55  #: inches: the whole figure, and in it the column of short or long row labels
TITLE, NUMBERS, SPACE = 0.32, 0.16, 0.05  #: inches: above a block, below a numbered strip, below every strip


class Strip(NamedTuple):
    """One row: frames (T, H, W, 3); ``first`` is the number of the first time step, 0 leaves the frames bare.

    Behind so many frames as ``trained`` says the system is asked for more than it was trained on.
    """

    label: str
    frames: np.ndarray
    first: int = 0
    trained: int | None = None

    @property
    def is_long(self) -> bool:
        """Whether its label needs a wider column, and breaks at its spaces."""
        return len(self.label) > len(DIFFERENCE)


class Block(NamedTuple):
    """Rows that belong together, and what stands above them."""

    title: str
    strips: list[Strip]


def stacked(blocks: list[Block]) -> Figure:
    """Lay the strips out from the top down, all frames of one size."""
    strips = [strip for block in blocks for strip in block.strips]
    columns = max(len(strip.frames) for strip in strips)
    labels = LONG if any(strip.is_long for strip in strips) else LABELS
    _, height, width, _ = strips[0].frames.shape
    row = (WIDTH - labels) / columns / (1 + GUTTER) * height / width  # inches
    total = len(blocks) * TITLE + sum(row + _below(strip) for strip in strips)
    figure = Figure(figsize=(WIDTH, total))
    top = total
    for title, rows in blocks:
        figure.text(0.01, (top - 0.18) / total, title, fontweight="bold")
        top -= TITLE
        for strip in rows:
            box = (labels / WIDTH, (top - row) / total, 1 - labels / WIDTH, row / total)
            draw_strip(figure.add_axes(box), strip, columns)
            top -= row + _below(strip)
    return figure


def _below(strip: Strip) -> float:
    """Inches below a strip."""
    return SPACE + NUMBERS * bool(strip.first)


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
    if strip.trained is not None:
        axes.axvline(strip.trained * (width + gutter) - gutter / 2 - 0.5, color=LIMIT, linewidth=1.6)
    centres = [step * (width + gutter) + width / 2 for step in range(steps)] if strip.first else []
    axes.set_xticks(centres, [str(strip.first + step) for step in range(len(centres))], fontsize=7)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=1)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
