"""Everything that was logged about one cell, in one place: its own logs, Slurm's, and how its attempts ended.

Logs are shown under the cell's present key, which is what the next run would go on with. Long ones are cut to their
last lines; their paths are there to read the rest.
"""

import re
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.cluster.journal import Attempt, Phase, explained

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False
LOGS = Path("logs")
SLURM_LOGS = Path(".snakemake/slurm_logs")  #: where the executor keeps what a job printed, mostly of failed ones
LAST_LINES = 200
LONGEST = 2000  #: characters of a line that are shown

#: What would make a terminal do more than print: logs hold whatever a program has said.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show(grid: "Grid", cell: "Cell") -> None:
    """Print the logs of a cell, the newest of each kind last, then a table of its attempts.

    Without any, one line that says so and what would make one.
    """
    phases = _phases(grid, cell)
    logs = [path for phase, key in phases for path in _paths(phase, cell, key)]
    made = [(phase, attempt) for phase, _ in phases for attempt in explained(grid, cell, phase)]
    if not logs and not made:
        keys = " or ".join(f"{phase} key {key}" for phase, key in phases)
        earlier = sum(len([*(LOGS / phase / cell.name).glob("*.log")]) for phase, _ in phases)
        others = f" ({earlier} logs of other keys are in {LOGS}/*/{cell.name})" if earlier else ""
        print(f"{cell.name}: nothing was logged yet under {keys}{others}; `snakemake` runs it and keeps its logs")
        return
    for path in logs:
        _print_log(path)
    if made:
        _print_attempts(made)
    else:
        print(f"{cell.name}: no attempt was recorded")


def _phases(grid: "Grid", cell: "Cell") -> list[tuple[Phase, str]]:
    trained: list[tuple[Phase, str]] = [] if cell.is_baseline else [("train", grid.run_key(cell))]
    return [*trained, ("evaluate", grid.score_key(cell))]


# --- logs -------------------------------------------------------------------------------------------


def _paths(phase: Phase, cell: "Cell", key: str) -> Iterator[Path]:
    """The log that the rule keeps, then what Slurm kept of its jobs, oldest first."""
    if (own := LOGS / phase / cell.name / f"{key}.log").is_file():
        yield own
    found = {*_own_jobs(phase, cell, key), *_shared_jobs(phase, cell, key)}
    yield from sorted(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.stem)])


def _own_jobs(phase: Phase, cell: "Cell", key: str) -> Iterator[Path]:
    """``rule_<rule>/<wildcards>/<job>.log``: the executor joins a job's wildcards with underscores."""
    rule = "evaluate_baseline" if cell.is_baseline else phase
    values = (cell.dataset, cell.model, cell.depth, cell.loss, cell.seed, key)
    wildcards = "_".join(str(value) for value in values if value is not None).replace("/", "_")
    return (SLURM_LOGS / f"rule_{rule}" / wildcards).glob("*.log")


def _shared_jobs(phase: Phase, cell: "Cell", key: str) -> Iterator[Path]:
    """Logs of arrays and groups carry no wildcards in their names; they are a cell's when they speak of its log."""
    own = str(LOGS / phase / cell.name / f"{key}.log").encode()
    for path in SLURM_LOGS.glob("*/*.log"):
        try:
            if own in path.read_bytes():
                yield path
        except OSError:
            continue


def _print_log(path: Path) -> None:
    last: deque[str] = deque(maxlen=LAST_LINES)
    count = 0
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:  # of what was drawn over itself, such as a progress bar, only the last state is shown
                count += 1
                last.append(CONTROL.sub("", line.rstrip("\r\n").rsplit("\r", 1)[-1])[:LONGEST])
    except OSError as error:
        print(f"==> {path}: cannot be read: {(error.strerror or '').lower()}\n")
        return
    shown = f"the last {LAST_LINES} of {count} lines" if count > LAST_LINES else f"{count} lines"
    print(f"==> {path} ({shown if count else 'empty'})")
    print("\n".join(last), end="\n\n" if last else "\n")


# --- attempts ---------------------------------------------------------------------------------------


def _print_attempts(made: list[tuple[Phase, Attempt]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = ("phase", "attempt", "job", "host", "begun", "seconds", "step", "peak MB of asked", "ending")
    table = Table(*columns, box=None, header_style="bold")
    for phase, attempt in made:
        table.add_row(*map(Text, (phase, *_row(attempt))))
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)


def _row(attempt: Attempt) -> tuple[str, ...]:
    cause = attempt.cause if attempt.cause.startswith(attempt.ending) else f"{attempt.ending}: {attempt.cause}"
    return (
        str(attempt.number),
        attempt.job or "-",
        attempt.host,
        f"{datetime.fromtimestamp(attempt.begun):%Y-%m-%d %H:%M:%S}",
        f"{attempt.seconds:.0f}",
        f"{attempt.step}/{attempt.steps}" if attempt.steps else "-",
        f"{attempt.peak_mb:.0f} of {attempt.asked_mb or '-'}",
        CONTROL.sub("", cause),
    )
