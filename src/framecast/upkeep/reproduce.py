"""Make one cell anew, data and weights included, in a folder of its own, and hold it against what was recorded.

On the machine and versions that made it, a cell on the CPU gives the recorded bits. Elsewhere it lies some distance
away, which is set beside what another seed does to the same number. Of the workspace only ``params.yaml``, raw files
and what was recorded is read, and nothing of it is written.
"""

import contextlib
import csv
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from framecast import artifacts
from framecast.errors import UserError
from framecast.results import Spread
from framecast.study import reading
from framecast.study.grid import RAW
from framecast.upkeep.diff import causes, show, sides
from framecast.upkeep.diff.words import counted

if TYPE_CHECKING:
    import torch

    from framecast.study.grid import Cell, Grid
    from framecast.upkeep.diff.sides import Row, Side

AFFECTS_NUMBERS = False
SAME, OTHER = 0, 1  #: exit codes
HEADER = ("", "recorded", "anew", "difference", "sd of seeds")
Score = tuple[str, str]  #: mode, metric


@dataclass(frozen=True)
class Anew:
    """What was made: the score by every mode and metric, and the sha256 of the weights, None for a baseline."""

    scores: dict[Score, float]
    weights: str | None


def reproduce(grid: "Grid", cell: "Cell", *, against: str, device: "torch.device", folder: Path | None) -> int:
    """Print how the cell made anew compares with its recorded numbers; 0 for the same bits, 1 for others.

    ``against`` names a side as ``framecast diff`` does; empty, it is the tables on disk. ``folder`` is where the cell
    is made and stays, so that a long training can be gone on with; without one, it is made in a temporary folder.

    Raises UserError, before anything is made, where nothing is recorded of the cell or at another scale.
    """
    side = sides.side(against) if against else sides.on_disk()
    recorded = {(row.mode, row.metric): row for row in side.rows if row.cell == cell}
    _refuse(grid, cell, side, recorded)
    weights = _weights(grid, cell)
    with _place(folder):
        anew = _make(grid, cell, device)
    print(f"{cell.name}: recorded in {show.head(side)}")
    for line in _since(grid, cell, side, next(iter(recorded.values()))):
        print(line)
    print(f"weights: {_told(weights, anew.weights)}")
    both = [score for score in recorded if score in anew.scores]
    others = [score for score in both if not _same(recorded[score].value, anew.scores[score])]
    for line in _table(others, recorded, anew.scores, side):
        print(line)
    if alone := sorted(set(recorded) ^ set(anew.scores)):
        print(f"on one side alone: {', '.join(' '.join(score) for score in alone)}")
    print(f"numbers: {len(both) - len(others)} of {counted(len(recorded), 'number')} to the last bit")
    same_weights = weights is None or weights == anew.weights
    return SAME if same_weights and not others and not alone else OTHER


def _refuse(grid: "Grid", cell: "Cell", side: "Side", recorded: "dict[Score, Row]") -> None:
    if not recorded:
        raise UserError(f"cell {cell.name}: {side.name} has no number of it; allowed: --against a commit that has")
    scale = next(iter(recorded.values())).facts[sides.FACTS.index("scale")]
    if scale != grid.params.scale:
        raise UserError(
            f"cell {cell.name}: {side.name} has it at scale {scale}, and params.yaml is at {grid.params.scale}; "
            f"write scale: {scale}, or name another side with --against"
        )


# --- making it --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _place(folder: Path | None) -> Iterator[None]:
    """Work in a folder that has the study's parameters and its raw files."""
    params, raw = reading.PARAMS.resolve(), RAW.resolve()
    with tempfile.TemporaryDirectory(prefix="framecast-") if folder is None else contextlib.nullcontext(folder) as name:
        place = Path(name)
        (place / RAW.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(params, place / reading.PARAMS)
        if raw.exists() and not (place / RAW).exists():
            (place / RAW).symlink_to(raw)
        with contextlib.chdir(place):
            yield


def _make(grid: "Grid", cell: "Cell", device: "torch.device") -> Anew:
    """Prepare, train and score in the working folder, as the verbs of the same names do."""
    from framecast import assemble
    from framecast.cluster.journal import Asked
    from framecast.evaluation.evaluate import evaluate
    from framecast.evaluation.probe import ensure
    from framecast.training.cell import train
    from framecast.training.stopping import Stop

    if not (grid.data_folder(cell.dataset) / "manifest.json").exists():
        assemble.prepare(grid, cell.dataset)
    if not cell.is_baseline:
        train(grid, cell, stop=Stop(), device=device, asked=Asked(), admit=lambda: ensure(grid, cell))
    evaluate(grid, cell, device=device)
    with (grid.score_folder(cell) / "scores.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["step"] == "all"]
    scores = {(line["mode"], line["metric"]): float(line["value"]) for line in lines}
    return Anew(scores, _weights(grid, cell))


def _weights(grid: "Grid", cell: "Cell") -> str | None:
    """The sha256 of the weights that lie in the working folder under the cell's key; None where none do."""
    if cell.is_baseline or not (path := grid.run_folder(cell) / "run.json").exists():
        return None
    found: str = artifacts.read_json(path)["sha256"]["model.safetensors"]
    return found


# --- telling it -------------------------------------------------------------------------------------


def _since(grid: "Grid", cell: "Cell", side: "Side", row: "Row") -> Iterator[str]:
    """Under which other key it was recorded, and what of its parameters and code is another now."""
    if (key := grid.score_key(cell)) == row.key:
        return
    yield f"recorded under key {row.key}, made under {key}:"
    params = reading.PARAMS.read_bytes()
    here = replace(side, rows=(replace(row, key=key),), params=params, code=None, code_is_known=True)
    for cause in causes.causes(side, here, frozenset({cell})):
        yield from (f"  {line}" for line in show.what_changed(cause))


def _same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)


def _told(recorded: str | None, anew: str | None) -> str:
    if anew is None:
        return "a baseline has none"
    if recorded is None:
        return "none are here under this key to compare with"
    return "the same bits" if recorded == anew else f"other bits: sha256 {anew[:12]}…, here lie {recorded[:12]}…"


def _table(others: list[Score], recorded: "dict[Score, Row]", anew: dict[Score, float], side: "Side") -> Iterator[str]:
    """The numbers that differ, to as many digits as tell them apart."""
    if not others:
        return
    lines = [HEADER]
    for score in others:
        row, value = recorded[score], anew[score]
        seeds = [one.value for one in side.rows if _sibling(one, row)]
        spread = Spread.of(np.array(seeds))
        sd = f"{spread.sd:.2g}" if spread and spread.sd is not None else show.NOTHING
        lines.append((" ".join(score), f"{row.value:.8g}", f"{value:.8g}", f"{value - row.value:+.2g}", sd))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers in lines:
        told = "  ".join(f"{text:>{width}}" for text, width in zip(numbers, widths[1:], strict=True))
        yield f"  {name:{widths[0]}}  {told}"


def _sibling(one: "Row", row: "Row") -> bool:
    """The same number of the same system, whatever the seed."""
    return (one.cell.dataset, one.system, one.mode, one.metric) == (row.cell.dataset, row.system, row.mode, row.metric)
