"""Which systems a figure shows when a dataset has more of them than a reader can keep apart."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from framecast.figures.base import PALETTE
from framecast.results import Results, System, goodness

FEW = 6  #: systems in pictures of frames, where each takes a row


@dataclass(frozen=True)
class Panel:
    """Systems that are drawn on one pair of axes."""

    title: str
    systems: tuple[System, ...]


def reference(results: Results, dataset: str) -> str:
    """The model that the others are variants of: the one trained with the most losses, the first of equals."""
    return _most_common(system.model for system in results.systems(dataset))


def featured(results: Results, dataset: str, at_most: int = FEW) -> list[System]:
    """Every trained system or, where there are more than ``at_most``, one of each model; of too many models the best.

    Each with the loss that most models share, else with its own first one. A reference that was trained in several
    ways comes first and is always among them.
    """
    systems = results.systems(dataset)
    if len(systems) <= at_most:
        return systems
    shared = _most_common(str(system.loss) for system in systems)
    of_model = {system.model: system for system in reversed(systems)}
    of_model |= {system.model: system for system in reversed(systems) if system.loss == shared}
    model = reference(results, dataset)
    first = model if len(_of(model, systems)) > 1 else None
    best = sorted(of_model.values(), key=lambda system: (system.model != first, -_worth(results, dataset, system)))
    return sorted(best[:at_most], key=lambda system: (system.model != first, systems.index(system)))


def panels(results: Results, dataset: str) -> list[Panel]:
    """One panel while there are colours enough; else the losses of the reference model, the models, and the rest."""
    systems = results.systems(dataset)
    if len(systems) <= len(PALETTE):
        return [Panel("", tuple(systems))]
    first = reference(results, dataset)
    losses = tuple(_of(first, systems))[: len(PALETTE)]
    models = tuple(featured(results, dataset, len(PALETTE)))
    found = [Panel(f"the losses of {first}", losses)] if len(losses) > 1 else []
    found += [Panel("the models", models)]
    shown = {system for panel in found for system in panel.systems}
    rest = tuple(system for system in systems if system not in shown)
    found += [Panel("further systems", rest[at : at + len(PALETTE)]) for at in range(0, len(rest), len(PALETTE))]
    return found


def _of(model: str, systems: Iterable[System]) -> list[System]:
    return [system for system in systems if system.model == model]


def _worth(results: Results, dataset: str, system: System) -> float:
    """How good the leading score is, the higher the better; one that is not defined is worth least."""
    metric = results.primary_metric(dataset)
    spread = results.spread(dataset, system, metric)
    worth = -math.inf if spread is None else goodness(metric, spread.mean)
    return -math.inf if math.isnan(worth) else worth


def _most_common(names: Iterable[str]) -> str:
    counted = Counter(names)
    return min(counted, key=lambda name: (-counted[name], name))
