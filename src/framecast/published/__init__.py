"""Numbers of the literature, and what may be said when ours stand beside them.

One YAML file per source, and ``claims.yaml`` for what they say in words (``published.claims``). A value carries two
readings: ``printed``, as the table shows it, and ``corrected``, as the author's own stored results say; where the table
is right the two agree. Ours are only ever compared under the same metric id, and always with the corrected reading.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from framecast import plain_yaml
from framecast.errors import UserError

FOLDER = Path(__file__).parent
CLAIMS = FOLDER / "claims.yaml"  #: of all sources; ``published.claims`` reads it
RELATIVE_TOLERANCE = 0.05

Better = Literal["lower", "higher"]
Word = Literal["reproduced", "better", "worse", "not comparable"]
Mode = Literal["free-running", "teacher-forced"]
Status = Literal["measured", "not a measurement"]
Selection = Literal["validation", "test", "last", "unknown"]

# A text is never a number, not even one that could be read as one.
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]

# Why a number of ours is not set against the literature, by where its data came from.
FOREIGN_DATA = {"bundled": "bundled data", "stand-in": "stand-in data"}


class Strict:
    """Part of a file without room for a key that nobody reads."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Value(Strict):
    """One published score.

    ``curve`` holds it per forecast step (1…K) where the source gives that, ``reruns`` what others got who trained the
    same system anew. The depth is None for a system that is not ours, and where none is given.
    """

    dataset: str
    depth: PositiveInt | None
    printed: PositiveFloat
    corrected: PositiveFloat
    curve: dict[PositiveInt, PositiveFloat] = field(default_factory=dict)
    reruns: tuple[PositiveFloat, ...] = ()


@dataclass(frozen=True)
class Table(Strict):
    """A table of a source, or a row of one: one system under one metric and protocol.

    The ``title`` of a row begins with what the source calls the system, up to the first comma. ``mode`` is how the
    forecasts were fed. ``leaky`` says that the published system saw the frames it had to forecast: only a replication
    with the same flaw is set against it. What is ``not a measurement`` is quoted and never compared. ``selected_on`` is
    the split that chose the weights; of a system that is scored on its own selection, the published number is too good.
    ``instead`` is the model of ours to look at where ``model`` was not run: near it, but never compared with the
    published number. Where ``protocol_is_published`` is false the source does not say on which sequences it measured:
    ours are then others, and no verdict is passed. ``model`` is empty for a system that is not ours, ``uncomputed``
    holds what the source prints of it by metrics that are not computed here, and ``remark`` is about this row alone.
    """

    number: str
    title: str
    model: str
    loss: str
    metric: str
    better: Better
    context: PositiveInt
    horizon: PositiveInt
    protocol: str
    note: str
    values: tuple[Value, ...]
    network: dict[str, Any] = field(default_factory=dict)  #: arguments of the model that was really trained
    data: dict[str, dict[str, Any]] = field(default_factory=dict)  #: dataset → arguments that make its protocol
    recipe: dict[str, Any] = field(default_factory=dict)  #: keys of the training section that the number is due to
    mode: Mode = "free-running"
    leaky: bool = False
    status: Status = "measured"
    selected_on: Selection = "unknown"
    instead: str = ""
    protocol_is_published: bool = True
    uncomputed: dict[str, PositiveFloat] = field(default_factory=dict)
    remark: str = ""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know besides protocol and note, as sentences."""
        reruns = [f"{rerun:g}" for value in self.values for rerun in value.reruns]
        told = {
            self.remark: bool(self.remark),
            "Its weights were selected on the test set, ours on a validation set.": self.selected_on == "test",
            f"Trained anew by others: {', '.join(reruns)}.": bool(reruns),
        }
        return tuple(sentence for sentence, holds in told.items() if holds)

    def value(self, dataset: str, depth: int | None) -> Value | None:
        """The entry for a data set and depth, or None where the source has none."""
        return next((value for value in self.values if (value.dataset, value.depth) == (dataset, depth)), None)


@dataclass(frozen=True)
class Row(Strict):
    """A row of a benchmark: a system, and its ``scores`` by the benchmark's metrics or by its own, null for none.

    The system is as the source calls it, without a comma. ``network``, ``recipe`` and ``data`` add to those of the
    benchmark. ``reruns`` are of the first score.
    """

    system: str
    scores: tuple[PositiveFloat | None, ...]
    model: str = ""
    instead: str = ""
    depth: PositiveInt | None = None
    metrics: dict[str, Better] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    reruns: tuple[PositiveFloat, ...] = ()
    uncomputed: dict[str, PositiveFloat] = field(default_factory=dict)
    selected_on: Selection | None = None


@dataclass(frozen=True)
class Benchmark(Strict):
    """A table of many systems by a few metrics on one dataset, as it is printed; what its keys mean ``Table`` says.

    ``metrics`` are the ids of its columns, each with the way that is better.
    """

    number: str
    dataset: str
    metrics: dict[str, Better]
    context: PositiveInt
    horizon: PositiveInt
    protocol: str
    note: str
    rows: tuple[Row, ...]
    loss: str = "mse"
    network: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    selected_on: Selection = "unknown"
    protocol_is_published: bool = True

    @property
    def tables(self) -> Iterator[Table]:
        """Each number of it as a table of its own. Raises ValueError for a row with too few or too many."""
        for row in self.rows:
            metrics = row.metrics or self.metrics
            if len(row.scores) != len(metrics):
                raise ValueError(
                    f"{self.number}, {row.system}: found {len(row.scores)} scores for {len(metrics)} metrics; "
                    f"write one for each of {', '.join(metrics)}, null for none"
                )
            printed = [(metric, score) for metric, score in zip(metrics, row.scores, strict=True) if score is not None]
            for at, (metric, score) in enumerate(printed):
                yield self._table(row, metric, metrics[metric], score, is_first=at == 0)

    def _table(self, row: Row, metric: str, better: Better, score: float, *, is_first: bool) -> Table:
        """A score of a row; what the row has only once goes with its first."""
        return Table(
            number=self.number,
            title=row.system,
            model=row.model,
            loss=self.loss,
            metric=metric,
            better=better,
            context=self.context,
            horizon=self.horizon,
            protocol=self.protocol,
            note=self.note,
            remark=row.note,
            instead=row.instead,
            values=(Value(self.dataset, row.depth, score, score, reruns=row.reruns if is_first else ()),),
            network={**self.network, **row.network},
            data={self.dataset: {**self.data, **row.data}},
            recipe={**self.recipe, **row.recipe},
            selected_on=row.selected_on or self.selected_on,
            protocol_is_published=self.protocol_is_published,
            uncomputed=row.uncomputed if is_first else {},
        )


@dataclass(frozen=True)
class Counterpart(Strict):
    """A figure or table of a source, and the ``figure`` of ours that answers it on some ``datasets``."""

    number: str
    title: str
    figure: str
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class BestReachable(Strict):
    """The lowest error any forecaster can have: a ``value``, or the ``baseline`` whose own score marks it."""

    dataset: str
    metric: str
    why: str
    value: NonNegativeFloat | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Discrepancy(Strict):
    """A place where a source contradicts itself, and which of our models it concerns."""

    finding: PositiveInt
    models: tuple[str, ...]
    title: str
    text: str


@dataclass(frozen=True)
class Source(Strict):
    """Everything we quote from one author; ``tables`` are those of its ``benchmarks`` too, once it is loaded."""

    id: str
    author: str
    work: str
    code: str
    tables: tuple[Table, ...] = ()
    benchmarks: tuple[Benchmark, ...] = ()
    counterparts: tuple[Counterpart, ...] = ()
    best_reachable: tuple[BestReachable, ...] = ()
    discrepancies: tuple[Discrepancy, ...] = ()

    @property
    def name(self) -> str:
        """The author as one says: the last name of the first.

        >>> [source.name for source in load_all() if source.id == "coleman"]
        ['Coleman']
        """
        return self.author.split(",")[0].split()[-1]


@dataclass(frozen=True)
class Verdict:
    """What a comparison allows us to say; ``reasons`` are empty unless it is "not comparable"."""

    word: Word
    reasons: tuple[str, ...] = ()


def files() -> tuple[Path, ...]:
    """The YAML files of the sources, sorted: whatever quotes them depends on their text."""
    return tuple(sorted(set(FOLDER.glob("*.yaml")) - {CLAIMS}))


@cache
def load_all() -> tuple[Source, ...]:
    """Every source of this folder."""
    return tuple(load(path) for path in files())


def answered(figure: str) -> dict[str, str]:
    """Dataset → what our ``figure`` of it answers in the literature: "Coleman, Figure 10"."""
    found: dict[str, dict[str, list[str]]] = {}
    for source in load_all():
        for entry in source.counterparts:
            for dataset in entry.datasets if entry.figure == figure else ():
                found.setdefault(dataset, {}).setdefault(source.name, []).append(entry.number)
    return {
        dataset: "; ".join(f"{name}, {'; '.join(numbers)}" for name, numbers in told.items())
        for dataset, told in found.items()
    }


def load(path: Path) -> Source:
    """Read and check one source.

    Raises UserError naming file, key and what was found when the file is not of the form above.
    """
    source: Source = read_as(Source, path)
    try:
        of_benchmarks = [table for benchmark in source.benchmarks for table in benchmark.tables]
    except ValueError as error:
        raise UserError(f"{path.name}: benchmarks: {error}") from None
    return replace(source, tables=(*source.tables, *of_benchmarks))


def read_as(form: Any, path: Path) -> Any:
    """A YAML file as one of our dataclasses, or a tuple of them. Raises UserError as ``load`` does."""
    try:
        return TypeAdapter(form).validate_python(plain_yaml.read(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path.name}: {key}: {first['msg']}, found {first['input']!r}") from None


def obstacles(table: Table, score: Mapping[str, Any]) -> tuple[str, ...]:
    """Why a score of ours cannot be set against a published one, by the facts in its ``score.json``.

    What was never measured, a reduced scale, data that is not the published one, a mode or lengths that we did not
    score, a model that sees what it must forecast where the published one did not (or the other way round), another
    network, loss or recipe than those that were trained, another protocol of the data, or one that nobody knows.
    """
    model, dataset = score["parameters"]["model"], score["parameters"]["dataset"]["arguments"]
    protocol, recipe = table.data.get(score["dataset"], {}), score["parameters"].get("training", {})
    ours, theirs = score["modes"].get(table.mode), {"context": table.context, "horizon": table.horizon}
    leaks = score["causal"] != "causal"
    reasons = {
        "not a measurement": table.status != "measured",
        "reduced scale": score["scale"] != "paper",
        FOREIGN_DATA.get(score["source"], ""): score["source"] in FOREIGN_DATA,
        f"{table.mode} published": ours is None,
        f"{table.context}→{table.horizon} steps published": ours not in (None, theirs),
        "leaky": leaks and not table.leaky,
        "the published system is leaky": table.leaky and not leaks,
        "trained on fewer steps": (recipe.get("horizon") or table.horizon) < table.horizon,
        "another network": any(model.get(name) != value for name, value in table.network.items()),
        "another loss": score["loss"] != table.loss,
        "another recipe": any(recipe.get(name) != value for name, value in table.recipe.items()),
        "another protocol": any(dataset.get(name) != value for name, value in protocol.items()),
        "protocol not published": not table.protocol_is_published,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def verdict(
    mean: float, sd: float | None, published: float, *, reasons: tuple[str, ...] = (), better: Better = "lower"
) -> Verdict:
    """Set our mean (± sd over seeds) against a published value of the same metric.

    Where there are ``reasons`` against it (``obstacles``), or ours is not defined, nothing is said. Otherwise
    *reproduced* means |mean − published| ≤ max(2·sd, 0.05·published): within the 95 % spread of our seeds, or within
    5 %, which is how far two evaluations of one and the same published network lie apart. Beyond that it is *better* or
    *worse*. With one seed (``sd`` None) only the 5 % counts.
    """
    if reasons:
        return Verdict("not comparable", reasons)
    if not math.isfinite(mean):
        return Verdict("not comparable", ("not defined",))
    if abs(mean - published) <= max(2 * (sd or 0.0), RELATIVE_TOLERANCE * abs(published)):
        return Verdict("reproduced")
    return Verdict("better" if (mean < published) == (better == "lower") else "worse")
