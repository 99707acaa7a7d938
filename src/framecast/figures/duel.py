"""Truth, what was published, and ours at a few outputs, with a teacher and running freely (Kartal, draft slides, 9)."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast.figures.base import INK, MUTED, not_measured, picture
from framecast.figures.shared import leak as shared
from framecast.figures.shared.choice import featured
from framecast.results import TEACHER_FORCED, Results, System, label

FRAMES = "video"
CAPTION = (
    "The first test sequence of {dataset} at five outputs (output i forecasts frame i + 1), with a teacher and running "
    "freely. Above: truth; then the replications of published systems, then ours, the first seed of each, with the "
    "PSNR of this very frame in dB. A leaky system has its target before it at every teacher-forced output but the "
    "last: compare that one, or run freely. Observed frames are not forecast."
)
SHOWN = (0.0, 0.28, 0.56, 0.84, 1.0)  #: of the last output: 0, 5, 10, 15 and 18 of 0..18
WIDTH, LABELS, GAP = 7.6, 1.55, 0.2  #: inches: figure, row labels, between the modes
TITLE, NUMBERS, SPACE = 0.5, 0.22, 0.06  #: inches: above the pictures, below each for its number, between rows
CAP = 100.0  #: dB of a frame without any error


class _Block(NamedTuple):
    """A mode: the first output it forecasts, truth and forecasts from there on, (K, C, H, W)."""

    mode: str
    first: int
    target: np.ndarray
    forecasts: list[np.ndarray]


def duel(results: Results, dataset: str) -> Figure:
    """A row for truth and for each system, a block of columns for each mode."""
    if not shared.is_measured(results, dataset):
        return not_measured(f"{dataset} is not scored with a teacher.")
    systems = _duellists(results, dataset)
    names = [label(results, dataset, systems, system) for system in systems]
    blocks = [_block(results, dataset, systems, mode) for mode in sorted(results.modes(dataset), reverse=True)]
    last = len(blocks[0].target) - 1
    return _draw(blocks, names, [round(part * last) for part in SHOWN])


def _duellists(results: Results, dataset: str) -> list[System]:
    """Replications first, then the system that is ours, then the honest twins."""
    chosen = featured(results, dataset)
    published = [system for system in chosen if results.is_leaky(dataset, system)]
    twins = [found[0] for system in published if (found := shared.twin(results, dataset, system))]
    return list(dict.fromkeys([*published, *twins, chosen[0]]))


def _block(results: Results, dataset: str, systems: list[System], mode: str) -> _Block:
    cells = [results.scored(dataset, system)[0] for system in systems]
    forecasts = [cell.forecast_in(mode)[0][0] for cell in cells]
    first = results.lengths(dataset, mode)[0] - results.lengths(dataset, TEACHER_FORCED)[0]
    return _Block(mode, first, cells[0].forecast_in(mode)[1][0], forecasts)


def _draw(blocks: list[_Block], names: list[str], outputs: list[int]) -> Figure:
    side = (WIDTH - LABELS - GAP * (len(blocks) - 1)) / (len(blocks) * len(outputs)) - SPACE
    height, width = blocks[0].target.shape[2:]
    row = side * height / width + NUMBERS + SPACE
    total = TITLE + row * (1 + len(names))
    figure = Figure(figsize=(WIDTH, total))
    for number, name in enumerate(["truth", *names]):
        centre = total - TITLE - number * row - (row - NUMBERS - SPACE) / 2
        figure.text((LABELS - 0.08) / WIDTH, centre / total, _broken(name), ha="right", va="center", fontsize=8)
    for index, block in enumerate(blocks):
        left = LABELS + index * (len(outputs) * (side + SPACE) + GAP)
        figure.text(left / WIDTH, 1 - 0.16 / total, block.mode, fontweight="bold", va="center")
        for column, output in enumerate(outputs):
            at = left + column * (side + SPACE)
            figure.text((at + side / 2) / WIDTH, 1 - 0.38 / total, f"{output}", ha="center", va="center", fontsize=8)
            for number, frames in enumerate([block.target, *block.forecasts]):
                bottom = total - TITLE - number * row - side * height / width
                box = (at / WIDTH, bottom / total, side / WIDTH, side * height / width / total)
                _frame(figure.add_axes(box), block, frames, output, is_truth=number == 0)
    return figure


def _frame(axes: Axes, block: _Block, frames: np.ndarray, output: int, *, is_truth: bool) -> None:
    """One picture and what it is worth; an output that is observed in this mode stays empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    step = output - block.first
    if step < 0:
        axes.text(0.5, 0.5, "observed", ha="center", va="center", fontsize=6, color=MUTED, transform=axes.transAxes)
        return
    axes.imshow(np.rint(picture(frames[step : step + 1])[0] * 255).astype(np.uint8), interpolation="none")
    if not is_truth:
        axes.set_xlabel(f"{_psnr(frames[step], block.target[step]):.1f}", fontsize=7, labelpad=2, color=INK)


def _psnr(forecast: np.ndarray, target: np.ndarray) -> float:
    """PSNR of one stored frame in dB, peak 1."""
    error = float(np.square(forecast.clip(0, 1) - target).mean())
    return min(CAP, -10 * np.log10(error)) if error else CAP


def _broken(name: str) -> str:
    """A long name on several lines, at its spaces."""
    return name.replace(" ", "\n")
