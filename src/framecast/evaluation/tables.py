"""All scores together: the tables of ``reports/`` that git keeps, so that a commit shows how every number moved."""

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file

from framecast import artifacts
from framecast.errors import UserError
from framecast.evaluation.bootstrap import GROUPS, compare, spread
from framecast.study import catalogue
from framecast.study.grid import REPORTS, SCORES, TABLES

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

Row = dict[str, Any]
Group = tuple[str, str, int | None, str | None]  #: dataset, model, depth, loss: the cells that differ only in seed
IDENTITY = ("dataset", "model", "depth", "loss")
FACTS = ("split", "sequences", "causal", "source", "scale", "key")


def write_tables(grid: "Grid") -> None:
    """Write scores, horizon, comparisons, metrics and loss curves, then the manifest that dates them."""
    for old in SCORES.glob("tables-*.json"):  # it must not outlive its tables: going back would stop at it
        old.unlink()
    tabulate(grid, grid.scored, REPORTS)
    made = {name: artifacts.sha256_of(REPORTS / name) for name in TABLES}
    artifacts.write_json(grid.tables_manifest, {"key": grid.tables_key, "sha256": made})


def tabulate(grid: "Grid", cells: Sequence["Cell"], folder: Path, wanted: Iterable[str] = TABLES) -> None:
    """Write the wanted tables of these cells. Nothing is written when one of them has no score, or an altered one."""
    rows = [row for cell in cells for row in _rows(grid, cell)]
    trained = [cell for cell in cells if not cell.is_baseline]
    tables: dict[str, Callable[[], Iterable[Row]]] = {
        "scores.csv": lambda: _score_rows(rows),
        "horizon.csv": lambda: _horizon_rows(rows),
        "comparisons.csv": lambda: _comparison_rows(grid, _groups(cells)),
        "loss_curves.csv": lambda: (row for cell in trained for row in _loss_rows(grid, cell)),
    }
    for name in wanted:
        if name in tables:
            _write_csv(folder / name, list(tables[name]()))
        else:
            artifacts.write_json(folder / name, _metrics(rows))


def _rows(grid: "Grid", cell: "Cell") -> Iterator[Row]:
    """A cell's metrics, one row per mode, metric and step, with what makes each number comparable."""
    folder = grid.score_folder(cell)
    if not (folder / "score.json").exists():
        raise UserError(f"cell {cell.name}: not scored; run `framecast evaluate {cell.name}`, or `snakemake` for all")
    facts = artifacts.verify(folder / "score.json", "scores.csv", "sequences.safetensors")
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            yield {**{name: facts[name] for name in (*IDENTITY, "seed", *FACTS)}, **line}


def _group(row: Row) -> Group:
    return row["dataset"], row["model"], row["depth"], row["loss"]


def _score_rows(rows: Iterable[Row]) -> list[Row]:
    """One row per cell, mode and metric."""
    columns = (*IDENTITY, "seed", "mode", "metric", "value", *FACTS)
    return [{name: row[name] for name in columns} for row in rows if row["step"] == "all"]


def _horizon_rows(rows: Iterable[Row]) -> list[Row]:
    """Mean and standard deviation over seeds, per mode, metric and step, to nine digits: git keeps this table."""
    return [
        {**_named(group), "mode": mode, "metric": metric, "step": step, "mean": mean, "sd": sd, "seeds": len(values)}
        for (group, mode, metric, step), values in _by_seed(rows)
        if step != "all"
        for mean, sd in [map(_nine_digits, spread(values))]
    ]


def _nine_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")


def _metrics(rows: Sequence[Row]) -> dict[str, Any]:
    """dataset → model → depth → loss → metric → mean and sd: what ``dvc metrics diff`` compares.

    Where a dataset is scored in several modes, the mode stands above the metric. A metric that is not defined for these
    forecasts (a peak of 0, too few sequences) is left out: JSON has no NaN.
    """
    tree: dict[str, Any] = {}
    modes: dict[str, set[str]] = {}
    for row in rows:
        modes.setdefault(row["dataset"], set()).add(row["mode"])
    for (group, mode, metric, step), values in _by_seed(rows):
        if step == "all" and all(map(math.isfinite, values)):
            dataset, model, depth, loss = group
            levels = [dataset, model] + ([f"depth-{depth}", str(loss)] if depth is not None else [])
            levels += [mode] if len(modes[dataset]) > 1 else []
            node = tree
            for level in levels:
                node = node.setdefault(level, {})
            mean, sd = spread(values)
            node[metric] = {"mean": mean} | ({} if sd is None else {"sd": sd})
    return tree


def _by_seed(rows: Iterable[Row]) -> Iterable[tuple[tuple[Group, str, str, str], list[float]]]:
    gathered: dict[tuple[Group, str, str, str], list[float]] = {}
    for row in rows:
        about = _group(row), row["mode"], row["metric"], row["step"]
        gathered.setdefault(about, []).append(float(row["value"]))
    return gathered.items()


def _groups(cells: Iterable["Cell"]) -> dict[Group, list["Cell"]]:
    groups: dict[Group, list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.model, cell.depth, cell.loss), []).append(cell)
    return groups


def _comparison_rows(grid: "Grid", groups: dict[Group, list["Cell"]]) -> Iterator[Row]:
    """Paired bootstrap of every two groups that differ in one thing only, and each trained one with each baseline.

    In every mode of their dataset, by every metric that is compared.
    """
    scores = {group: _per_sequence(grid, cells) for group, cells in groups.items()}
    for a, b in itertools.combinations(groups, 2):
        if not _comparable(a, b):
            continue
        for mode, metric in itertools.product(grid.params.protocols(a[0]), grid.params.compared(a[0])):
            both = (scores[group][f"{mode}/{metric}"] for group in (a, b))
            better: Any = catalogue.metric_fact(metric, "better")
            together, resamples = scores[a].get(GROUPS), grid.params.evaluation.resamples
            found = compare(*both, groups=together, resamples=resamples, better=better)
            names = {"dataset": a[0], "mode": mode, "metric": metric, "a": _label(a), "b": _label(b)}
            fields = ("difference", "low", "high", "sequences", "verdict")
            yield names | {name: getattr(found, name) for name in fields}


def _comparable(a: Group, b: Group) -> bool:
    if a[0] != b[0] or (a[2] is None and b[2] is None):
        return False
    one_is_baseline = a[2] is None or b[2] is None
    return one_is_baseline or sum(x != y for x, y in zip(a[1:], b[1:], strict=True)) == 1


def _per_sequence(grid: "Grid", cells: Sequence["Cell"]) -> dict[str, np.ndarray]:
    """``mode/metric`` → every test sequence's value, (seeds, N), the mean over the horizon; and its group, (N,)."""
    stored = [load_file(grid.score_folder(cell) / "sequences.safetensors") for cell in cells]
    groups = [values.pop(GROUPS) for values in stored if GROUPS in values]
    found = {name: np.stack([values[name].mean(axis=1) for values in stored]) for name in stored[0]}
    return found | ({GROUPS: groups[0]} if groups else {})


def _loss_rows(grid: "Grid", cell: "Cell") -> Iterator[Row]:
    with (grid.run_folder(cell) / "history.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            yield {"cell": cell.name, **{name: line[name] for name in ("step", "split", "loss")}}


def _named(group: Group) -> Row:
    return dict(zip(IDENTITY, group, strict=True))


def _label(group: Group) -> str:
    _, model, depth, loss = group
    return model if depth is None else f"{model} depth-{depth} {loss}"


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    artifacts.write_text(path, text.getvalue())
