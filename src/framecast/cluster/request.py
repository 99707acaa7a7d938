"""What the job of a cell asks a cluster for, and where each number comes from.

Time: the steps that are left, by the rate that a finished run of the same cell (any seed, same kind of device) was
seen to have; else by what its network was counted to need. Memory: the highest that such a run was seen to have; else
a counted estimate. What the last attempts ended by decides what more is asked: twice the memory after each that was
out of memory, twice the time after each that was out of time. Neither ever passes the limits of ``slurm/site.yaml``.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from framecast.artifacts import read_json
from framecast.cluster.demand import demand
from framecast.cluster.journal import Attempt, Phase, attempts, explained
from framecast.errors import UserError

if TYPE_CHECKING:
    from framecast.cluster.site import Site
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False

SNAKEMAKE_MB = 400  #: of the two that stand around every job
BASE_MB = {"cpu": 900, "cuda": 5000}  #: with them, Python and PyTorch, before any tensor; CUDA brings its own context
LAUNCH_SECONDS = {"cpu": 4e-6, "cuda": 1e-5}  #: to start one operation
CPU_TERAFLOPS = 0.03  #: of one core, on these models
EFFICIENCY = 0.3  #: of the nominal speed that small recurrent networks reach
SPARE = 1.5  #: times what is expected is asked for
START_MINUTES = 5  #: to start, read the data, and write the bundle
UNIT_MB = 100


@dataclass(frozen=True)
class Request:
    """What one job asks for."""

    mem_mb: int
    minutes: int
    cpus: int
    gpus: int
    hours: float | None  #: expected until the cell is finished, over all its slices; None where nothing is known
    source: str  #: of the expectation: measured, counted or unknown

    def slices(self, site: "Site") -> int:
        """How many jobs one after the other the cell is expected to take."""
        if self.hours is None:
            return 1
        return max(1, math.ceil(self.hours * 3600 / (60 * self.minutes - site.margin)))


def request(grid: "Grid", cell: "Cell", phase: Phase, site: "Site") -> Request:
    """The request for the next attempt at a cell."""
    if cell.is_baseline:
        return Request(_rounded(2 * BASE_MB["cpu"], site), min(site.walltime, 60), 1, 0, 0.1, "a baseline")
    past = _measured(grid, cell, phase, site.device)
    seconds, source = _training(grid, cell, site, past) if phase == "train" else _scoring(grid, cell, site, past)
    seen = max((run.peak_mb for run in past), default=0.0)
    memory = SPARE * seen + SNAKEMAKE_MB if seen else _counted_mb(grid, cell, site)
    minutes = site.walltime if seconds is None else math.ceil(SPARE * seconds / 60) + START_MINUTES + site.margin // 60
    for ended in explained(grid, cell, phase):
        if ended.ending == "out of memory":
            memory = max(memory, 2 * ended.asked_mb)
        elif ended.ending == "out of time":
            minutes = max(minutes, 2 * ended.asked_minutes)
    hours = None if seconds is None else seconds / 3600
    return Request(_rounded(memory, site), min(minutes, site.walltime), site.cpus, site.gpus, hours, source)


def device_mb(grid: "Grid", cell: "Cell", phase: Phase, site: "Site") -> int:
    """What the tensors of a job take of its GPU: the most that was measured, else those of a training step, counted,
    and some to spare. 0 where nothing is known of a scoring, and without a GPU: there they are in the memory that the
    job asks for.
    """
    if cell.is_baseline or site.device == "cpu":
        return 0
    seen = max((run.gpu_peak_mb for run in _measured(grid, cell, phase, site.device)), default=0.0)
    counted = SPARE * demand(grid, cell).tensors_mb if phase == "train" and not seen else 0.0
    return math.ceil(seen or counted)


def _training(grid: "Grid", cell: "Cell", site: "Site", past: tuple[Attempt, ...]) -> tuple[float | None, str]:
    """Seconds until the last step, and how we know."""
    steps = _steps(grid, cell)
    if steps is None:
        return None, "unknown until its data is prepared"
    left = max(0, steps - max((ended.step for ended in attempts("train", cell.name, grid.run_key(cell))), default=0))
    if past:
        rate = sum(run.rate for run in past) / len(past)
        return left / rate, f"measured: {rate:.3g} steps/s on {past[0].device}"
    step = demand(grid, cell).seconds(_teraflops(site) * EFFICIENCY, LAUNCH_SECONDS[site.device])
    return left * step, f"counted: {1 / step:.3g} steps/s at {_teraflops(site) * EFFICIENCY:.2g} TFLOP/s"


def _scoring(grid: "Grid", cell: "Cell", site: "Site", past: tuple[Attempt, ...]) -> tuple[float | None, str]:
    """Seconds to score a cell: forward passes over the test split, and as long again for the metrics."""
    if past:
        longest = max(run.seconds for run in past)
        return longest, f"measured: {longest:.0f} s on {past[0].device}"
    sizes = _sizes(grid, cell)
    if sizes is None:
        return None, "unknown until its data is prepared"
    batches = sizes["test"] / grid.params.recipe(cell.model, cell.dataset).batch_size
    forward = demand(grid, cell).seconds(_teraflops(site) * EFFICIENCY, LAUNCH_SECONDS[site.device]) / 3
    return 2 * forward * batches, "counted"


def _measured(grid: "Grid", cell: "Cell", phase: Phase, device: str) -> tuple[Attempt, ...]:
    """The finished runs of a cell and of its other seeds on this kind of device."""
    return _measured_of_all_seeds(grid, replace(cell, seed=None), phase, device)


@cache
def _measured_of_all_seeds(grid: "Grid", seedless: "Cell", phase: Phase, device: str) -> tuple[Attempt, ...]:
    """Looked up once, not once for each seed: otherwise a plan grows with the square of their number."""
    found = []
    for seed in grid.params.seeds:
        other = replace(seedless, seed=seed)
        key = grid.run_key(other) if phase == "train" else grid.score_key(other)
        for run in attempts(phase, other.name, key):
            measured = run.rate > 0 if phase == "train" else run.seconds > 0
            if run.outcome == "done" and run.device.startswith(device) and measured:
                found.append(run)
    return tuple(found)


def _counted_mb(grid: "Grid", cell: "Cell", site: "Site") -> float:
    """A device of its own holds the tensors of a step; on a CPU they are the job's own memory."""
    folder = grid.data_folder(cell.dataset)
    arrays = folder / "arrays.safetensors"
    data = arrays.stat().st_size / 1e6 if arrays.exists() else 0.0
    tensors = demand(grid, cell).tensors_mb if site.device == "cpu" else 0.0
    return BASE_MB[site.device] + 2 * data + SPARE * tensors


def _steps(grid: "Grid", cell: "Cell") -> int | None:
    sizes, recipe = _sizes(grid, cell), grid.params.recipe(cell.model, cell.dataset)
    return None if sizes is None else recipe.epochs * -(-sizes["train"] // recipe.batch_size)


def _sizes(grid: "Grid", cell: "Cell") -> dict[str, int] | None:
    """Sequences per split, as the prepared data says."""
    try:
        sizes: dict[str, int] = read_json(grid.data_folder(cell.dataset) / "manifest.json")["splits"]
    except (OSError, UserError, KeyError):
        return None
    return sizes


def _teraflops(site: "Site") -> float:
    return site.teraflops if site.device == "cuda" else CPU_TERAFLOPS * site.cpus


def _rounded(memory: float | int, site: "Site") -> int:
    return min(site.memory_mb, math.ceil(memory / UNIT_MB) * UNIT_MB)
