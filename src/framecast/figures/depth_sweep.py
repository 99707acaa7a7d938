"""Does depth help? The score at each depth beside baselines, floor and literature (Coleman, Tables 1 and 2)."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast import published
from framecast.figures.base import INK, MUTED, PALE, PALETTE, draw_floor, fit_scale, label_ends, reference_name
from framecast.results import Results, System
from framecast.study import catalogue

FRAMES = "any"
CAPTION = (
    "Overall test error on {dataset} against depth: left close up, right beside what else is known. Small dots: single "
    "seeds; large dots: their mean, bars ± one standard deviation. Dashed: baselines. Dotted: the floor. "
    "Open squares: published values as corrected from the author's stored results; crosses: as printed; both pale "
    "where they are not comparable with ours."
)

Label = tuple[float, str, str]


def depth_sweep(results: Results, dataset: str) -> Figure:
    """Score over depth, one colour per model and loss; the spread of seeds needs an axis of its own."""
    metric = results.primary_metric(dataset)
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    close, wide = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _families(close, results, dataset, metric)
    labels, values = _families(wide, results, dataset, metric)
    values += _literature(wide, results, dataset, metric)
    for baseline in results.baselines(dataset):
        value = float(results.values(dataset, baseline, metric).mean())
        wide.axhline(value, color=MUTED, linestyle=(0, (4, 2)), linewidth=1.1)
        labels.append((value, reference_name(results, dataset, metric, baseline), MUTED))
        values.append(value)
    fit_scale(wide, values)
    labels += draw_floor(wide, results, dataset, metric)
    for axes in (close, wide):
        axes.set_xticks(sorted({system.depth for system in results.systems(dataset) if system.depth}))
        axes.set(xlabel="depth (recurrent layers a side)", xmargin=0.2)
        axes.grid(axis="x", visible=False)
    close.set(title="seeds and spread", ylabel=catalogue.metric_fact(metric, "unit"), ymargin=0.25)
    wide.set_title("beside baselines and literature")
    label_ends(wide, labels)
    return figure


def _families(axes: Axes, results: Results, dataset: str, metric: str) -> tuple[list[Label], list[float]]:
    """Each model and loss over its depths; the labels at its last depth, and every value drawn."""
    systems = results.systems(dataset)
    families = sorted({(system.model, system.loss or "") for system in systems})
    labels, values = [], []
    for index, family in enumerate(families):
        ink = PALETTE[index % len(PALETTE)]
        members = [system for system in systems if (system.model, system.loss) == family]
        drawn = _family(axes, results, dataset, metric, members, ink)
        labels.append((drawn[-1], family[0] if len(families) == 1 else " ".join(family), ink))
        values += drawn
    return labels, values


def _family(axes: Axes, results: Results, dataset: str, metric: str, members: list[System], ink: str) -> list[float]:
    """Seeds, mean and bar at each depth; returns the values drawn, the mean at the last depth last."""
    depths, means, bars = [], [], []
    seeds: list[float] = []
    for system in members:
        values = results.values(dataset, system, metric)
        depth = system.depth or 0
        axes.plot([depth] * len(values), values, ".", color=ink, alpha=0.45, markersize=6)
        seeds += values.tolist()
        depths.append(depth)
        means.append(float(values.mean()))
        bars.append(float(values.std(ddof=1)) if len(values) > 1 else 0.0)
    axes.errorbar(depths, means, yerr=bars, color=ink, marker="o", markersize=6, capsize=3, linewidth=1.2)
    return [*seeds, *means]


def _literature(axes: Axes, results: Results, dataset: str, metric: str) -> list[float]:
    """Published values under the same metric, a little to the right of our depths."""
    drawn: list[float] = []
    for system in results.systems(dataset):
        found = results.literature(dataset, system, metric)
        if found is None or system.depth is None:
            continue
        table, value = found
        comparable = not published.obstacles(table, results.scored(dataset, system)[0].score)
        inks = (INK, MUTED) if comparable else (PALE, PALE)
        axes.plot(system.depth + 0.14, value.corrected, "s", color=inks[0], markerfacecolor="none", markersize=5)
        axes.plot(system.depth + 0.14, value.printed, "x", color=inks[1], markersize=5)
        drawn += [value.corrected, value.printed]
    return drawn
