"""Where the published score comes from: quality at each output with a teacher, leaky and honest."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast.figures.base import FAINT, PALE, colour, label_ends, not_measured, whole_steps
from framecast.figures.shared import leak as shared
from framecast.figures.shared.choice import featured
from framecast.figures.shared.curves import Curves
from framecast.results import TEACHER_FORCED, Results, System
from framecast.study import catalogue

FRAMES = "video"
CAPTION = (
    "Quality on {dataset} with a teacher: every input is a true frame. Output i forecasts frame i + 1. A leaky system "
    "sees its target at every output but the last, which has no later input: there it falls to what it can forecast, "
    "the number saying by how much. Colour: leaky systems, their honest twins and the system as it should be; mean "
    "over seeds, the band is ± one standard deviation. Pale: the other honest systems. Dashed: baselines."
)


def leak(results: Results, dataset: str) -> Figure:
    """One curve per system over the outputs 0 … K−1; the last one stands apart."""
    if not shared.is_measured(results, dataset):
        return not_measured(f"{dataset} is not scored with a teacher.")
    metric = shared.metrics(results, dataset)[0]
    systems, told = results.systems(dataset), _told(results, dataset, metric)
    last = results.lengths(dataset, TEACHER_FORCED)[1] - 1
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    curves = Curves(axes, results, dataset, metric, TEACHER_FORCED, first=0)
    for system in systems:
        if system not in told:
            curves.mean(system, color=PALE, linewidth=0.8, zorder=1)
    labels = [*curves.baselines(), *curves.systems(told, among=systems)]
    for system in told:
        curves.band(system, colour(told, system))
    _mark_last(axes, last)
    for finding in shared.findings(results, dataset, metric)[:1]:
        _mark_fall(axes, finding, last, colour(told, finding.leaky.system))
    axes.set(xlabel="output i, the forecast of frame i + 1", ylabel=catalogue.metric_fact(metric, "unit"))
    axes.set_xlim(-0.4, last + 0.5)
    whole_steps(axes)
    label_ends(axes, labels)
    return figure


def _told(results: Results, dataset: str, metric: str) -> list[System]:
    """Leaky systems, each followed by its twin, then the reference model."""
    found = shared.findings(results, dataset, metric)
    pairs = [levels.system for finding in found for levels in (finding.leaky, finding.twin) if levels]
    return list(dict.fromkeys([*pairs, *featured(results, dataset, at_most=1)]))


def _mark_last(axes: Axes, last: int) -> None:
    """A grey field behind the only output that no system can have looked up."""
    axes.axvspan(last - 0.5, last + 0.5, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
    text = f"output {last}: no later input, nothing to look up"
    axes.text(1, 1.01, text, ha="right", va="bottom", fontsize=8, transform=axes.transAxes)


def _mark_fall(axes: Axes, finding: shared.Finding, last: int, ink: str) -> None:
    """How far the first leaky system falls, beside its cliff."""
    fall = finding.leaky.fall
    middle = (finding.leaky.seen.mean + finding.leaky.last.mean) / 2
    spread = "" if fall.sd is None else f" ± {fall.sd:.2f}"
    axes.text(last - 0.7, middle, f"{-fall.mean:+.2f}{spread}".replace("-", "−"), color=ink, ha="right", va="center")
