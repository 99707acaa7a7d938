"""How much of the gradient each term of a loss supplies while training: a weight is not yet an influence."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from framecast.figures.base import MUTED, PALETTE, label_ends, not_measured, whole_steps
from framecast.figures.shared.choice import reference
from framecast.results import CellFiles, Results

FRAMES = "any"
CAPTION = (
    "Share of each term in the gradient on {dataset}, on a logarithmic axis; thick: mean over seeds, thin: single "
    "seeds. Beside each term: its mean share over the training. Below the grey line a term supplies less than a "
    "hundredth and is as good as inert. The perceptual term compares unit vectors of 128 non-negative features, so it "
    "never exceeds 2/128 = 0.0156, and with the weight 0.1 it is at most 0.0016 beside ten times the cross-entropy."
)
INERT, LEAST = 1e-2, 1e-6  #: of the gradient: hardly felt; the smallest share that is drawn
PREFIX = "share_"


def gradient_shares(results: Results, dataset: str) -> Figure:
    """A panel for each loss of several terms; one colour per term."""
    shares = _shares(results, dataset)
    if not shares:
        return not_measured(f"No loss on {dataset} is recorded with more than one term.")
    terms = sorted({term for table in shares.values() for term in table["term"]})
    columns = min(2, len(shares))
    rows = -(-len(shares) // columns)
    figure = Figure(figsize=(7.6, 0.6 + 2.0 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
    lowest = max(LEAST, min(table["share"].min() for table in shares.values()) / 2)
    for axes, (name, table) in zip(panels, shares.items(), strict=False):
        axes.set(title=name, yscale="log", ylim=(lowest, 1.6))
        axes.axhline(INERT, color=MUTED, linewidth=0.8)
        label_ends(axes, [_draw(axes, rows, term, terms) for term, rows in table.groupby("term")], gap=0.13)
        whole_steps(axes)
    for axes in panels[len(shares) :]:
        axes.set_visible(False)
    figure.supxlabel("training step", fontsize="medium")
    figure.supylabel("share of the gradient", fontsize="medium")
    return figure


def _shares(results: Results, dataset: str) -> dict[str, pd.DataFrame]:
    """Loss → seed, step, term and share, of the first system that is trained with that loss."""
    found: dict[str, pd.DataFrame] = {}
    for system in sorted(results.systems(dataset), key=lambda system: system.model != reference(results, dataset)):
        tables = [_of_cell(cell) for cell in results.scored(dataset, system)]
        table = pd.concat(tables, ignore_index=True)
        if len(table):
            found.setdefault(str(system.loss), table)
    return dict(sorted(found.items()))


def _of_cell(cell: CellFiles) -> pd.DataFrame:
    """The shares that a run recorded: seed, step, term, share."""
    columns = [name for name in cell.history.columns if name.startswith(PREFIX)]
    rows = cell.history[cell.history["split"] == "train"]
    table = rows.melt(id_vars=["step"], value_vars=columns, var_name="term", value_name="share").dropna()
    return table.assign(term=table["term"].str.removeprefix(PREFIX), seed=cell.seed)


def _draw(axes: Axes, rows: pd.DataFrame, term: str, terms: list[str]) -> tuple[float, str, str]:
    """One term: each seed thin, their mean thick; its label with what it comes to over the whole training."""
    ink = PALETTE[terms.index(term) % len(PALETTE)]
    for _, own in rows.groupby("seed"):
        axes.plot(own["step"], own["share"].clip(lower=LEAST), color=ink, linewidth=0.6, alpha=0.6)
    mean = rows.groupby("step")["share"].mean().clip(lower=LEAST)
    axes.plot(mean.index, mean, color=ink)
    return float(mean.iloc[-1]), f"{term}\n{_percent(float(rows['share'].mean()))}", ink


def _percent(share: float) -> str:
    """A share in per cent, with as many decimals as it needs to differ from none."""
    return f"{100 * share:.{0 if share >= 0.1 else 1 if share >= 0.01 else 2 if share >= 1e-3 else 3}f} %"
