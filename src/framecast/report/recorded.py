"""What a recorded run at published settings reached, to stand beside a published number."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from framecast import published
from framecast.report.numbers import Number, Score, data_of, written
from framecast.results import System
from framecast.results.claims import PUBLISHED
from framecast.results.records import Record, newest

T = TypeVar("T")


@dataclass(frozen=True)
class Recorded:
    """The recorded score of a published system and what may be said of it; the score links to its record."""

    record: str
    score: Score
    verdict: published.Verdict


def anchor(record: str) -> str:
    """The id under which a record stands in the page."""
    return f"record-{record}"


def recorded(
    records: Sequence[Record], table: published.Table, value: published.Value, power: int | None = None
) -> Recorded | None:
    """The latest recorded score of the published system at published settings, or None where there is none.

    The same dataset, model, depth, loss, metric and mode; what else may keep the two apart is in the verdict.
    """
    system = System(table.model, table.loss, value.depth)
    record = newest(records, PUBLISHED, value.dataset, system, table.metric, table.mode)
    if record is None:
        return None
    spread = record.results.spread(value.dataset, system, table.metric, table.mode)
    assert spread is not None
    reasons = published.obstacles(table, record.results.scored(value.dataset, system)[0].score)
    data = {**data_of(value.dataset, system, table.metric, table.mode), "record": record.name}
    return Recorded(
        record.name,
        written(spread, data, power, anchor(record.name), "recorded-"),
        published.verdict(spread.mean, spread.sd, value.corrected, reasons=reasons, better=table.better),
    )


def as_recorded(told: T, record: Record) -> T:
    """The same with each number in it told as the record's, under a statistic of its own; its scores lead nowhere,
    since the page has no provenance of them.
    """
    made: Any = told
    if isinstance(told, Number):
        about = {"statistic": f"recorded-{told.data['statistic']}", "record": record.name}
        made = Number(told.text, {**told.data, **about})
    elif isinstance(told, tuple | list):
        made = type(told)(as_recorded(one, record) for one in told)
    elif is_dataclass(told) and not isinstance(told, type):
        made = replace(told, **{part.name: as_recorded(getattr(told, part.name), record) for part in fields(told)})
    if isinstance(made, Score):
        made = replace(made, anchor="")
    return cast(T, made)
