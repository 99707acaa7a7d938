"""What each component does to each compared metric: paired differences with intervals (Kartal, draft slides, 8)."""

from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from framecast.figures.base import INK, MUTED, PALE, not_measured
from framecast.figures.shared import components
from framecast.results import Results

FRAMES = "any"
CAPTION = (
    "What a change does on {dataset}: the system after it minus the one before it, paired over the test sequences, "
    "with the 95 % interval. Blue: better, orange: worse, grey: no difference, the interval includes zero. Filled: the "
    "leading mode, open: another one. Of twenty changes without any effect, one is expected to look like one. With a "
    "teacher, the gain of a leaky system is its leak."
)
INKS = {"better": "#0072b2", "worse": "#d55e00", "no difference": MUTED}
ROW, HEAD, FOOT = 0.235, 0.6, 0.4  #: inches


def component_impact(results: Results, dataset: str) -> Figure:
    """A forest plot: a row for each change, a panel for each metric, one zero line in each."""
    changes = components.changes(results, dataset) if len(results.systems(dataset)) > 1 else []
    if not changes:
        return not_measured(f"No two systems of {dataset} differ in one component.")
    metrics, modes = components.metrics(results, dataset), results.modes(dataset)
    rows = _rows(changes)
    figure = Figure(figsize=(7.6, HEAD + FOOT + ROW * len(rows)))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    bottom, top = FOOT / figure.get_figheight(), 1 - HEAD / figure.get_figheight()
    figure.subplots_adjust(left=0.315, right=0.985, bottom=bottom, top=top, wspace=0.12)
    for metric, axes in zip(metrics, panels, strict=True):
        for height, row in enumerate(rows):
            if isinstance(row, components.Change):
                _draw_change(axes, results, dataset, row, metric, modes, height)
        _finish(axes, metric, rows)
    panels[0].set_yticks(range(len(rows)), [_text(results, dataset, row) for row in rows], fontsize=6.5)
    for tick, row in zip(panels[0].get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if isinstance(row, str) else "normal")
    _legend(figure, modes)
    return figure


def _rows(changes: list[components.Change]) -> list[components.Change | str]:
    """The changes, each group under its name."""
    rows: list[components.Change | str] = []
    for group, members in groupby(changes, key=lambda change: change.group):
        rows += [group, *members]
    return rows


def _text(results: Results, dataset: str, row: components.Change | str) -> str:
    if isinstance(row, str):
        return row
    return row.name + (" (leaky)" if results.is_leaky(dataset, row.after) else "")


def _draw_change(
    axes: Axes,
    results: Results,
    dataset: str,
    change: components.Change,
    metric: str,
    modes: tuple[str, ...],
    height: int,
) -> None:
    """One row: a point and its interval for each mode, the leading one on top."""
    for index, mode in enumerate(modes):
        effect = components.effect(results, dataset, change, metric, mode)
        if effect is None:
            continue
        ink, at = INKS[effect.verdict], height + (index - (len(modes) - 1) / 2) * 0.36
        axes.plot([effect.low, effect.high], [at, at], color=ink, linewidth=1.1)
        fill = ink if index == 0 else "white"
        axes.plot(effect.difference, at, "o", color=ink, markerfacecolor=fill, markersize=3.2, markeredgewidth=0.9)


def _finish(axes: Axes, metric: str, rows: list[components.Change | str]) -> None:
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_title(metric, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.margins(x=0.08)
    axes.tick_params(axis="x", labelsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    for height, row in enumerate(rows):
        if isinstance(row, str):
            axes.axhline(height - 0.5, color=PALE, linewidth=0.6)


def _legend(figure: Figure, modes: tuple[str, ...]) -> None:
    told = [Line2D([], [], color=ink, marker="o", markersize=3.5, label=verdict) for verdict, ink in INKS.items()]
    if len(modes) > 1:
        fills = [INK, *["white"] * (len(modes) - 1)]
        told += [
            Line2D([], [], color=INK, marker="o", markersize=3.5, markerfacecolor=fill, linestyle="", label=mode)
            for fill, mode in zip(fills, modes, strict=True)
        ]
    figure.legend(handles=told, loc="upper left", ncols=len(told), frameon=False, fontsize=7, handlelength=1.6)
