"""``docs/results.md``: the recorded runs as a page of the documentation, generated and never edited."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from framecast import artifacts
from framecast.published import RELATIVE_TOLERANCE
from framecast.report import claims, runs
from framecast.report.numbers import Score, score
from framecast.report.tables import marks
from framecast.results import Results, System
from framecast.results.records import Record, load_all

PAGE = Path("docs/results.md")
RECORDS = "../reports/records"

INTRODUCTION = """\
# Results

`framecast results` writes this page from the recorded runs in [`reports/records/`](../reports/records), and so does
`framecast record STUDY`. The numbers of the scale that `params.yaml` asks for are in [`reports/`](../reports):
`scores.csv` (every cell and metric), `horizon.csv` (per step), `comparisons.csv` (paired bootstrap) and `metrics.json`
(what `dvc metrics diff` compares). [How sizes and rates were chosen](how-sizes-were-chosen.md) has a page of its own.
"""
NOTHING = "No run has been recorded yet."
VERDICTS = f"""\
A recorded number is the mean ± standard deviation over seeds of the published system at `scale: paper`: same dataset,
model, depth, loss, metric and mode. *Reproduced*: within two standard deviations or {100 * RELATIVE_TOLERANCE:g} %
of the published value in its corrected reading, whichever is more."""
CLAIMS = """\
By the recorded runs alone; `framecast claims` asks the finished cells too, and names every cell that is missing.
[How a claim is judged](claims.md) has a page of its own.
"""


def write() -> Path:
    """Write the page, and say where. Raises UserError for a damaged record."""
    artifacts.write_text(PAGE, page(load_all()))
    return PAGE


def page(records: Sequence[Record]) -> str:
    """The page in Markdown: the runs, the published values and claims that they answer, each run's leading scores."""
    parts = [INTRODUCTION, "## Recorded runs\n", _list(records) if records else f"{NOTHING}\n"]
    parts += ["## Published settings\n", f"{VERDICTS}\n", _answers(records)]
    told = claims.as_markdown(claims.told(None, records), RECORDS)
    parts += ["## What the sources claim, and what is so\n", CLAIMS, told]
    for record, run in zip(records, runs.runs(records), strict=True):
        parts.append(f"## {run.title} ({run.scale})\n")
        parts.append(
            f"Study `{run.study}`, recorded in [{run.name}]({RECORDS}/{run.name}); seeds {run.seeds}; {run.versions}.\n"
        )
        parts.append(_scores(record))
    return "\n".join(parts)


def _list(records: Sequence[Record]) -> str:
    rows = (
        (
            f"`{run.study}`",
            run.scale,
            f"`{run.commit[:8]}`",
            run.date,
            run.hardware,
            run.cells,
            run.core_time,
            _link(run.name),
        )
        for run in runs.runs(records)
    )
    return claims.markdown_table(("study", "scale", "commit", "date", "hardware", "cells", "core time", "record"), rows)


def _answers(records: Sequence[Record]) -> str:
    found = runs.answers(records)
    told = f"{len(found)} of {runs.published_values()} published values have a recorded number.\n"
    rows = (
        (
            f"{answer.source.author}, {answer.table.number}",
            answer.dataset,
            str(answer.system),
            f"{answer.metric}, {answer.table.mode}",
            answer.value.text,
            _written(answer.recorded.score),
            _verdict(answer),
            _link(answer.recorded.record),
        )
        for answer in found
    )
    header = ("published by", "dataset", "system", "metric, mode", "published", "recorded", "verdict", "record")
    return f"{told}\n{claims.markdown_table(header, rows)}" if found else told


def _verdict(answer: runs.Answer) -> str:
    word, reasons = answer.recorded.verdict.word, answer.recorded.verdict.reasons
    return f"{word}: {', '.join(reasons)}" if reasons else word


def _scores(record: Record) -> str:
    """Systems down, datasets across, by each dataset's leading metric in its leading mode."""
    results = record.results
    datasets = [dataset for dataset in record.facts.datasets if results.scored(dataset)]
    systems = [*_each(results.systems(dataset) for dataset in datasets)]
    systems += _each(results.baselines(dataset) for dataset in datasets)
    header = ("system", *(_column(results, dataset) for dataset in datasets))
    return claims.markdown_table(
        header, ((_named(results, datasets, system), *_row(results, datasets, system)) for system in systems)
    )


def _each(lists: Iterable[Iterable[System]]) -> list[System]:
    return list(dict.fromkeys(system for systems in lists for system in systems))


def _column(results: Results, dataset: str) -> str:
    source = results.scored(dataset)[0].score["source"]
    return f"{dataset} ({source}): {results.primary_metric(dataset)}, {results.primary_mode(dataset)}"


def _named(results: Results, datasets: Sequence[str], system: System) -> str:
    told = dict.fromkeys(mark for dataset in datasets for mark in marks(results, dataset, system))
    return f"{system} ({', '.join(told)})" if told else str(system)


def _row(results: Results, datasets: Sequence[str], system: System) -> list[str]:
    found = (score(results, dataset, system, results.primary_metric(dataset)) for dataset in datasets)
    return [_written(one) if one else "–" for one in found]


def _written(score: Score) -> str:
    return score.mean.text + (f" ± {score.sd.text}" if score.sd else "")


def _link(record: str) -> str:
    return f"[{record}]({RECORDS}/{record})"
