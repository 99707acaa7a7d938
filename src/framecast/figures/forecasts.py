"""Forecasts over the truth for four test sequences, a row for each depth (Coleman, Figures 6 to 8)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast.figures.base import INK, MUTED, colour
from framecast.results import CellFiles, Results, label

FRAMES = "series"
CAPTION = (
    "The first test sequences of {dataset}, a column for each; a row for each depth. Dark: observed points and truth. "
    "Colour: forecasts, one line per seed. The upright line is where forecasting begins; a dotted "
    "one, the last step that a system was trained on, where it is asked for more."
)
SEQUENCES = 4


def forecasts(results: Results, dataset: str) -> Figure:
    """Small multiples: depth down, test sequence across."""
    systems = results.systems(dataset)
    shown = min([SEQUENCES, *(len(cell.clips["target"]) for cell in results.scored(dataset))])
    figure = Figure(figsize=(7.6, 0.7 + 1.45 * max(1, len(systems))), layout="constrained")
    grid = figure.subplots(max(1, len(systems)), shown, sharex=True, sharey=True, squeeze=False)
    for system, row in zip(systems, grid, strict=False):
        cells, trained = results.scored(dataset, system), results.trained_steps(dataset, system)
        for sequence, axes in enumerate(row):
            _draw(axes, cells, sequence, colour(systems, system), trained)
        row[0].set_ylabel(label(results, dataset, systems, system))
    for sequence, axes in enumerate(grid[0]):
        axes.set_title(f"test sequence {sequence + 1}")
    figure.supxlabel("time step", fontsize="medium")
    figure.supylabel("value, [0, 1]", fontsize="medium")
    return figure


def _draw(axes: Axes, cells: list[CellFiles], sequence: int, ink: str, trained: int | None) -> None:
    """One sequence: truth through context and target, and each seed's forecast."""
    context, target = cells[0].clips["context"][sequence], cells[0].clips["target"][sequence]  # (T, C), (K, C)
    steps = np.arange(1, len(context) + len(target) + 1)
    axes.axvline(len(context) + 0.5, color=MUTED, linewidth=0.8)
    if trained is not None:
        axes.axvline(len(context) + trained + 0.5, color=MUTED, linewidth=0.8, linestyle=":")
    axes.plot(steps, np.concatenate([context, target]), color=INK, linewidth=1.3)
    for cell in cells:
        axes.plot(steps[len(context) :], cell.clips["forecast"][sequence], color=ink, linewidth=1.2, alpha=0.8)
    axes.set_ylim(-0.05, 1.05)
