"""Error at each forecast step, beside baselines, floor and literature (Coleman, Figures 5 and 10)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast import published
from framecast.figures.base import (
    INK,
    MUTED,
    PALE,
    colour,
    draw_floor,
    fit_scale,
    label_ends,
    reference_name,
    whole_steps,
)
from framecast.figures.shared.choice import panels
from framecast.figures.shared.curves import Curves, Label
from framecast.results import Results, System, label
from framecast.study import catalogue

FRAMES = "any"
CAPTION = (
    "Error on the test split of {dataset} at each forecast step, in the leading mode. Solid with markers: mean over "
    "seeds, the band is ± one standard deviation (times or divided by 1 + sd / mean where the axis is logarithmic). "
    "Dashed: baselines. Dotted: the floor, where it is known. Black or, where it is not comparable, pale diamonds: "
    "what the source gives of the published curve at depth 1. An upright line: the last step that a system was trained "
    "on, where it is asked for more; beyond it its curve has no markers."
)


def error_vs_horizon(results: Results, dataset: str) -> Figure:
    """One curve per system over the steps 1…K of the forecast; where they are many, losses and models apart."""
    rows = panels(results, dataset)
    figure = Figure(figsize=(7.6, 4.2 if len(rows) == 1 else 3.6 * len(rows)), layout="constrained")
    for panel, axes in zip(rows, figure.subplots(len(rows), 1, squeeze=False)[:, 0], strict=True):
        _panel(axes, results, dataset, panel.systems)
        axes.set_title(panel.title)
    return figure


def _panel(axes: Axes, results: Results, dataset: str, systems: Sequence[System]) -> None:
    metric = results.primary_metric(dataset)
    labels = _literature(axes, results, dataset, metric, systems)
    curves = Curves(axes, results, dataset, metric)
    named = {one.model: reference_name(results, dataset, metric, one) for one in results.baselines(dataset)}
    labels += [*curves.baselines(**named), *curves.systems(systems)]
    fit_scale(axes, np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines]).tolist())
    for system in systems:
        curves.band(system, colour(systems, system))
    curves.training_ends(systems)
    labels += draw_floor(axes, results, dataset, metric)
    axes.set(xlabel="forecast step", ylabel=catalogue.metric_fact(metric, "unit"))
    whole_steps(axes)
    label_ends(axes, labels, gap=0.062 if len(axes.figure.axes) == 1 else 0.072)


def _literature(axes: Axes, results: Results, dataset: str, metric: str, systems: Sequence[System]) -> list[Label]:
    """Published curves of the systems drawn; where the verdict could only be "not comparable", the label says so."""
    labels = []
    for system in systems:
        found = results.literature(dataset, system, metric)
        score = results.scored(dataset, system)[0].score
        if found is None or not found[1].curve or found[0].horizon != score["horizon"]:
            continue
        comparable = not published.obstacles(found[0], score)
        steps, values = zip(*sorted(found[1].curve.items()), strict=True)
        # A line only where every step is published: between two known ends it would be our invention.
        line = "-" if len(steps) == steps[-1] else ""
        ink = INK if comparable else PALE
        axes.plot(steps, values, color=ink, linestyle=line, marker="D", markersize=3, linewidth=1.2, zorder=1)
        name = f"published, {label(results, dataset, systems, system)}"
        labels.append((values[-1], name if comparable else "published, not comparable", ink if comparable else MUTED))
    return labels
