"""What is leaky, what is honest, and by how much: a table and a few sentences made from the measured numbers.

Nothing here is a foregone conclusion. Where the scores do not show the leak, the sentence says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from framecast import published
from framecast.figures.shared import leak
from framecast.figures.shared.choice import featured
from framecast.report import numbers, tables
from framecast.report.recorded import Recorded, recorded
from framecast.results import TEACHER_FORCED, Results, Spread, System, label, short
from framecast.results.records import Record
from framecast.study import catalogue


@dataclass(frozen=True)
class Name:
    """A system in a sentence."""

    text: str


#: Words, names, and numbers that a program can check, in the order in which they are read.
Sentence = tuple[str | Name | numbers.Number, ...]

#: What a leak through an argument of a model is, in plain words: argument → value → text.
MECHANISM = {
    "head": {
        "leaky": (
            "The output layer of the leaky systems is a 3×3×3 convolution that is padded in time on both sides. Output "
            "t therefore reads the features of inputs t − 1, t and t + 1, and input t + 1 is the very frame that "
            "output t has to forecast. It need not forecast it: it can pass it on. Only the last output has no input "
            "after it."
        )
    }
}


@dataclass(frozen=True)
class LeakRow:
    """A system's scores over the spans of the table; ``marks`` are its badges."""

    label: str
    kind: str
    marks: tuple[str, ...]
    scores: tuple[numbers.Score | None, ...]
    is_open: tuple[bool, ...]  #: for each span, whether this system has seen a target in it
    fall: numbers.Number | None  #: how much worse the last output is than those before it
    system: str = ""  #: the whole name


@dataclass(frozen=True)
class LeakTable:
    """One metric: systems down, spans across."""

    metric: tables.Metric
    rows: tuple[LeakRow, ...]


@dataclass(frozen=True)
class LeakPart:
    """The section of a dataset that is scored with a teacher."""

    mechanism: tuple[str, ...]
    sentences: tuple[Sentence, ...]
    spans: tuple[leak.Span, ...]
    last: int  #: the number of the last output
    tables: tuple[LeakTable, ...]


@dataclass(frozen=True)
class Beside:
    """A published value with one of our systems that it can be held against; ours is None before it is scored.

    ``recorded`` is what the published system itself reached in a recorded run at published settings.
    """

    source: published.Source
    table: published.Table
    value: numbers.Number
    label: str
    marks: tuple[str, ...]
    ours: numbers.Score | None
    verdict: published.Verdict
    recorded: Recorded | None
    system: str = ""  #: the whole name of ours


def part(results: Results, dataset: str) -> LeakPart | None:
    """The section of a dataset, or None where nothing is scored with a teacher."""
    if not leak.is_measured(results, dataset):
        return None
    spans = leak.spans(results, dataset)
    metrics = leak.metrics(results, dataset)
    return LeakPart(
        tuple(_mechanism(results, dataset)),
        tuple(_sentences(results, dataset, metrics[0])),
        tuple(spans),
        results.lengths(dataset, TEACHER_FORCED)[1] - 1,
        tuple(_table(results, dataset, metric, spans) for metric in metrics),
    )


# --- table ----------------------------------------------------------------------------------------


def _table(results: Results, dataset: str, metric: str, spans: list[leak.Span]) -> LeakTable:
    trained = _ordered(results, dataset)
    rows = (_row(results, dataset, trained, system, metric, spans) for system in trained + results.baselines(dataset))
    return LeakTable(tables.metric_of(metric), tuple(rows))


def _ordered(results: Results, dataset: str) -> list[System]:
    """Leaky systems, each followed by its honest twin, then the others."""
    systems = results.systems(dataset)
    twins = {system: leak.twin(results, dataset, system) for system in systems if results.is_leaky(dataset, system)}
    ordered: list[System] = []
    for system in sorted(twins, key=lambda system: twins[system] is None):
        found = twins[system]
        ordered += [system, found[0]] if found else [system]
    return list(dict.fromkeys([*ordered, *systems]))


def _row(
    results: Results, dataset: str, trained: list[System], system: System, metric: str, spans: list[leak.Span]
) -> LeakRow:
    leaks = results.is_leaky(dataset, system)
    return LeakRow(
        short(trained, system),
        "trained" if system.loss else "baseline",
        tables.marks(results, dataset, system),
        tuple(_score(results, dataset, system, metric, span) for span in spans),
        tuple(leaks and span.is_open for span in spans),
        _fall(dataset, levels, metric).mean if (levels := leak.levels(results, dataset, system, metric)) else None,
        str(system),
    )


def _score(results: Results, dataset: str, system: System, metric: str, span: leak.Span) -> numbers.Score | None:
    """Over a whole mode as the table of scores has it, over a part of it from each cell's own steps."""
    _, horizon = results.lengths(dataset, span.mode)
    if len(span.steps) == horizon:
        return numbers.score(results, dataset, system, metric, mode=span.mode)
    spread = results.window(dataset, system, metric, span.mode, span.steps)
    if spread is None:
        return None
    data = numbers.data_of(dataset, system, metric, span.mode, f"{span.steps[0]}..{span.steps[-1]}")
    return numbers.written(spread, data, None, numbers.anchor(dataset, system))


# --- sentences ------------------------------------------------------------------------------------


def _mechanism(results: Results, dataset: str) -> Iterator[str]:
    """How the leaky systems of a dataset look ahead, each way once."""
    leaky = [system for system in results.systems(dataset) if results.is_leaky(dataset, system)]
    for argument, texts in MECHANISM.items():
        used = dict.fromkeys(str(results.arguments(dataset, system).get(argument)) for system in leaky)
        yield from (texts[value] for value in used if value in texts)


def _sentences(results: Results, dataset: str, metric: str) -> Iterator[Sentence]:
    findings = leak.findings(results, dataset, metric)
    if not findings:
        yield ("The causality probe caught no system here: every teacher-forced number below is honest.",)
    for number, finding in enumerate(findings):
        yield (*_levels(results, dataset, metric, finding), " ", _conclusion(results, dataset, finding, number == 0))


def _levels(results: Results, dataset: str, metric: str, finding: leak.Finding) -> Sentence:
    """What the leaky system reaches with and without its target in sight, and its twin beside it."""
    ours, last = finding.leaky, results.lengths(dataset, TEACHER_FORCED)[1] - 1
    unit = _unit(metric)
    told = [
        _name(results, dataset, ours.system),
        " has ",
        *_number(dataset, ours.system, metric, f"1..{last}", ours.seen, unit),
        f" on outputs 0..{last - 1}, whose targets it can see, and ",
        *_number(dataset, ours.system, metric, f"{last + 1}..{last + 1}", ours.last, unit),
        f" on output {last}, whose target it cannot: ",
        *_moved(dataset, ours, metric, unit),
    ]
    if finding.twin is None:
        return (*told, ". No honest twin of it was trained.")
    return (
        *told,
        ". Its honest twin ",
        _name(results, dataset, finding.twin.system),
        f", which differs in {finding.argument} alone, has ",
        *_number(dataset, finding.twin.system, metric, f"1..{last}", finding.twin.seen, unit),
        " and ",
        *_number(dataset, finding.twin.system, metric, f"{last + 1}..{last + 1}", finding.twin.last, unit),
        ": ",
        *_moved(dataset, finding.twin, metric, unit),
        ".",
    )


def _conclusion(results: Results, dataset: str, finding: leak.Finding, is_first: bool) -> str:
    """What follows from the levels, and what does not."""
    quoted = _quoted(results, dataset)
    if finding.is_clear is None:
        return "With one seed nothing tells such a fall from chance; it takes several seeds to say more."
    if not finding.is_clear:
        than = f"{leak.CLEAR} standard deviations over seeds"
        also = ", or not by so much larger than the twin’s" if finding.twin else ""
        rest = f", and by themselves do not explain {quoted}" if quoted else ""
        return f"That fall is not larger than {than}{also}: these runs do not show the leak in the scores{rest}."
    if not is_first:
        return "What it has beyond its last output is, here too, the answer passed on."
    gain = "What the leaky one has beyond its last output is the answer passed on, not foresight."
    return f"{gain} Hence {quoted}, means over all outputs of such a system, are target leakage." if quoted else gain


def _quoted(results: Results, dataset: str) -> str:
    """The published leaky scores on a dataset, with the authors’ names."""
    told: dict[str, list[str]] = {}
    for source in results.sources:
        for table in source.tables:
            for value in table.values:
                if table.leaky and value.dataset == dataset and table.status == "measured":
                    told.setdefault(source.author, []).append(
                        f"{value.printed:g}{_unit(table.metric)} ({table.metric})"
                    )
    return "; ".join(f"the published {' and '.join(values)} of {author}" for author, values in told.items())


def _name(results: Results, dataset: str, system: System) -> Name:
    return Name(label(results, dataset, results.systems(dataset), system))


def _number(
    dataset: str, system: System, metric: str, steps: str, spread: Spread, unit: str
) -> tuple[str | numbers.Number, ...]:
    data = numbers.data_of(dataset, system, metric, TEACHER_FORCED, steps)
    score = numbers.written(spread, data, None, "")
    return (score.mean, *((" ± ", score.sd) if score.sd else ()), unit)


def _moved(dataset: str, levels: leak.Levels, metric: str, unit: str) -> tuple[str | numbers.Number, ...]:
    """A fall or a rise, with its standard deviation over seeds."""
    told = _fall(dataset, levels, metric)
    size = numbers.Number(told.mean.text.removeprefix("−"), told.mean.data)
    word = "a fall of " if levels.fall.mean > 0 else "a rise of "
    return (word, size, *((" ± ", told.sd) if told.sd else ()), unit)


def _fall(dataset: str, levels: leak.Levels, metric: str) -> numbers.Score:
    """How much worse the last output is, with the decimals of the two levels that it lies between."""
    data = numbers.data_of(dataset, levels.system, metric, TEACHER_FORCED)
    decimals = len(numbers.significant(levels.last.mean).partition(".")[2])
    mean, sd = (
        None
        if value is None
        else numbers.Number(numbers.fixed(value, decimals), {**data, "statistic": f"fall-{name}", "value": repr(value)})
        for name, value in (("mean", levels.fall.mean), ("sd", levels.fall.sd))
    )
    assert mean is not None
    return numbers.Score(mean, sd, levels.fall.seeds, "")


def _unit(metric: str) -> str:
    """The unit after a number: only decibels have one worth saying."""
    return " dB" if "dB" in catalogue.metric_fact(metric, "unit") else ""


# --- published beside ours ------------------------------------------------------------------------


def beside(results: Results, dataset: str, records: Sequence[Record] = ()) -> list[Beside]:
    """What is published about a dataset and stands in no grid table: another metric or mode than the leading ones."""
    if not results.scored(dataset):
        return []
    leading = results.primary_metric(dataset), results.primary_mode(dataset)
    return [
        row
        for source in results.sources
        for table in source.tables
        for value in table.values
        if value.dataset == dataset and ((table.metric, table.mode) != leading)
        for row in _beside(results, dataset, source, table, value, recorded(records, table, value))
    ]


def _beside(
    results: Results,
    dataset: str,
    source: published.Source,
    table: published.Table,
    value: published.Value,
    known: Recorded | None,
) -> Iterator[Beside]:
    """Ours of the same model and depth, whatever its loss; of a leaky one its honest twin too."""
    systems = results.systems(dataset)
    same = [system for system in systems if (system.model, system.depth) == (table.model, value.depth)]
    exact = [system for system in same if system.loss == table.loss]
    chosen = exact or [system for system in featured(results, dataset) if system in same] or same[:1]
    for system in chosen:
        yield _held(results, dataset, source, table, value, system, known if system == chosen[0] else None)
        found = leak.twin(results, dataset, system) if table.leaky and table.status == "measured" else None
        if found:
            yield _held(results, dataset, source, table, value, found[0], None)


def _held(
    results: Results,
    dataset: str,
    source: published.Source,
    table: published.Table,
    value: published.Value,
    system: System,
    known: Recorded | None,
) -> Beside:
    ours = numbers.score(results, dataset, system, table.metric, mode=table.mode)
    spread = results.spread(dataset, system, table.metric, table.mode)
    reasons = published.obstacles(table, results.scored(dataset, system)[0].score)
    if spread is None and not reasons:
        reasons = ("not scored",)
    mean, sd = (spread.mean, spread.sd) if spread else (value.corrected, None)
    data = numbers.data_of(dataset, system, table.metric, table.mode)
    return Beside(
        source,
        table,
        numbers.Number(f"{value.printed:g}", {**data, "statistic": "printed", "value": repr(value.printed)}),
        short(results.systems(dataset), system),
        tables.marks(results, dataset, system),
        ours,
        published.verdict(mean, sd, value.corrected, reasons=reasons, better=table.better),
        known,
        str(system),
    )
