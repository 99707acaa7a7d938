"""What the jobs used of what they asked for, from the records of their attempts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from framecast.cluster.journal import Attempt, Phase, explained

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False
POOR = 0.25  #: below this share of a request, less can be asked for


def show(grid: "Grid") -> None:
    """Print, for the last attempt at each cell, CPU, memory, time and GPU used against asked; then what to change."""
    rows = [("phase", "cell", "ended", "CPU", "memory", "time", "GPU busy", "GPU memory")]
    poor: dict[str, int] = {}
    for phase, cell, last in _lasts(grid):
        shares = used(last)
        for name, share in shares.items():
            if last.outcome == "done" and share is not None and share < POOR:
                poor[name] = poor.get(name, 0) + 1
        cpu, memory, time = (_percent(shares[name]) for name in ("CPU", "memory", "time"))
        asked = f" of {last.asked_mb} MB" if last.asked_mb else f" {last.peak_mb:.0f} MB"
        busy = f"{last.gpu_busy:.0%}" if last.device.startswith("cuda") else "–"
        held = f"{last.gpu_peak_mb:.0f} MB" if last.device.startswith("cuda") else "–"
        rows.append((phase, cell.name, last.ending, cpu, memory + asked, f"{time} {last.seconds:.0f} s", busy, held))
    if len(rows) == 1:
        print("no attempt is recorded: nothing has run here yet")
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    for name, count in poor.items():
        print(f"{count} jobs used less than {POOR:.0%} of the {name} that they asked for")


def used(run: Attempt) -> dict[str, float | None]:
    """Shares of what was asked for, 1 being all of it; None outside of a job."""
    asked_seconds = 60 * run.asked_minutes
    cpu = run.cpu_seconds / (run.seconds * run.asked_cpus) if run.asked_cpus and run.seconds > 0 else None
    return {
        "CPU": cpu,
        "memory": run.peak_mb / run.asked_mb if run.asked_mb else None,
        "time": run.seconds / asked_seconds if asked_seconds else None,
    }


def _lasts(grid: "Grid") -> "Iterator[tuple[Phase, Cell, Attempt]]":
    phases: tuple[Phase, ...] = ("train", "evaluate")
    for phase in phases:
        for cell in grid.scored if phase == "evaluate" else grid.cells:
            if found := explained(grid, cell, phase):
                yield phase, cell, found[-1]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
