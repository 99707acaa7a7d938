"""What state each cell of the grid is in, as its files, its attempts and Slurm tell; and what to do about it."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.artifacts import read_json
from framecast.cluster import journal, site, slurm
from framecast.errors import UserError
from framecast.study.grid import Cell, Grid

if TYPE_CHECKING:
    from framecast.cluster.journal import Attempt, Phase

AFFECTS_NUMBERS = False
WATCH_SECONDS = 10
LONG = ("done", "never run")  #: of these only the number is told, unless every cell is asked for
STATES = ("done", "running", "waiting", "trained", "unfinished", "failed", "stale", "never run")


@dataclass(frozen=True)
class State:
    """A cell's state, what is known about it, and the one command that mends it (empty where none is needed)."""

    cell: Cell
    state: str  #: one of STATES; "trained" is not scored yet, "unfinished" has a checkpoint that waits
    detail: str = ""
    command: str = ""


def states(grid: Grid) -> Iterator[State]:
    """The state of every cell and baseline, in the order of the grid."""
    queued = _queued()
    for cell in grid.scored:
        yield state(grid, cell, queued)


def state(grid: Grid, cell: Cell, queued: dict[str, slurm.Job] | None = None) -> State:
    """What state one cell is in; ``queued`` holds Slurm's jobs by their comment."""
    if (grid.score_folder(cell) / "score.json").exists():
        return State(cell, "done")
    trained = not cell.is_baseline and (grid.run_folder(cell) / "run.json").exists()
    phase: Phase = "evaluate" if trained or cell.is_baseline else "train"
    last = journal.last(grid, cell, phase)
    if last and last.alive:
        return State(cell, "running", _progress(last))
    if queued and (job := queued.get(_comment(grid, cell, phase))):
        return State(cell, "waiting", f"job {job.id} is {job.state.lower()}" + _reason(job))
    if last and last.outcome != "done":
        last = journal.explained(grid, cell, phase)[-1]
        if last.ending != "stopped":
            return State(cell, "failed", f"{phase}, attempt {last.number}: {last.cause}", _mend(cell, last))
    if trained:
        return State(cell, "trained", "not scored yet", f"framecast evaluate {cell.name}")
    if not cell.is_baseline and (saved := _saved(grid, cell)):
        return State(cell, "unfinished", f"saved at step {saved}", f"framecast train {cell.name}")
    if why := _why_stale(grid, cell):
        return State(cell, "stale", why, "snakemake")
    return State(cell, "never run", "", "snakemake")


def show(grid: Grid, *, everything: bool = False) -> None:
    """Print what is noteworthy, or every cell, then a count of the states."""
    found = list(states(grid))
    told = [one for one in found if everything or one.state not in LONG]
    width = max((len(one.cell.name) for one in told), default=0)
    for one in told:
        line = f"{one.cell.name:{width}}  {one.state:10}  {one.detail}"
        print(line.rstrip() + (f"  → {one.command}" if one.command and one.state == "failed" else ""))
    print(summary(grid, found))


def summary(grid: Grid, found: Iterable[State]) -> str:
    """How many cells are in which state, in one line."""
    counts = Counter(one.state for one in found)
    told = ", ".join(f"{state} {counts[state]}" for state in STATES if counts[state])
    return f"{grid.count} cells at scale {grid.params.scale}: {told}"


def watch(grid: Grid, *, everything: bool = False) -> None:
    """Show again and again until interrupted, or until every cell is done."""
    try:
        while Path.cwd():  # an error where the folder was removed: nothing in it will ever be done
            if sys.stdout.isatty():
                print("\033[2J\033[H", end="")
            show(grid, everything=everything)
            if all((grid.score_folder(cell) / "score.json").exists() for cell in grid.scored):
                return
            sys.stdout.flush()
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _progress(last: "Attempt") -> str:
    where = f"job {last.job} on {last.host}" if last.job else f"process {last.pid} on {last.host}"
    if not last.steps:
        return where
    left = f", {span((last.steps - last.step) / last.rate)} left" if last.rate else ""
    return f"step {last.step}/{last.steps}{left}, {where}"


def span(seconds: float) -> str:
    """A stretch of time in the unit that suits it.

    >>> span(85.0), span(5400.0), span(90000.0)
    ('85 s', '90 min', '25.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _mend(cell: Cell, last: "Attempt") -> str:
    """More is asked for by itself; what was lost is only run again; what failed by itself needs its log read."""
    if last.job and last.ending == "out of memory" and last.asked_mb >= (most := site.load().memory_mb):
        return f"FRAMECAST_MEMORY_MB={2 * most} snakemake --profile slurm"
    if last.ending in ("out of memory", "out of time", "lost", "cancelled", "machine lost", "requeued"):
        return "snakemake --profile slurm" if last.job else f"framecast train {cell.name}"
    return f"framecast logs {cell.name}"


def _reason(job: slurm.Job) -> str:
    return "" if job.reason in ("", "None") else f" ({job.reason})"


def _queued() -> dict[str, slurm.Job]:
    """The live Slurm jobs of this folder by their comment: rule and wildcards."""
    return {job.comment: job for job in slurm.jobs() or ()}


def _comment(grid: Grid, cell: Cell, phase: "Phase") -> str:
    """What the executor writes into a job's comment."""
    key = grid.run_key(cell) if phase == "train" else grid.score_key(cell)
    rule = "evaluate_baseline" if cell.is_baseline else phase
    values = [cell.dataset, cell.model] + (
        [] if cell.is_baseline else [str(cell.depth), str(cell.loss), str(cell.seed)]
    )
    return f"rule_{rule}_wildcards_{'_'.join([*values, key])}"


def _saved(grid: Grid, cell: Cell) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    steps = [path.name.split("-")[1] for path in grid.checkpoint_folder(cell).glob("step-*-*.safetensors")]
    return max(map(int, filter(str.isdigit, steps)), default=0)


# --- why a cell is stale ----------------------------------------------------------------------------


def _why_stale(grid: Grid, cell: Cell) -> str:
    """What differs from the newest one of its name that was made under another key; empty where none was."""
    if cell.is_baseline:
        return "made with other parameters, code or data" if _others(grid.score_folder(cell), "score.json") else ""
    if not (made := _others(grid.run_folder(cell), "run.json")):
        return "training was stopped under another key" if _others(grid.checkpoint_folder(cell), "step-*") else ""
    try:
        run = read_json(made[-1])
        changes = list(differences(run["parameters"], _plain(grid.parameters(cell))))
        if run["fingerprints"]["code"] != grid.code(cell):
            changes.append("the code that trains it")
        if not changes and run["fingerprints"]["data"] != grid.data_key(cell.dataset):
            changes.append("its data")
    except (OSError, UserError, KeyError, TypeError):
        return "made under another key"
    return f"changed: {', '.join(changes) or 'what its key is made of'}"


def _others(folder: Path, name: str) -> list[Path]:
    """Files of this name under other keys of the same cell, oldest first."""
    found = [path for path in folder.parent.glob(f"*/{name}") if path.parent != folder]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """``dataset.train 2500 → 1000`` for every value that two trees do not share; of names, what is new or gone.

    >>> list(differences({"train": 8, "metrics": ["a", "b"]}, {"train": 4, "metrics": ["b", "c"]}))
    ['train 8 → 4', 'metrics + c, − a']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        names = _new_and_gone(old, new)
        yield f"{path} {', '.join(names)}" if names else f"{path} {old} → {new}"


def _new_and_gone(old: Any, new: Any) -> list[str]:
    """Of two lists of names; nothing where they are something else, or differ in their order alone."""
    if not all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in (old, new)):
        return []
    return [f"+ {name}" for name in new if name not in old] + [f"− {name}" for name in old if name not in new]


def _plain(tree: Any) -> Any:
    """As JSON would give it back."""
    import json

    return json.loads(json.dumps(tree))
