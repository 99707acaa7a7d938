"""Which systems a figure shows when a dataset has more of them than a reader can keep apart."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from framecast.figures.base import PALETTE
from framecast.results import Results, System

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
    """Every trained system or, where there are more than ``at_most``, one of each model, the reference first.

    Each with the loss that most models share, else with its own first one.
    """
    systems = results.systems(dataset)
    if len(systems) <= at_most:
        return systems
    shared = _most_common(str(system.loss) for system in systems)
    of_model = {system.model: system for system in reversed(systems)}
    of_model |= {system.model: system for system in reversed(systems) if system.loss == shared}
    first = reference(results, dataset)
    return sorted(of_model.values(), key=lambda system: (system.model != first, systems.index(system)))[:at_most]


def panels(results: Results, dataset: str) -> list[Panel]:
    """One panel while there are colours enough; else the losses of the reference model, the models, and the rest."""
    systems = results.systems(dataset)
    if len(systems) < len(PALETTE):
        return [Panel("", tuple(systems))]
    first = reference(results, dataset)
    losses = tuple(system for system in systems if system.model == first)[: len(PALETTE)]
    models = tuple(featured(results, dataset, len(PALETTE)))
    rest = tuple(system for system in systems if system not in {*losses, *models})
    found = [Panel(f"the losses of {first}", losses), Panel("the models", models)]
    found += [Panel("further systems", rest[at : at + len(PALETTE)]) for at in range(0, len(rest), len(PALETTE))]
    return [panel for panel in found if panel.systems]


def _most_common(names: Iterable[str]) -> str:
    counted = Counter(names)
    return min(counted, key=lambda name: (-counted[name], name))
