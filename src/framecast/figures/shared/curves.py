"""A score over the forecast steps as several figures draw it: systems, baselines, spread, and what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from framecast.figures.base import MUTED, colour, marker
from framecast.results import Results, System, label

Label = tuple[float, str, str]  #: height of a curve's right end in data units, what it is called, its colour


@dataclass(frozen=True)
class Curves:
    """What is drawn into one pair of axes: a metric on a dataset, in a mode (without one, the leading one).

    ``first`` is where the first forecast step stands on the x axis.
    """

    axes: Axes
    results: Results
    dataset: str
    metric: str
    mode: str | None = None
    first: int = 1

    def mean(self, system: System, **style: object) -> float:
        """Draw a system's mean over seeds; returns its value at the last step."""
        steps, curve = self._curve(system)
        self.axes.plot(steps, curve["mean"], **style)  # type: ignore[arg-type]
        return float(curve["mean"].iloc[-1])

    def baselines(self, **names: str) -> list[Label]:
        """Every baseline, dashed; ``names`` may call one otherwise than by its model."""
        return [
            (self.mean(one, color=MUTED, linestyle=(0, (4, 2)), linewidth=1.1), names.get(one.model, one.model), MUTED)
            for one in self.results.baselines(self.dataset)
        ]

    def systems(self, systems: Sequence[System], among: Sequence[System] = ()) -> list[Label]:
        """Systems in colours and markers of their own; ``among``: those from which their names must tell them apart.

        There are markers at the steps that a system was trained on.
        """
        labels = []
        for system in systems:
            ink = colour(systems, system)
            trained = self.results.trained_steps(self.dataset, system, self.mode)
            marks = {"marker": marker(systems, system), "markersize": 3.5, "markevery": slice(trained)}
            end = self.mean(system, color=ink, **marks)
            labels.append((end, label(self.results, self.dataset, among or systems, system), ink))
        return labels

    def band(self, system: System, ink: str) -> None:
        """± one standard deviation over seeds; on a logarithmic axis as a factor, since mean − sd may lie below 0.

        Call it when the scale of the axis is settled.
        """
        steps, curve = self._curve(system)
        if curve["sd"].isna().all():
            return
        mean, high = curve["mean"], curve["mean"] + curve["sd"]
        low = mean**2 / high if self.axes.get_yscale() == "log" else mean - curve["sd"]
        self.axes.fill_between(steps, low, high, color=ink, alpha=0.18, linewidth=0)

    def training_ends(self, systems: Sequence[System]) -> None:
        """An upright line behind the last step that a system was trained on, where it is asked for more."""
        trained = {system: self.results.trained_steps(self.dataset, system, self.mode) for system in systems}
        for steps in sorted({steps for steps in trained.values() if steps is not None}):
            count = list(trained.values()).count(steps)
            text = "trained to here" if count == len(systems) else f"{count} of {len(systems)} trained to here"
            place, across = steps + self.first - 0.5, self.axes.get_xaxis_transform()
            self.axes.axvline(place, color=MUTED, linewidth=0.9, zorder=0)
            self.axes.text(
                place, 0.98, text, transform=across, rotation=90, ha="right", va="top", fontsize=7, color=MUTED
            )

    def _curve(self, system: System) -> tuple[pd.Series, pd.DataFrame]:
        curve = self.results.curve(self.dataset, system, self.metric, self.mode)
        return curve["step"] + self.first - 1, curve
