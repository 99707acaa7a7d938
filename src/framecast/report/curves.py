"""The error of every system at each forecast step, as numbers that the page's time cursor runs along."""

from collections.abc import Iterator
from dataclasses import dataclass

from framecast.figures.base import colour
from framecast.report import numbers, tables
from framecast.results import Results, label


@dataclass(frozen=True)
class Curve:
    """A system's mean over seeds at each step, and its sd where there are several seeds."""

    system: str
    label: str
    kind: str
    marks: tuple[str, ...]
    ink: str  #: empty for a baseline
    means: str  #: one number a step
    sds: str
    first: str
    last: str


@dataclass(frozen=True)
class Curves:
    """The curves of a dataset by its leading metric in its leading mode."""

    metric: tables.Metric
    mode: str
    horizon: int
    ends: tuple[int, ...]  #: steps after which some system is beyond its training
    curves: tuple[Curve, ...]


def part(results: Results, dataset: str) -> Curves | None:
    """Every system of a dataset, trained ones first; None where nothing has been trained."""
    if not results.systems(dataset):
        return None
    metric, mode = results.primary_metric(dataset), results.primary_mode(dataset)
    curves = tuple(_curves(results, dataset, metric))
    trained = {results.trained_steps(dataset, system) for system in results.systems(dataset)}
    ends = tuple(sorted(steps for steps in trained if steps is not None))
    return Curves(tables.metric_of(metric), mode, results.lengths(dataset)[1], ends, curves)


def _curves(results: Results, dataset: str, metric: str) -> Iterator[Curve]:
    trained = results.systems(dataset)
    for system in [*trained, *results.baselines(dataset)]:
        rows = results.curve(dataset, system, metric)
        means, sds = rows["mean"].tolist(), rows["sd"].tolist()
        if means:
            yield Curve(
                system=str(system),
                label=label(results, dataset, trained, system),
                kind="trained" if system.loss else "baseline",
                marks=tables.marks(results, dataset, system),
                ink=colour(trained, system) if system in trained else "",
                means=_listed(means),
                sds="" if any(sd != sd for sd in sds) else _listed(sds),
                first=numbers.scientific(means[0]),
                last=numbers.scientific(means[-1]),
            )


def _listed(values: list[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
