"""Training and validation loss over the steps of training, for every depth and seed (Coleman, Figures 4 and 9)."""

import numpy as np
from matplotlib.figure import Figure

from framecast.figures.base import Results, colour, fit_scale, label, label_ends, whole_steps

FRAMES = "any"
CAPTION = (
    "Loss on {dataset} while training: left on the training batches, right on the validation split, which also selects "
    "the checkpoint. One thin line per seed, one colour per depth."
)
COUNTERPART = {
    "generated_sins": "Coleman, Figure 4",
    "generated_noise": "Coleman, Figure 4",
    "stocks": "Coleman, Figure 4",
    "moving_mnist": "Coleman, Figure 9",
}


def training_curves(results: Results, dataset: str) -> Figure:
    """Two panels with one loss axis: what is minimised, and what it is worth on sequences held out."""
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
        ends.setdefault(label(results, dataset, systems, cell.system), (ink, []))[1].append(float(rows["loss"].iloc[-1]))
    for split, axes in panels.items():
        axes.set(title=f"{split} loss", xlabel="training step")
        whole_steps(axes)
    panels["train"].set_ylabel("loss that is minimised")
    fit_scale(panels["train"], losses)
    label_ends(panels["validation"], [(float(np.mean(last)), name, ink) for name, (ink, last) in ends.items()])
    return figure
