"""What a recorded run at published settings reached, to stand beside a published number."""

from collections.abc import Sequence
from dataclasses import dataclass

from framecast import published
from framecast.report.numbers import Score, data_of, written
from framecast.results import System
from framecast.results.records import Record, newest

PUBLISHED = "paper"  #: the scale of the published settings


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
