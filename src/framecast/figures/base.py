"""How figures are drawn.

A figure is a module with one public function ``name(results, dataset) -> Figure``. It sees tables and stored clips
(``framecast.results``), never a network. ``FRAMES`` says which datasets it suits, and ``CAPTION`` what it shows
({dataset} stands for the name). Which figure or table of a source it answers stands with the source (``published``).
What several figures share beyond this module lives in ``shared/``.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from framecast import published
from framecast.results import Results, System
from framecast.study import catalogue

# Okabe and Ito's colours, in the order in which they stay apart for colour-blind readers and in print.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8a6d3b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, MUTED, PALE, FAINT = "#1c1f24", "#6b7280", "#aab1bd", "#d5d9e0"
PNG_DPI = 150
METADATA: dict[str, Any] = {"svg": {"Date": None, "Creator": "framecast"}, "png": {"Software": None}}
LOG_RANGE = 20  #: values further apart than this factor are drawn on a logarithmic axis

STYLE: Any = {
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so text has the same size on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "svg.fonttype": "path",  # outlines: a viewer without the font would set the labels elsewhere
    "svg.hashsalt": "framecast",  # element ids from content instead of from a random number
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in our style over matplotlib's own defaults, whatever a ``matplotlibrc`` or this process has set."""
    defaults = {name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")}
    with rc_context({**defaults, **STYLE}):
        yield


def svg(name: str, results: Results, dataset: str) -> bytes:
    """Draw figure ``name`` of a dataset: SVG whose bytes depend on the results alone.

    A dataset without a single score gives a figure that says so.
    """
    return drawn(name, results, dataset, "svg")


def drawn(name: str, results: Results, dataset: str, file_format: str) -> bytes:
    """The same as ``svg`` or ``png``; neither holds a date or a version."""
    with style():
        draw = catalogue.load("figures", name) if results.scored(dataset) else _not_run
        buffer = io.BytesIO()
        draw(results, dataset).savefig(buffer, format=file_format, dpi=PNG_DPI, metadata=METADATA[file_format])
    return buffer.getvalue()


def caption(name: str, dataset: str) -> str:
    """A few sentences under a figure, with what it answers in the literature where there is such a thing."""
    text = catalogue.constant(f"figures.{name}", "CAPTION").format(dataset=dataset)
    answers = published.answered(name).get(dataset)
    return f"{text} Counterpart: {answers}." if answers else text


def caption_rst(name: str) -> str:
    """The same caption as a Snakemake report template, for all datasets at once."""
    text = catalogue.constant(f"figures.{name}", "CAPTION").format(dataset="this dataset")
    answers = published.answered(name)
    listed = [
        f"{answer} ({', '.join(dataset for dataset in answers if answers[dataset] == answer)})"
        for answer in dict.fromkeys(answers.values())
    ]
    return f"{text} Counterpart: {'; '.join(listed)}.\n" if listed else f"{text}\n"


def _not_run(results: Results, dataset: str) -> Figure:
    return not_measured(f"No cell of {dataset} has been run.")


def not_measured(why: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(7.2, 1.2))
    figure.text(0.5, 0.5, why, ha="center", va="center", color=MUTED)
    return figure


def colour(systems: Sequence[System], system: System) -> str:
    """The colour of a system among those of its figure."""
    return PALETTE[systems.index(system) % len(PALETTE)]


def marker(systems: Sequence[System], system: System) -> str:
    """The marker of a system among those of its figure: what colour says, once more for those who do not see it."""
    return MARKERS[systems.index(system) % len(MARKERS)]


def reference_name(results: Results, dataset: str, metric: str, baseline: System) -> str:
    """A baseline's name, marked where it is the floor."""
    known = results.best_reachable(dataset, metric)
    return f"{baseline.model} (floor)" if known and known.baseline == baseline.model else baseline.model


def draw_floor(axes: Axes, results: Results, dataset: str, metric: str) -> list[tuple[float, str, str]]:
    """A dotted line at the floor where that is a number; its label. Call after ``fit_scale``.

    A floor that a baseline attains is that baseline's line.
    """
    known = results.best_reachable(dataset, metric)
    if known is None or known.value is None:
        return []
    bottom = axes.get_ylim()[0]
    if known.value < bottom:  # zero lies below every logarithmic axis
        return [(bottom, f"floor: {known.value:g} ↓", INK)]
    axes.axhline(known.value, color=INK, linestyle=":", linewidth=1.2)
    return [(known.value, f"floor: {known.value:g}", INK)]


def whole_steps(axes: Axes) -> None:
    """Ticks of the x axis at whole steps only."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def fit_scale(axes: Axes, values: Iterable[float]) -> None:
    """Choose a logarithmic y axis when the values span orders of magnitude, else a linear one from zero."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > LOG_RANGE * min(positive):
        axes.set_yscale("log")
        axes.set_ylim(min(positive) / 1.6, max(positive) * 1.6)
    elif positive:
        axes.set_ylim(0, max(positive) * 1.08)


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]], gap: float = 0.062) -> None:
    """Name curves at the right edge: (y in data units, text, colour), moved apart to ``gap`` of the axis height.

    Call it last: it reads the limits of the y axis.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = sorted((float(np.clip(to_axes.transform((1, y))[1], 0, 1)), text, ink) for y, text, ink in labels)
    heights = _apart([height for height, _, _ in wanted], gap)
    for (anchor, text, ink), height in zip(wanted, heights, strict=True):
        axes.annotate(
            text,
            xy=(1.0, anchor),
            xytext=(1.04, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=ink,
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 0},
        )


def _apart(heights: list[float], gap: float) -> list[float]:
    """Sorted heights, each at least ``gap`` above the one before, moved as little as possible and as a block."""
    blocks: list[list[float]] = []  # [sum of wanted bottoms, members]
    for index, height in enumerate(heights):
        blocks.append([height - index * gap, 1])
        # Pool adjacent violators: neighbours that would overlap share the mean of what each wanted.
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, members = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += members
    bottoms = [total / members for total, members in blocks for _ in range(int(members))]
    return [bottom + index * gap for index, bottom in enumerate(bottoms)]


def picture(frames: np.ndarray) -> np.ndarray:
    """(T, C, H, W) with one or three channels → (T, H, W, 3)."""
    return np.broadcast_to(np.moveaxis(frames, 1, -1), (len(frames), *frames.shape[2:], 3)).clip(0, 1)


def difference(forecast: np.ndarray, target: np.ndarray) -> np.ndarray:
    """|forecast − target|, mean over channels, as colours: (T, C, H, W) → (T, H, W, 3)."""
    return colormaps["inferno"](np.abs(forecast - target).mean(axis=1))[..., :3]
