"""What a run would ask of a machine or a cluster, before anything is submitted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framecast.cluster import slurm
from framecast.cluster.request import Request, device_mb, request
from framecast.cluster.site import refuse_flags
from framecast.errors import UserError
from framecast.upkeep.status import state

if TYPE_CHECKING:
    from framecast.cluster.journal import Phase
    from framecast.cluster.site import Site
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False


@dataclass(frozen=True)
class Planned:
    """A job that is still to be run."""

    cell: "Cell"
    phase: "Phase"
    asks: Request
    device_mb: int = 0  #: that it takes of its GPU; 0 without one, and where it is not known


def planned(grid: "Grid", site: "Site") -> list[Planned]:
    """Every train and evaluate job that is not done, with its request."""
    jobs = []
    for cell in grid.scored:
        if (found := state(grid, cell).state) == "done":
            continue
        if not cell.is_baseline and found != "trained" and not (grid.run_folder(cell) / "run.json").exists():
            jobs.append(_planned(grid, cell, "train", site))
        jobs.append(_planned(grid, cell, "evaluate", site))
    return jobs


def _planned(grid: "Grid", cell: "Cell", phase: "Phase", site: "Site") -> Planned:
    return Planned(cell, phase, request(grid, cell, phase, site), device_mb(grid, cell, phase, site))


def show(grid: "Grid", site: "Site", *, on_slurm: bool) -> None:
    """Print jobs, hours with their source, memory against the partition's limits, and what would not fit.

    Raises UserError at the end when something would not fit: no job of it would ever start; and at once for flags that
    the Slurm plugin refuses.
    """
    if on_slurm:
        refuse_flags(site)
    jobs = planned(grid, site)
    unprepared = [name for name in grid.datasets if not (grid.data_folder(name) / "manifest.json").exists()]
    if not jobs and not unprepared:
        print("nothing to do: every cell is trained and scored")
        return
    if unprepared:
        print(f"prepare here first, before anything is submitted: {', '.join(unprepared)}")
    _print_groups(jobs, site)
    trainings = [job for job in jobs if job.phase == "train"]
    known = [job.asks.hours for job in jobs if job.asks.hours is not None]
    unknown = len(jobs) - len(known)
    more = sum(job.asks.slices(site) - 1 for job in trainings)
    print(
        f"{len(jobs)} jobs ({len(trainings)} train, {len(jobs) - len(trainings)} evaluate), {more} further slices; "
        f"{sum(known):.1f} hours of one device expected" + (f", and {unknown} jobs not known" if unknown else "")
    )
    if on_slurm:
        misfits = list(_misfits(jobs, site))
        for line in misfits:
            print(f"does not fit: {line}")
        if misfits:
            raise UserError("plan: some jobs would never start; change slurm/site.yaml, or the cells in params.yaml")


def _print_groups(jobs: list[Planned], site: "Site") -> None:
    """One line for the jobs that ask for the same; seeds rarely differ."""
    header = ("phase", "cells", "jobs", "MB", "minutes", "slices", "GPUs", "GPU MB", "hours each", "source")
    groups: dict[tuple[str, ...], int] = Counter()
    for job in jobs:
        cell, asks = job.cell, job.asks
        name = cell.name if cell.is_baseline else cell.name.rsplit("/", 1)[0]
        hours = "?" if asks.hours is None else f"{asks.hours:.2g}"
        groups[
            job.phase,
            name,
            str(asks.mem_mb),
            str(asks.minutes),
            str(asks.slices(site)),
            str(asks.gpus),
            str(job.device_mb or "–"),
            hours,
            asks.source,
        ] += 1
    rows = [header, *((key[0], key[1], str(count), *key[2:]) for key, count in groups.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        print("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


def _misfits(jobs: list[Planned], site: "Site") -> Iterator[str]:
    """What the partition's limits would never let start, in words."""
    found = slurm.partitions()
    if found is None:
        yield "no Slurm controller answers, so nothing can be submitted (`framecast doctor`)"
        return
    for name, gpus in {(site.partition, True), (site.cpu_partition or site.partition, False)}:
        names = name.split(",") if name else [part.name for part in found if part.default]
        mine = [part for part in found if part.name in names]
        wanted = [job.asks for job in jobs if bool(job.asks.gpus) == gpus]
        if not wanted:
            continue
        known = sorted({part.name for part in found})
        if strangers := [one for one in names or [name] if one not in known]:
            yield f"partition {strangers[0]!r} is not one of {', '.join(known)}"
            continue
        memory, minutes = max(ask.mem_mb for ask in wanted), max(ask.minutes for ask in wanted)
        cpus, there = max(ask.cpus for ask in wanted), ",".join(dict.fromkeys(part.name for part in mine))
        limit = max((part.minutes if part.minutes is not None else float("inf")) for part in mine)
        if memory > (most := max(part.memory_mb for part in mine)):
            yield f"{memory} MB in partition {there}, whose nodes have {most} MB"
        if minutes > limit:
            yield f"{minutes} minutes in partition {there}, whose limit is {limit:.0f} (set walltime to that)"
        if cpus > (most := max(part.cpus for part in mine)):
            yield f"{cpus} CPUs in partition {there}, whose nodes have {most}"
        if gpus and not any("gpu" in part.gres for part in mine):
            yield f"a GPU in partition {there}, which has none (set gpus: 0 and device: cpu, or another partition)"
        kind = site.gpu_type
        if gpus and kind and not any(kind in part.gres for part in mine):
            yield f"a GPU of type {kind} in partition {there}, which has {mine[0].gres or 'none'}"
