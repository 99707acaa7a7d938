"""A comparison as JSON, for programs. ``format`` counts up when a key is renamed, removed, or means something else.

    format    1
    before    {name, commit, date, subject, tables, scales}; after likewise. commit (40 digits), date and subject are
              null for what lies on disk; tables is the commit that last changed the tables, or null
    metrics   {id: {better: lower | higher | one, unit}}
    numbers   [{dataset, model, depth, loss, mode, metric, before, after, change, noise, verdict, why, lost_seeds,
              leaky}]: depth and loss are null for a baseline; before and after are {mean, sd, seeds} or null; sd,
              change and noise are null where there is none; verdict is one of ``changes.VERDICTS``; why says what
              makes it another test; lost_seeds are those that only the side before has
    findings  [{dataset, mode, metric, a, b, before, after}], each side {difference, low, high, verdict}
    cells     [{cell, state, before, after, parameters, code}]: state is added, removed or changed; before and after are
              keys or null; parameters and code are lists of what changed, or null where that cannot be told
    unknown   [what cannot be told, a line each]

What is not finite (a metric that is not defined there) is null.
"""

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from framecast.study import catalogue

if TYPE_CHECKING:
    from framecast.upkeep.diff.changes import Moved, Number
    from framecast.upkeep.diff.comparison import Diff
    from framecast.upkeep.diff.sides import Side

AFFECTS_NUMBERS = False
FORMAT = 1


def written(diff: "Diff") -> str:
    """The document, indented, with a line break at its end."""
    tree = {
        "format": FORMAT,
        "before": _side(diff.before),
        "after": _side(diff.after),
        "metrics": {
            metric: {fact: catalogue.metric_fact(metric, fact) for fact in ("better", "unit")}
            for metric in diff.metrics
        },
        "numbers": [_number(number) for number in diff.numbers],
        "findings": [_finding(moved) for moved in diff.findings],
        "cells": [
            {
                "cell": cause.cell.name,
                "state": cause.state,
                **{name: getattr(cause, name) for name in ("before", "after", "parameters", "code")},
            }
            for cause in diff.causes
        ],
        "unknown": diff.unknown,
    }
    return json.dumps(_finite(tree), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _side(side: "Side") -> dict[str, Any]:
    commit = side.commit
    return {
        "name": side.name,
        "commit": commit and commit.hash,
        "date": commit and commit.date,
        "subject": commit and commit.subject,
        "tables": side.tables and side.tables.hash,
        "scales": side.scales,
    }


def _number(number: "Number") -> dict[str, Any]:
    return {
        "dataset": number.dataset,
        **{name: getattr(number.system, name) for name in ("model", "depth", "loss")},
        **{name: getattr(number, name) for name in ("mode", "metric")},
        "before": number.before and asdict(number.before),
        "after": number.after and asdict(number.after),
        **{name: getattr(number, name) for name in ("change", "noise", "verdict", "why")},
        "lost_seeds": number.lost,
        "leaky": number.leaky,
    }


def _finding(moved: "Moved") -> dict[str, Any]:
    named = dict(zip(("dataset", "mode", "metric", "a", "b"), moved.pair, strict=True))
    return {**named, "before": asdict(moved.before), "after": asdict(moved.after)}


def _finite(tree: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(tree, dict):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
