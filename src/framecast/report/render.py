"""``reports/report.html``: one page that opens offline, without a clock, a host or a request in it.

The text, layout and behaviour are in ``templates/``; this module says what the page is about. Everything goes through
Jinja's autoescape, so a name from ``params.yaml`` is text wherever it lands, and the page's own policy lets nothing but
its one script run.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined

from framecast.figures.base import caption
from framecast.published import RELATIVE_TOLERANCE, Discrepancy
from framecast.report import claims, components, curves, hotspots, leak, literature, runs, sequences, stage, tables
from framecast.report.provenance import provenance
from framecast.results import Results, label
from framecast.results.records import Record
from framecast.study.params import Study


@dataclass(frozen=True)
class Drawing:
    """A figure as it stands in the page."""

    name: str
    uri: str
    caption: str
    alt: str


@dataclass(frozen=True)
class DatasetPart:
    """What the page tells about one dataset, whichever studies use it."""

    name: str
    badges: tuple[str, ...]
    origin: str
    sequences: str
    lengths: str
    leak: leak.LeakPart | None
    beside: list[leak.Beside]
    impact: list[components.ImpactTable]
    hotspots: hotspots.Part | None
    comparisons: list[tables.Comparison]
    drawings: list[Drawing]
    curves: curves.Curves | None
    scenes: list[stage.Film] | list[stage.Lines]
    standings: sequences.Part | None
    metrics: list[tables.AllMetrics]


@dataclass(frozen=True)
class StudyPart:
    """A study: its table, and the datasets that no study before it has shown."""

    name: str
    title: str
    grid: tables.Grid
    datasets: list[DatasetPart]
    missing: tuple[str, ...]


#: What the page does, in the order in which it is defined; together one script.
STYLES = ("report.css", "claims.css")
SCRIPTS = ("state.js", "time.js", "stage.js", "curves.js", "sorting.js", "provenance.js", "report.js", "start.js")


def render(
    results: Results,
    figures: Mapping[tuple[str, str], Path],
    studies: Mapping[str, Study],
    scale: str,
    holes: Sequence[tuple[str, str]] = (),
    records: Sequence[Record] = (),
    folder: str = "records",
) -> str:
    """The page. ``figures`` maps (figure, dataset) to an SVG file, in the order in which they are to be read.

    ``folder`` is where the records lie, as seen from the page.
    """
    jinja = environment()
    parts = list(_studies(results, figures, studies, records))
    shown = [dataset for part in parts for dataset in part.datasets]
    return jinja.get_template("report.html.j2").render(
        **surroundings(jinja, SCRIPTS),
        claims=claims.part(claims.told(results, records)),
        scale=scale,
        holes=holes,
        badges=tuple(dict.fromkeys(badge for dataset in shown for badge in dataset.badges)),
        glances=[glance for dataset in shown if (glance := tables.glance(results, dataset.name))],
        studies=parts,
        provenance=list(provenance(results, [dataset.name for dataset in shown], records)),
        systems=_systems(results, [dataset.name for dataset in shown]),
        metrics=[tables.metric_of(metric) for metric in sorted(set(results.scores["metric"]))],
        difference_scale=stage.SCALE,
        runs=runs.runs(records),
        answers=runs.answers(records),
        folder=folder,
        answered=literature.answered(results, _drawn(shown)),
        whole_tables=literature.whole_tables(results, records),
        printed_tables=literature.by_source(literature.printed_tables(results, records)),
        discrepancies=list(_discrepancies(results, studies, records)),
        tolerance=f"{RELATIVE_TOLERANCE:.0%}".replace("%", " %"),
    )


def _systems(results: Results, datasets: Sequence[str]) -> list[str]:
    """Every system of the page by its whole name, trained ones first."""
    trained = {str(system) for dataset in datasets for system in results.systems(dataset)}
    baselines = {str(system) for dataset in datasets for system in results.baselines(dataset)}
    return [*sorted(trained), *sorted(baselines)]


def environment(*others: BaseLoader) -> Environment:
    """How every page of ours is filled in: all that is put in is text, and what is missing is an error.

    Templates are ours, and before them those of ``others``.
    """
    jinja = Environment(
        loader=ChoiceLoader([*others, PackageLoader("framecast.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return jinja


def surroundings(jinja: Environment, scripts: Sequence[str], styles: Sequence[str] = ()) -> dict[str, str]:
    """Style (the report's, then ``styles``) and scripts of a page, and the scripts' hash for its policy."""
    style = "".join(source(jinja, name) for name in (*STYLES, *styles))
    script = "".join(source(jinja, name) for name in scripts)
    digest = hashlib.sha256(script.encode()).digest()
    return {"style": style, "script": script, "script_hash": base64.b64encode(digest).decode()}


def source(jinja: Environment, name: str) -> str:
    """A file beside the templates that holds no value: ours as it stands, so it is not escaped.

    Its lines end as they are committed; Jinja ends those of the template so itself.
    """
    assert jinja.loader is not None
    return jinja.loader.get_source(jinja, name)[0].replace("\r\n", "\n")


def _studies(
    results: Results,
    figures: Mapping[tuple[str, str], Path],
    studies: Mapping[str, Study],
    records: Sequence[Record],
) -> Iterator[StudyPart]:
    told: set[str] = set()
    share = stage.SHEETS // max(1, len({cell.dataset for cell in results.cells}))
    for name, study in studies.items():
        run = [dataset for dataset in study.every("datasets") if results.scored(dataset)]
        new = [dataset for dataset in run if dataset not in told]
        told.update(new)
        yield StudyPart(
            name=name,
            title=study.title or name.replace("_", " ").capitalize(),
            grid=tables.grid(results, study, records),
            datasets=[_dataset(results, figures, dataset, records, share) for dataset in new],
            missing=tuple(dataset for dataset in study.every("datasets") if dataset not in run),
        )


def _dataset(
    results: Results,
    figures: Mapping[tuple[str, str], Path],
    dataset: str,
    records: Sequence[Record],
    share: int,
) -> DatasetPart:
    """``share`` is how many bytes of sheets a dataset may have."""
    score = results.scored(dataset)[0].score
    return DatasetPart(
        name=dataset,
        badges=_badges(results, dataset),
        origin=score["origin"],
        sequences=f"{score['sequences']} {score['split']} sequences",
        lengths="; ".join(_lengths(results, dataset)),
        leak=leak.part(results, dataset),
        beside=leak.beside(results, dataset, records),
        impact=components.impact(results, dataset),
        hotspots=hotspots.part(results, dataset),
        comparisons=tables.comparisons(results, dataset),
        drawings=[_drawing(results, *about, path) for about, path in figures.items() if about[1] == dataset],
        curves=curves.part(results, dataset),
        scenes=(scenes := stage.scenes(results, dataset, share)),
        standings=sequences.part(results, dataset, stage.shown(results, dataset), stage.forecasts_shown(scenes)),
        metrics=[tables.all_metrics(results, dataset, mode) for mode in results.modes(dataset)],
    )


def _lengths(results: Results, dataset: str) -> Iterator[str]:
    """How many steps are observed and forecast, mode by mode where there are several."""
    modes = results.modes(dataset)
    for mode in modes:
        observed, forecast = results.lengths(dataset, mode)
        told = f"{observed} step{'s' * (observed != 1)} observed, {forecast} forecast"
        yield f"{mode}: {told}" if len(modes) > 1 else told


def _badges(results: Results, dataset: str) -> tuple[str, ...]:
    """Everything a reader must know before comparing a number: scale, data, feedback, causality."""
    scores = [cell.score for cell in results.scored(dataset)]
    scale = {"paper": "published settings"}.get(scores[0]["scale"], "reduced scale")
    leaky = any(score["causal"] != "causal" for score in scores)
    return scale, tables.SOURCES[scores[0]["source"]], *results.modes(dataset), "leaky" if leaky else "causal"


def _drawing(results: Results, name: str, dataset: str, path: Path) -> Drawing:
    uri = f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
    drawn = results.systems(dataset)
    systems = ", ".join(label(results, dataset, drawn, system) for system in drawn)
    text = caption(name, dataset)
    return Drawing(name, uri, text, f"{name.replace('_', ' ')} of {dataset} for {systems}. {text}")


def _drawn(parts: Sequence[DatasetPart]) -> set[tuple[str, str]]:
    """The figures on the page."""
    return {(drawing.name, part.name) for part in parts for drawing in part.drawings}


def _discrepancies(
    results: Results, studies: Mapping[str, Study], records: Sequence[Record]
) -> Iterator[tuple[str, Discrepancy]]:
    """What the sources get wrong about the models that are studied here, or that a recorded run has studied."""
    models = {model for study in studies.values() for model in study.every("models")}
    models |= {model for record in records for model in record.facts.models}
    for source in results.sources:
        for entry in source.discrepancies:
            if models & set(entry.models):
                yield source.author, entry
