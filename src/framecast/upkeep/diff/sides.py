"""A side of a comparison: a commit, the working tree, or a record; its tables as git keeps them, and what made them.

    HEAD~3, main, v1.0            the tables in reports/ of that commit
    reports/records/STUDY-SCALE   a record as it lies on disk
    main:reports/records/…        a record as a commit keeps it

Tables are older than the commit that holds them whenever later commits did not touch them. What is said of parameters
and code is therefore that of the commit that last changed ``scores.csv``, and of the files on disk where the tables
on disk are not those of HEAD.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from framecast import artifacts, plain_yaml
from framecast.errors import UserError
from framecast.results import System
from framecast.results.records import Facts
from framecast.study import reading
from framecast.study.grid import REPORTS, Cell, Grid
from framecast.study.mistakes import Wrong, unknown, validated
from framecast.upkeep import history
from framecast.upkeep.diff.words import plain
from framecast.upkeep.history import Commit

AFFECTS_NUMBERS = False
NEEDED = ("dataset", "model", "depth", "loss", "seed", "metric", "value", "key")
FACTS = ("split", "sequences", "causal", "source", "scale")
ONLY_MODE = "free-running"  #: the mode of tables from before there were others
NAME = re.compile(r"\w+([-.]\w+)*", re.ASCII)
KEY = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Row:
    """One number of ``scores.csv``: a cell's score by a metric in a mode, its key, and what makes it comparable."""

    cell: Cell
    mode: str
    metric: str
    value: float
    key: str
    facts: tuple[str, ...]  #: in the order of FACTS, empty where the table does not tell

    @property
    def system(self) -> System:
        """The cell without its dataset and seed."""
        return System(self.cell.model, self.cell.loss, self.cell.depth)


@dataclass(frozen=True)
class Finding:
    """A paired comparison of two systems at one commit: a − b, its 95 % interval, and the verdict."""

    difference: float
    low: float
    high: float
    verdict: str

    @property
    def is_defined(self) -> bool:
        """Whether the metric is defined for both: of what is not, nobody is better."""
        return not math.isnan(self.difference)


Pair = tuple[str, str, str, str, str]  #: dataset, mode, metric, a, b


@dataclass(frozen=True)
class Side:
    """What there is to compare. ``name`` is what was typed, as text that any terminal may print."""

    name: str
    commit: Commit | None  #: None for what lies on disk
    tables: Commit | None  #: the commit that last changed the tables; None where they are on disk alone
    rows: tuple[Row, ...]
    findings: dict[Pair, Finding]
    params: bytes | None  #: params.yaml of the tables' making
    params_name: str
    primaries: tuple[str, ...] = ()  #: a record's own primary metrics
    code: Commit | None = None  #: whose code made the tables; None where that is what is on disk, or not known
    code_is_known: bool = True

    @cached_property
    def keys(self) -> dict[Cell, str]:
        """Every cell and baseline with its key, in the order of the table."""
        return {row.cell: row.key for row in self.rows}

    @cached_property
    def scales(self) -> tuple[str, ...]:
        """The scales that the table names; one, unless somebody mixed two."""
        return tuple(dict.fromkeys(row.facts[FACTS.index("scale")] for row in self.rows))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the table, in its order."""
        return tuple(dict.fromkeys(row.metric for row in self.rows))

    @cached_property
    def _read(self) -> "Grid | str":
        if self.params is None:
            return f"{self.params_name}: not found"
        try:
            return Grid(reading.resolve(plain_yaml.parsed(self.params, self.params_name), self.params_name))
        except UserError as error:
            return str(error)

    @property
    def grid(self) -> Grid | None:
        """The study that made the tables as today's code reads it; None where it cannot."""
        return self._read if isinstance(self._read, Grid) else None

    @property
    def unread(self) -> str:
        """Why today's code cannot read the parameters; empty where it can."""
        return plain(self._read) if isinstance(self._read, str) else ""


def sides(named: Iterable[str]) -> tuple[Side, Side]:
    """The two sides of a comparison, the older one first, from none, one or two names.

    Without a second name: a revision beside the working tree, a record's folder at HEAD beside the same on disk.

    Raises UserError, one line, for a name that is neither, and for tables that are not there or are damaged.
    """
    match tuple(named):
        case ():
            return at_commit("HEAD"), on_disk()
        case (one,) if _is_folder(one):
            return recorded(f"HEAD:{one}"), recorded(one)
        case (one,):
            return side(one), on_disk()
        case (one, other):
            return side(one), side(other)
        case more:
            raise UserError(f"found {len(more)} commits or records; allowed: two, one, or none")


def side(name: str) -> Side:
    """The side that a person named."""
    return recorded(name) if ":" in name or _is_folder(name) else at_commit(name)


def at_commit(revision: str) -> Side:
    """The tables of a commit."""
    commit = _commit(revision)
    scores = history.read(commit, str(REPORTS / "scores.csv"))
    if scores is None:
        raise UserError(
            f"{plain(revision)} ({commit.short}): no reports/scores.csv at that commit; "
            "`git log --format='%h %s' -- reports/scores.csv` lists those that changed it"
        )
    tables = _found(history.last_change(commit, str(REPORTS / "scores.csv")), commit)
    return _tables(plain(revision), commit, tables, scores, history.read(commit, str(REPORTS / "comparisons.csv")))


def on_disk() -> Side:
    """The tables of the working tree. Where they are those of HEAD, so is what made them."""
    path, head = REPORTS / "scores.csv", history.commit("HEAD")
    if not path.is_file():
        raise UserError(f"working tree: no {path}; `git checkout -- {REPORTS}` brings it back, or run the study")
    scores, comparisons = path.read_bytes(), _bytes(REPORTS / "comparisons.csv")
    tables = None
    if head and _same_text(scores, history.read(head, str(path))):
        tables = _found(history.last_change(head, str(path)), head)
    return _tables("working tree", None, tables, scores, comparisons)


def recorded(name: str) -> Side:
    """A record, on disk (``FOLDER``) or as a commit keeps it (``REV:FOLDER``)."""
    revision, _, folder = name.rpartition(":")
    commit = _commit(revision) if revision else None
    files = {file: _recorded_file(commit, folder, file) for file in ("record.json", "scores.csv", "comparisons.csv")}
    shown = plain(name)
    facts = _facts(f"{shown}/record.json", files["record.json"])
    for file in ("scores.csv", "comparisons.csv"):
        found = artifacts.sha256(files[file].replace(b"\r\n", b"\n"))
        if found != (expected := facts.sha256.get(file)):
            raise UserError(f"{shown}/{file}: found sha256 {found}, expected {expected}; record the study again")
    code = _known(facts.commit.hash)
    return Side(
        name=shown,
        commit=commit,
        tables=code,
        rows=tuple(_rows(files["scores.csv"], f"{shown}/scores.csv")),
        findings=_findings(files["comparisons.csv"], f"{shown}/comparisons.csv"),
        params=facts.params.encode(),
        params_name=f"{shown}/record.json: params",
        primaries=tuple(dict.fromkeys(dataset.primary_metric for dataset in facts.datasets.values())),
        code=code,
        code_is_known=code is not None,
    )


def _tables(name: str, commit: Commit | None, tables: Commit | None, scores: bytes, comparisons: bytes | None) -> Side:
    where = f"{name}:" if commit else ""
    params = history.read(tables, str(reading.PARAMS)) if tables else _bytes(reading.PARAMS)
    return Side(
        name=name,
        commit=commit,
        tables=tables,
        rows=tuple(_rows(scores, f"{where}reports/scores.csv")),
        findings=_findings(comparisons or b"", f"{where}reports/comparisons.csv"),
        params=params,
        params_name=f"{tables.short}:params.yaml" if tables else "params.yaml",
        code=tables,
    )


# --- files ----------------------------------------------------------------------------------------


def _commit(revision: str) -> Commit:
    if (found := history.commit(revision)) is None:
        raise UserError(
            f"revision: found '{plain(revision)}'; allowed: a commit, branch or tag of git's, or a record's folder"
        )
    return found


def _known(digits: str) -> Commit | None:
    """The commit of a record, where this is a repository that has it."""
    try:
        return history.commit(digits) if re.fullmatch("[0-9a-f]{40}", digits) else None
    except UserError:
        return None


def _found(commit: Commit | None, otherwise: Commit) -> Commit:
    """Where history is cut off (a shallow clone), the oldest commit stands for what came before."""
    return commit or otherwise


def _is_folder(name: str) -> bool:
    return "\0" not in name and (Path(name) / "record.json").is_file()


def _recorded_file(commit: Commit | None, folder: str, file: str) -> bytes:
    found = history.read(commit, f"{folder}/{file}") if commit else _bytes(Path(folder) / file)
    if found is None:
        at = f" at {commit.short}" if commit else ""
        raise UserError(f"{plain(folder)}/{file}: no such file{at}; allowed: a folder that `framecast record` wrote")
    return found


def _facts(name: str, content: bytes) -> Facts:
    try:
        tree = json.loads(content)
        seal = tree.pop("seal", None) if isinstance(tree, dict) else None
        if seal is not None and seal != artifacts.sha256(artifacts.canonical(tree)):
            raise UserError(f"{name}: its content was edited after it was recorded; record the study again")
        return validated(Facts, tree, ())
    except ValueError as error:
        raise UserError(f"{name}: expected JSON, found {plain(str(error))}; record the study again") from None
    except Wrong as wrong:
        raise UserError(wrong.line(name)) from None


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _same_text(one: bytes, other: bytes | None) -> bool:
    """Git or an editor may have ended lines otherwise on disk."""
    return other is not None and one.replace(b"\r\n", b"\n") == other.replace(b"\r\n", b"\n")


# --- tables ---------------------------------------------------------------------------------------


def _rows(content: bytes, name: str) -> Iterator[Row]:
    """The rows of ``scores.csv``, whatever the order of its columns. Raises UserError with the line that is damaged."""
    met: set[tuple[Cell, str, str]] = set()
    keys: dict[Cell, str] = {}
    for line, told in _lines(content, name, NEEDED):
        where = f"{name}: line {line}"
        cell = Cell(
            _name(told, "dataset", where),
            _name(told, "model", where),
            _whole(told, "depth", where),
            _name(told, "loss", where) if told["loss"] else None,
            _whole(told, "seed", where),
        )
        if len({cell.depth is None, cell.loss is None, cell.seed is None}) > 1:
            raise UserError(f"{where}: found some of depth, loss and seed; allowed: all of them, or none (a baseline)")
        mode = _name(told, "mode", where) if "mode" in told else ONLY_MODE
        metric, key = _name(told, "metric", where), told["key"]
        if not KEY.fullmatch(key) or keys.setdefault(cell, key) != key:
            raise UserError(f"{where}: key: found '{plain(key)}'; allowed: eight hex digits, for every row of a cell")
        if (cell, mode, metric) in met:
            raise UserError(f"{where}: found {cell.name} with {metric}, {mode} for the second time; allowed: once")
        met.add((cell, mode, metric))
        facts = tuple(_name(told, fact, where) if told.get(fact) else "" for fact in FACTS)
        yield Row(cell, mode, metric, _number(told, "value", where), key, facts)
    if not met:
        raise UserError(f"{name}: found no score; allowed: a row for every cell, mode and metric")


def _findings(content: bytes, name: str) -> dict[Pair, Finding]:
    """The rows of ``comparisons.csv``; a study without a single comparison leaves it empty."""
    numbers = ("difference", "low", "high")
    found: dict[Pair, Finding] = {}
    for line, told in _lines(content, name, ("dataset", "metric", "a", "b", *numbers, "verdict")) if content else ():
        where = f"{name}: line {line}"
        for side in ("a", "b", "verdict"):
            if not all(NAME.fullmatch(word) for word in told[side].split(" ")):
                raise UserError(f"{where}: {side}: found '{plain(told[side])}'; allowed: plain words")
        mode = _name(told, "mode", where) if "mode" in told else ONLY_MODE
        pair = _name(told, "dataset", where), mode, _name(told, "metric", where), told["a"], told["b"]
        difference, low, high = (_number(told, number, where) for number in numbers)
        found[pair] = Finding(difference, low, high, told["verdict"])
    return found


def _lines(content: bytes, name: str, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        reader = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
        columns = [plain(column) for column in reader.fieldnames or ()]
        if absent := [column for column in needed if column not in columns]:
            raise UserError(f"{name}: column {', '.join(absent)} is missing, found {', '.join(columns) or 'nothing'}")
        for told in reader:
            if None in told or None in told.values():
                raise UserError(f"{name}: line {reader.line_num}: found another number of fields than columns")
            yield reader.line_num, told
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name}: not readable: {plain(str(error))}; allowed: CSV in UTF-8") from None


def _name(told: dict[str, str], column: str, where: str) -> str:
    if not NAME.fullmatch(told[column]):
        raise UserError(f"{where}: {column}: found '{plain(told[column])}'; allowed: letters, digits, _ and -")
    return told[column]


def _whole(told: dict[str, str], column: str, where: str) -> int | None:
    if not told[column]:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", told[column]):
        raise UserError(f"{where}: {column}: found '{plain(told[column])}'; allowed: a whole number")
    return int(told[column])


def _number(told: dict[str, str], column: str, where: str) -> float:
    """A float as Python prints it; ``nan`` and empty are a metric that is not defined there."""
    try:
        return float(told[column]) if told[column] else math.nan
    except ValueError:
        raise UserError(f"{where}: {column}: found '{plain(told[column])}'; allowed: a number") from None


# --- what is asked for ------------------------------------------------------------------------------


def metrics_of(before: Side, after: Side, named: Iterable[str]) -> tuple[str, ...]:
    """The metrics that were named, ``all`` being every one; without a name, the primary one.

    Raises UserError for one that neither table holds, or that no file of ``metrics/`` defines any more.
    """
    from framecast.study import catalogue

    there = tuple(dict.fromkeys((*after.metrics, *before.metrics)))
    defined = tuple(metric for metric in there if metric in catalogue.metrics())
    wanted = tuple(dict.fromkeys(named))
    if wanted == ("all",):
        return defined
    for metric in wanted:
        if metric not in defined:
            raise UserError(f"metric: {unknown(plain(metric), defined)}")
    return wanted or _primary(before, after, defined)


def _primary(before: Side, after: Side, defined: tuple[str, ...]) -> tuple[str, ...]:
    for one in (after, before):
        primaries = one.primaries or ((one.grid.params.evaluation.primary,) if one.grid else ())
        if found := tuple(metric for metric in primaries if metric in defined):
            return found
    raise UserError(
        "metric: neither side says which one is the primary one; "
        f"name one with --metric, of {', '.join(defined) or 'none'}"
    )


def cells_of(before: Side, after: Side, study: str) -> frozenset[Cell]:
    """The cells of a study at either side, and the baselines on its datasets. UserError where neither has it."""
    grids = [one.grid for one in (before, after) if one.grid]
    if not grids:
        raise UserError(f"--study: of neither side can params.yaml be read: {after.unread}")
    known = dict.fromkeys(name for grid in grids for name in grid.params.studies)
    if study not in known:
        raise UserError(f"--study: {unknown(plain(study), known)}")
    return frozenset(cell for grid in grids if study in grid.params.studies for cell in grid.study_scored(study))
