"""How sharp a forecast still is at each step, beside the truth, which is 1: blur is what the losses are for."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast.figures.base import INK, label_ends, not_measured, whole_steps
from framecast.figures.shared.choice import Panel, panels
from framecast.figures.shared.curves import Curves, Label
from framecast.results import Results
from framecast.study import catalogue

FRAMES = "video"
CAPTION = (
    "Gradient energy of the forecast over that of the truth on {dataset}, a column for each mode: 1 is as sharp as the "
    "truth, below is blur, above are wrong edges or noise. Sharp is not right: a copied frame is sharp, and a leaky "
    "system with a teacher is sharp where it copies. Mean over seeds. Dashed: baselines. An upright line: the last "
    "step that a system was trained on, where it is asked for more; beyond it its curve has no markers."
)
METRIC = "sharpness"


def sharpness_vs_horizon(results: Results, dataset: str) -> Figure:
    """A row of panels for losses and for models where both are many; a column for each mode."""
    if METRIC not in set(results.scores.loc[results.scores["dataset"] == dataset, "metric"]):
        return not_measured(f"Sharpness is not measured on {dataset}.")
    rows, modes = panels(results, dataset), results.modes(dataset)
    figure = Figure(figsize=(7.6, 3.2 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(modes), sharey=True, sharex="col", squeeze=False)
    for panel, line in zip(rows, grid, strict=True):
        for mode, axes in zip(modes, line, strict=True):
            labels = _draw(axes, results, dataset, panel, mode)
            axes.set_title(mode if len(modes) > 1 else "")
        line[0].set_ylabel("\n".join(filter(None, [panel.title, catalogue.metric_fact(METRIC, "unit")])))
        label_ends(line[-1], labels, gap=0.075)
    for axes in grid[-1]:
        axes.set_xlabel("forecast step")
    return figure


def _draw(axes: Axes, results: Results, dataset: str, panel: Panel, mode: str) -> list[Label]:
    """The curves of one panel in one mode, and their labels."""
    axes.axhline(1, color=INK, linestyle=":", linewidth=1.2)
    curves = Curves(axes, results, dataset, METRIC, mode)
    labels = [(1.0, "truth", INK), *curves.baselines(), *curves.systems(panel.systems)]
    curves.training_ends(panel.systems)
    whole_steps(axes)
    axes.set_ylim(bottom=0)
    return labels
