"""Training and validation loss over the steps of training, for every depth and seed (Coleman, Figures 4 and 9)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from framecast.figures.base import colour, fit_scale, label_ends, whole_steps
from framecast.results import Results, System, label

FRAMES = "any"
CAPTION = (
    "Loss on {dataset} while training: left on the training batches, right on the validation split, which also selects "
    "the checkpoint. One thin line per seed, one colour per system. Where systems are trained with different losses, "
    "whose scales have nothing to do with each other, each loss has a panel and an axis of its own: dashed training, "
    "solid validation."
)


def training_curves(results: Results, dataset: str) -> Figure:
    """Two panels with one loss axis: what is minimised, and what it is worth on sequences held out.

    Or, where there are several losses, a panel for each.
    """
    if len({system.loss for system in results.systems(dataset)}) > 1:
        return _by_loss(results, dataset)
    figure = Figure(figsize=(7.6, 3.3), layout="constrained")
    panels = dict(zip(("train", "validation"), figure.subplots(1, 2, sharey=True), strict=True))
    systems = results.systems(dataset)
    losses: list[float] = []
    ends: dict[str, tuple[str, list[float]]] = {}
    for cell in results.scored(dataset):
        if cell.system not in systems:
            continue
        ink = colour(systems, cell.system)
        for split, axes in panels.items():
            rows = cell.history[cell.history["split"] == split]
            axes.plot(rows["step"], rows["loss"], color=ink, linewidth=1.0, alpha=0.85)
            losses += rows["loss"].tolist()
        ends.setdefault(label(results, dataset, systems, cell.system), (ink, []))[1].append(
            float(rows["loss"].iloc[-1])
        )
    for split, axes in panels.items():
        axes.set(title=f"{split} loss", xlabel="training step")
        whole_steps(axes)
    panels["train"].set_ylabel("loss that is minimised")
    fit_scale(panels["train"], losses)
    label_ends(panels["validation"], [(float(np.mean(last)), name, ink) for name, (ink, last) in ends.items()])
    return figure


def _by_loss(results: Results, dataset: str) -> Figure:
    """Small multiples: losses that differ in scale never share an axis."""
    systems = results.systems(dataset)
    families = [System(*family) for family in dict.fromkeys((each.model, None, each.depth) for each in systems)]
    losses = sorted({str(system.loss) for system in systems})
    columns = 2
    rows = -(-len(losses) // columns)
    figure = Figure(figsize=(7.6, 0.8 + 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).flat
    for axes, loss in zip(panels, losses, strict=False):
        _panel(axes, results, dataset, loss, families)
    for axes in list(figure.axes)[len(losses) :]:
        axes.set_visible(False)
    told = [(_name(results, dataset, family), colour(families, family)) for family in families]
    figure.legend(
        handles=[Line2D([], [], color=ink, label=name) for name, ink in told],
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    figure.supxlabel("training step", fontsize="medium")
    figure.supylabel("loss that is minimised", fontsize="medium")
    return figure


def _panel(axes: Axes, results: Results, dataset: str, loss: str, families: list[System]) -> None:
    """Training and validation of every system with one loss."""
    losses: list[float] = []
    for cell in results.scored(dataset):
        if cell.loss != loss:
            continue
        ink = colour(families, System(cell.model, None, cell.depth))
        for split, line, width in (("train", (0, (2, 1.5)), 0.7), ("validation", "-", 1.2)):
            rows = cell.history[cell.history["split"] == split]
            axes.plot(rows["step"], rows["loss"], color=ink, linestyle=line, linewidth=width, alpha=0.85)
            losses += rows["loss"].tolist()
    axes.set_title(loss)
    whole_steps(axes)
    fit_scale(axes, losses)


def _name(results: Results, dataset: str, family: System) -> str:
    """A model, with its depth where that is no matter of course, and its flaw."""
    systems = results.systems(dataset)
    several = len({system.depth for system in systems if system.model == family.model}) > 1
    name = f"{family.model} depth {family.depth}" if several else family.model
    member = next(system for system in systems if (system.model, system.depth) == (family.model, family.depth))
    return f"{name} (leaky)" if results.is_leaky(dataset, member) else name
