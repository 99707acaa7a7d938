"""Numbers of the literature, and what may be said when ours stand beside them.

One YAML file per source, and ``claims.yaml`` for what they say in words (``published.claims``). A value carries two
readings: ``printed``, as the table shows it, and ``corrected``, as the author's own stored results say; where the table
is right the two agree. Ours are only ever compared under the same metric id, and always with the corrected reading.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    same system anew.
    """

    dataset: str
    depth: PositiveInt
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
    ours are then others, and no verdict is passed.
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

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know besides protocol and note, as sentences."""
        reruns = [f"{rerun:g}" for value in self.values for rerun in value.reruns]
        told = {
            "Its weights were selected on the test set, ours on a validation set.": self.selected_on == "test",
            f"Trained anew by others: {', '.join(reruns)}.": bool(reruns),
        }
        return tuple(sentence for sentence, holds in told.items() if holds)

    def value(self, dataset: str, depth: int | None) -> Value | None:
        """The entry for a data set and depth, or None where the source has none."""
        return next((value for value in self.values if (value.dataset, value.depth) == (dataset, depth)), None)


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
    """Everything we quote from one author."""

    id: str
    author: str
    work: str
    code: str
    tables: tuple[Table, ...]
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
    return source


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
