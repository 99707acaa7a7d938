"""Cells that came, went, or lie under another key; and what of their parameters and code is another.

Parameters are those that ``params.yaml`` of each side resolves to as today's code reads it, every default written out:
a default that the code of then did not have stands on both sides as it is today. Code is what a cell's key hashes: the
modules behind it, by today's imports, without comments and docstrings. A key also hashes what the user's own raw files
hold, of which git knows nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from framecast.study import catalogue, checkout, source
from framecast.study.grid import CELL, Cell, Grid
from framecast.study.mistakes import as_tree
from framecast.upkeep import history
from framecast.upkeep.diff.sides import Side
from framecast.upkeep.diff.words import plain
from framecast.upkeep.status import differences

AFFECTS_NUMBERS = False


@dataclass(frozen=True)
class Cause:
    """A cell whose key is another, or is on one side alone.

    ``parameters`` and ``code`` are what changed in them, None where that cannot be told.
    """

    cell: Cell
    before: str | None  #: its key
    after: str | None
    parameters: tuple[str, ...] | None = None
    code: tuple[str, ...] | None = None

    @property
    def state(self) -> str:
        """added, removed or changed."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def causes(before: Side, after: Side, cells: frozenset[Cell] | None = None) -> list[Cause]:
    """Every cell and baseline whose key differs, in the order of the newer table, then those that are gone."""
    code = _Code(before, after)
    planned = [frozenset(side.grid.scored) if side.grid else frozenset() for side in (before, after)]
    found = []
    for cell in dict.fromkeys((*after.keys, *before.keys)):
        old, new = before.keys.get(cell), after.keys.get(cell)
        if old == new or (cells is not None and cell not in cells):
            continue
        if not (old and new):
            found.append(Cause(cell, old, new))
            continue
        both = cell in planned[0] and cell in planned[1]
        parameters = _parameters(before.grid, after.grid, cell) if both else None
        found.append(Cause(cell, old, new, parameters, code.of(cell) if cell in planned[1] else None))
    return found


def unknown(before: Side, after: Side) -> list[str]:
    """What cannot be told of parameters and code, and why: a line each."""
    lines = [
        f"{side.name}: its parameters cannot be read by today's code, so nothing is told of what changed in them: "
        f"{side.unread}"
        for side in (before, after)
        if side.unread
    ]
    lines += [
        f"{side.name}: this repository does not know the commit of its code, so nothing is told of what changed in it"
        for side in (before, after)
        if not side.code_is_known
    ]
    return lines


def _parameters(before: Grid | None, after: Grid | None, cell: Cell) -> tuple[str, ...] | None:
    """``dataset.train 1600 → 800`` for each that differs; None where a side's study cannot be read."""
    if before is None or after is None:
        return None
    old, new = ({**grid.parameters(cell), "evaluation": _measures(grid, cell.dataset)} for grid in (before, after))
    told = [*differences(old, new)]
    if before.params.scale != after.params.scale:
        told.append(f"scale {before.params.scale} → {after.params.scale}")
    return tuple(plain(change) for change in told)


def _measures(grid: Grid, dataset: str) -> dict[str, Any]:
    """What of the evaluation section enters the key of a score on this dataset."""
    told = as_tree(grid.params.evaluation)
    del told["resamples"]
    return {**told, "protocols": dict(grid.params.protocols(dataset)), "compared": list(grid.params.compared(dataset))}


class _Code:
    """The modules of ours whose parsed source differs between two sides."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self.after_is_on_disk = after.code is None and after.code_is_known
        self.known = before.code is not None and (after.code is not None or self.after_is_on_disk)
        self._differ: dict[str, bool] = {}

    @cached_property
    def paths(self) -> dict[str, str]:
        """Module, without ``framecast.``, → its file, of every file that differs, be it by a comment alone."""
        assert self.before.code is not None
        changed = history.changed(self.before.code, self.after.code, checkout.SOURCE.as_posix())
        return {_module(path): path for path in changed if path.endswith(".py")}

    @cached_property
    def sources(self) -> dict[str, tuple[bytes | None, bytes | None]]:
        """Module → its source before and after."""
        assert self.before.code is not None
        old = history.contents((self.before.code, path) for path in self.paths.values())
        if self.after.code is None:
            new = [Path(path).read_bytes() if Path(path).is_file() else None for path in self.paths.values()]
        else:
            new = history.contents((self.after.code, path) for path in self.paths.values())
        return dict(zip(self.paths, zip(old, new, strict=True), strict=True))

    def differs(self, module: str) -> bool:
        """Whether the parsed source of a module is another. Remembered: parsing takes its time."""
        if module not in self._differ:
            old, new = self.sources[module]
            self._differ[module] = _hash(old) != _hash(new)
        return self._differ[module]

    def of(self, cell: Cell) -> tuple[str, ...] | None:
        """The changed modules behind a cell's scores, as paths; None where that cannot be told."""
        if not self.known or self.after.grid is None:
            return None
        behind = catalogue.closure(*_behind(self.after.grid, cell))
        return tuple(sorted(self._shown(module) for module in behind & self.paths.keys() if self.differs(module)))

    def _shown(self, module: str) -> str:
        return Path(self.paths[module]).relative_to(checkout.SOURCE).as_posix()


def _behind(grid: Grid, cell: Cell) -> list[str]:
    """The modules whose closure a cell's keys hash."""
    metrics = {f"metrics.{catalogue.metrics()[metric][0]}" for metric in grid.params.evaluation.metrics}
    made = ["evaluation.evaluate", f"data.{grid.params.datasets[cell.dataset].kind}", f"models.{grid.kind(cell)}"]
    if not cell.is_baseline:
        made += ["training.cell", *(f"losses.{term}" for term in grid.params.losses[str(cell.loss)])]
    return [*made, *sorted(metrics)]


def _module(path: str) -> str:
    parts = Path(path).relative_to(checkout.SOURCE).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _hash(text: bytes | None) -> str:
    """Of the parsed source; of the text itself where Python of today does not parse it."""
    if text is None:
        return ""
    try:
        return source.of(text.decode()).hash
    except (SyntaxError, ValueError):
        return repr(text)


def grouped(found: Iterable[Cause]) -> list[tuple[Cause, list[Cell]]]:
    """Cells with the same state, parameters and code together, each group under its first."""
    groups: dict[tuple[Any, ...], list[Cause]] = {}
    for one in found:
        groups.setdefault((one.state, one.parameters, one.code), []).append(one)
    return [(group[0], [one.cell for one in group]) for group in groups.values()]


def shared(found: Iterable[Cause]) -> tuple[str, ...]:
    """What changed in the parameters of every cell whose key is another; nothing where only one group of them did."""
    groups = {cause.parameters or () for cause in found if cause.state == "changed"}
    return tuple(line for line in min(groups) if all(line in group for group in groups)) if len(groups) > 1 else ()


def named(cells: Iterable[Cell]) -> list[str]:
    """Cells as people read them: those that differ only in depth and seed as one.

    >>> named([Cell("stocks", "lstm", depth, "mse", seed) for depth in (1, 2) for seed in (1, 3)])
    ['stocks/lstm/depth-1,2/mse/seed-1,3']
    """
    seeds: dict[Cell, list[int | None]] = {}
    for cell in cells:
        seeds.setdefault(replace(cell, seed=None), []).append(cell.seed)
    depths: dict[tuple[Cell, tuple[int | None, ...]], list[int | None]] = {}
    for cell, found in seeds.items():
        depths.setdefault((replace(cell, depth=None), tuple(found)), []).append(cell.depth)
    several = ((cell, {"depth": _listed(at), "seed": _listed(found)}) for (cell, found), at in depths.items())
    return [CELL.format_map({**vars(cell), **axes}) if cell.loss else cell.name for cell, axes in several]


def _listed(numbers: Iterable[int | None]) -> str:
    return ",".join(map(str, numbers))
