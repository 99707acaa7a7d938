"""Where a system that attends to the frames it has read looks: at which of them, for each of its forecasts."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast.figures.base import INK, MUTED, PALETTE, not_measured, picture, whole_steps
from framecast.results import CellFiles, Results, System

FRAMES = "video"
CAPTION = (
    "How much each forecast on {dataset} weighs each frame that was read, in the free run of a trained system; the "
    "weights of a forecast sum to 1. Left: the first test sequence, each frame above its column. Rows are forecasts, "
    "from black, weight 0, to pale yellow, the number at the corner of the panel. Right: the mean over forecasts for "
    "each frame read, over the first test sequences, 32 at most (line: mean, band: ± one standard deviation), against "
    "equal weights (dotted). Beside the name: how many frames share the attention, the mean of exp(−Σ w ln w), which "
    "is 1 where one frame has it all. Each system shows its first seed."
)
STORED = "inside/look-back/"
WAYS = {"standard": "standard attention", "reinforced": "reinforced features"}
WIDTH, LABELS, MAPS, GAP, MARGIN = 7.6, 2.05, 3.1, 0.85, 0.12  #: inches, from the left to the right
HEAD, ROW, SPACE, FOOT = 0.56, 1.15, 0.24, 0.26  #: inches: above the frames, of a panel, between panels, below them


def looks(cell: CellFiles) -> dict[str, np.ndarray]:
    """The weights (n, K, T) of a cell by the name of what attends; empty where nothing does."""
    stored = {name: weights for name, weights in cell.inside.items() if name.startswith(STORED)}
    return {name: stored[STORED + name] for name in WAYS if STORED + name in stored}


def frames_in_sight(weights: np.ndarray) -> float:
    """exp(−Σ_t w_t ln w_t), the mean over everything but t: from 1 to T frames.

    >>> frames_in_sight(np.full((2, 3, 4), 0.25))
    4.0
    """
    entropy = -np.where(weights > 0, weights * np.log(np.maximum(weights, 1e-30)), 0).sum(-1)
    return float(np.exp(entropy).mean())


def attention_over_time(results: Results, dataset: str) -> Figure:
    """A panel for each system and each of its ways to look back."""
    cells = [results.scored(dataset, system)[0] for system in results.systems(dataset)]
    panels = [(cell, name, weights) for cell in cells for name, weights in looks(cell).items()]
    if not panels:
        return not_measured(f"No system of {dataset} looks back at what it has read.")
    steps = panels[0][2].shape[-1]
    side = MAPS / steps
    whole = np.concatenate([panels[0][0].clips["context"][0], panels[0][0].clips["target"][0]])
    frames = picture(whole[:steps])
    above = HEAD + side * frames.shape[1] / frames.shape[2]
    height = above + len(panels) * (ROW + SPACE) + FOOT
    figure = Figure(figsize=(WIDTH, height))

    def axes(left: float, top: float, width: float, tall: float) -> Axes:
        return figure.add_axes((left / WIDTH, 1 - (top + tall) / height, width / WIDTH, tall / height))

    figure.text(LABELS / WIDTH, 1 - 0.2 / height, "frames read", fontweight="bold")
    figure.text((LABELS + MAPS + GAP) / WIDTH, 1 - 0.2 / height, "mean over forecasts", fontweight="bold")
    for step, frame in enumerate(frames):
        _frame(axes(LABELS + step * side + 0.01, HEAD - 0.06, side - 0.02, above - HEAD), frame, step + 1)
    for index, (cell, name, weights) in enumerate(panels):
        top = above + index * (ROW + SPACE)
        last = index == len(panels) - 1
        _told(figure, 1 - (top + ROW / 2) / height, cell.system, cell.seed, WAYS[name], weights)
        _map(axes(LABELS, top, MAPS, ROW), weights[0], last)
        _curve(axes(LABELS + MAPS + GAP, top, WIDTH - LABELS - MAPS - GAP - MARGIN, ROW), weights, last)
    return figure


def _frame(axes: Axes, frame: np.ndarray, number: int) -> None:
    axes.imshow(np.rint(frame * 255).astype(np.uint8), interpolation="none", aspect="auto")
    axes.set_axis_off()
    axes.set_title(str(number), fontsize=8, fontweight="normal", loc="center", pad=2)


def _told(figure: Figure, middle: float, system: System, seed: int | None, way: str, weights: np.ndarray) -> None:
    """Who looks, how, and at how many frames."""
    right, line = (LABELS - 0.42) / WIDTH, 0.16 / figure.get_figheight()
    lines = (
        (f"{system.model}", INK, "bold"),
        (f"{way}", INK, "normal"),
        (f"{system.loss}, depth {system.depth}, seed {seed}", MUTED, "normal"),
        (f"{frames_in_sight(weights):.2f} of {weights.shape[-1]} frames", INK, "normal"),
    )
    for number, (text, ink, weight) in enumerate(lines):
        at = middle + (1.5 - number) * line
        figure.text(right, at, text, ha="right", va="center", fontsize=7.5, color=ink, fontweight=weight)


def _map(axes: Axes, weights: np.ndarray, last: bool) -> None:
    """One sequence, (K, T): forecasts downwards, frames read to the right."""
    horizon = len(weights)
    axes.imshow(weights, cmap="inferno", vmin=0, vmax=weights.max(), aspect="auto", interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([0, horizon - 1], ["1", str(horizon)], fontsize=7)
    axes.set_ylabel("forecast", fontsize=7, labelpad=1)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.text(1.015, 1, f"{weights.max():.2g}", transform=axes.transAxes, fontsize=7, va="top", color=MUTED)
    if last:
        axes.set_xlabel("frame read", fontsize=8)


def _curve(axes: Axes, weights: np.ndarray, last: bool) -> None:
    """Mean and spread over sequences of the weight that each frame has, all forecasts together; dotted: 1/T."""
    each = weights.mean(1)  # (n, T)
    steps = np.arange(1, each.shape[1] + 1)
    mean, spread = each.mean(0), each.std(0)
    axes.fill_between(steps, mean - spread, mean + spread, color=PALETTE[0], alpha=0.2, linewidth=0)
    axes.plot(steps, mean, color=PALETTE[0], marker=".", markersize=4)
    axes.axhline(1 / len(steps), color=INK, linestyle=":", linewidth=1.1)
    axes.set_ylim(0, max(1.1 * float((mean + spread).max()), 1.5 / len(steps)))
    axes.tick_params(labelsize=7, length=2)
    axes.set_xlim(0.5, len(steps) + 0.5)
    whole_steps(axes)
    if last:
        axes.set_xlabel("frame read", fontsize=8)
