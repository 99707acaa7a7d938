"""What a component does, as a measured difference: pairs of trained systems, and how far apart they are.

A pair counts when its systems differ in one thing: a term of the loss, or an argument of the model. Beside these stand
comparisons of wholes: each loss with the fullest one and with the one that holds its weightiest term alone, and each
model with the one that the others are variants of. Every effect is read as *after* minus *before*.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from framecast.figures.shared.choice import reference
from framecast.figures.shared.leak import differences
from framecast.results import Results, System

ONE_TERM, WHOLE_LOSS = "one loss term", "the loss as a whole"
ONE_ARGUMENT, WHOLE_MODEL = "one argument of the model", "the model as a whole"
GROUPS = (ONE_TERM, WHOLE_LOSS, ONE_ARGUMENT, WHOLE_MODEL)

Terms = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A step from one system to another; ``what`` names it, ``name`` fits a figure."""

    group: str
    before: System
    after: System
    what: str
    name: str


@dataclass(frozen=True)
class Effect:
    """After minus before, paired over test sequences, with its 95 % interval, and what that makes of *after*."""

    difference: float
    low: float
    high: float
    sequences: int
    verdict: Literal["better", "worse", "no difference"]


def changes(results: Results, dataset: str) -> list[Change]:
    """Every change that was measured, in the order of ``GROUPS``."""
    systems = results.systems(dataset)
    terms = {system: results.terms(dataset, system) for system in systems}
    found = [*_losses(terms), *_models(results, dataset, systems)]
    compared = results.compared(dataset, results.primary_metric(dataset))
    pairs = {frozenset(pair) for pair in zip(compared["a"], compared["b"], strict=True)}
    measured = [change for change in found if {str(change.before), str(change.after)} in pairs]
    return sorted(measured, key=lambda change: GROUPS.index(change.group))


def metrics(results: Results, dataset: str) -> list[str]:
    """The compared metrics, the primary one first."""
    return list(dict.fromkeys(results.comparisons.loc[results.comparisons["dataset"] == dataset, "metric"]))


def effect(results: Results, dataset: str, change: Change, metric: str, mode: str) -> Effect | None:
    """The effect of a change on one metric in one mode, or None where it was not compared."""
    rows = results.compared(dataset, metric, mode)
    before, after = str(change.before), str(change.after)
    for a, b, sign in ((after, before, 1), (before, after, -1)):
        for row in rows[(rows["a"] == a) & (rows["b"] == b)].to_dict("records"):
            low, high = sorted((sign * row["low"], sign * row["high"]))
            won = {"no difference": "no difference", "a better": a, "b better": b}[row["verdict"]]
            verdict: Any = {after: "better", before: "worse"}.get(won, "no difference")
            return Effect(sign * row["difference"], low, high, int(row["sequences"]), verdict)
    return None


# --- losses ---------------------------------------------------------------------------------------


def _losses(terms: dict[System, Terms]) -> Iterator[Change]:
    families: dict[tuple[str, int | None], list[System]] = {}
    for system in terms:
        families.setdefault((system.model, system.depth), []).append(system)
    for family in families.values():
        plain, full = _ends(family, terms)
        for one, other in combinations(family, 2):
            before, after = _ordered(one, other, terms, plain)
            changed = differences(terms[before], terms[after])
            is_step = len(changed) == 1 and len(terms[before]) != len(terms[after])
            if is_step:
                what = _told(terms[before], terms[after])
                yield Change(ONE_TERM, before, after, what, f"{what}, to {before.loss}")
            elif {before, after} & {plain, full}:
                what = _told(terms[before], terms[after])
                yield Change(WHOLE_LOSS, before, after, what, f"{before.loss} → {after.loss}")


def _ends(family: Iterable[System], terms: dict[System, Terms]) -> tuple[System | None, System]:
    """The loss that is the weightiest term of the fullest one alone (None where there is none), and the fullest."""
    full = max(family, key=lambda system: len(terms[system]))
    main = max(terms[full], key=lambda term: _weight(terms[full][term]))
    return next((system for system in family if set(terms[system]) == {main}), None), full


def _ordered(one: System, other: System, terms: dict[System, Terms], plain: System | None) -> tuple[System, System]:
    """From fewer terms to more; among equals from the plain one, else as sorted."""
    rank = {system: (len(terms[system]), system != plain) for system in (one, other)}
    return (one, other) if rank[one] <= rank[other] else (other, one)


def _told(before: Terms, after: Terms) -> str:
    gone = [f"−\N{NO-BREAK SPACE}{term}" for term in before if term not in after]
    new = [f"+\N{NO-BREAK SPACE}{term}" for term in after if term not in before]
    moved = [
        f"{term} {_weight(before[term]):g} → {_weight(after[term]):g}"
        for term in before
        if term in after and before[term] != after[term]
    ]
    return ", ".join([*gone, *new, *moved])


def _weight(term: Any) -> float:
    """A term is its weight, or a mapping that holds it beside the term's arguments."""
    return float(term["weight"] if isinstance(term, dict) else term)


# --- models ---------------------------------------------------------------------------------------


def _models(results: Results, dataset: str, systems: list[System]) -> Iterator[Change]:
    first = reference(results, dataset)
    for one, other in combinations(systems, 2):
        if (one.loss, one.depth) != (other.loss, other.depth):
            continue
        before, after = (
            (one, other)
            if _rank(results, dataset, one, first) <= _rank(results, dataset, other, first)
            else (other, one)
        )
        arguments = [results.arguments(dataset, system) for system in (before, after)]
        if arguments[0]["kind"] != arguments[1]["kind"]:
            continue  # another system, not a change of this one
        trainings = [results.scored(dataset, system)[0].run["parameters"]["training"] for system in (before, after)]
        changed, retrained = differences(*arguments), differences(*trainings)
        if len(changed) == 1 and not retrained:
            what = f"{changed[0]}: {arguments[0].get(changed[0])} → {arguments[1].get(changed[0])}"
            yield Change(ONE_ARGUMENT, before, after, what, what)
        elif before.model == first:
            told = ", ".join([*changed, *(f"training {name}" for name in retrained)])
            yield Change(WHOLE_MODEL, before, after, f"differs in {told}", f"{before.model} → {after.model}")


def _rank(results: Results, dataset: str, system: System, first: str) -> tuple[bool, bool]:
    """The reference comes before its variants, an honest system before a leaky one."""
    return system.model != first, results.is_leaky(dataset, system)
