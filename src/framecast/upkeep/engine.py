"""What the rules ask: the files that a job reads, the resources that it wants, and whether Snakemake may start at all.

Snakemake pays for every file, function and resource that it is told of, a grid of 10 000 cells 10 000 times. So a rule
names no more than it must: of an artefact its manifest, which is written last, and whichever of its files is missing;
constants instead of functions; resources only where somebody counts them.
"""

import functools
import gc
import inspect
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.cluster import site
from framecast.cluster.journal import Phase
from framecast.cluster.request import Request, request
from framecast.errors import UserError
from framecast.study import checkout, reading
from framecast.study.grid import Cell, Grid
from framecast.upkeep import driver, links, termination

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

AFFECTS_NUMBERS = False


def begin(workflow: "Workflow", command: Sequence[str]) -> "Engine":
    """The study of this folder for the Snakemake that reads our rules; ends it with one line where it cannot run."""
    try:
        refuse_another_study(workflow)
        engine = Engine(Grid(reading.load()), site.load(), workflow)
        if workflow.is_main_process:
            links.refuse_wrong_links()
            driver.refuse_a_second(command)
    except UserError as error:
        sys.exit(f"framecast: {error}")
    # A plan is millions of objects that stay: to look for garbage among them again and again takes a sixth of its time.
    gc.set_threshold(100_000, 50, 1000)
    termination.heed()
    if workflow.remote_exec:
        # A signal to a job's step reaches every process in it. The verb saves and leaves; this one waits for it.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return engine


def refuse_another_study(workflow: "Workflow") -> None:
    """Raise UserError for another copy's source, and for values that Snakemake alone would know of."""
    checkout.expect_own_source(Path.cwd(), Path(workflow.basedir))
    given = workflow.config_settings
    for option, values in {"--configfile": given.configfiles, "--config": given.config}.items():
        if values:
            told = ", ".join(map(str, values))
            raise UserError(f"{option}: found {told}; allowed: none; jobs and DVC read params.yaml, so change it there")


def prefix() -> str:
    """What every shell command begins with.

    Jobs find the framecast of this environment, also where it was not activated. A prefix of ours replaces Snakemake's
    own, whose pipefail keeps ``… | tee`` from hiding a failure, so it is said again.
    """
    return f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "


def for_each_job(method: Callable[..., Any]) -> "functools.cached_property[Callable[..., Any]]":
    """A method that carries its signature: to have it worked out anew, ten times a job, took a tenth of a plan."""

    def ready(engine: "Engine") -> Callable[..., Any]:
        function = functools.partial(method, engine)
        function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return function

    return functools.cached_property(ready)


class Engine:
    """A study as the rules see it. Methods that take ``wildcards`` are Snakemake's input functions."""

    def __init__(self, study: Grid, cluster: site.Site, workflow: "Workflow") -> None:
        self.study = study
        self.cluster = cluster
        self.in_job: bool = workflow.remote_exec
        self.counts_nodes: bool = workflow.resource_settings.nodes is not None
        self._workflow = workflow

    # --- what a job reads ---------------------------------------------------------------------------------------------

    @for_each_job
    def to_train(self, wildcards: Any) -> list[str]:
        """The prepared dataset, and the probe of a cell that is not trained yet.

        A trained cell needs none: Snakemake trains anew for an input that is not there, be it ancient or not.
        """
        cell = named(wildcards)
        probe = [] if all(map(os.path.exists, self.study.run_files(cell))) else self.need(self.study.probe_files(cell))
        return [*self._dataset(cell.dataset), *probe]

    @for_each_job
    def to_evaluate(self, wildcards: Any) -> list[str]:
        """The prepared dataset, and the weights of a cell that has some."""
        cell = named(wildcards)
        weights = [] if cell.is_baseline else self.need(self.study.run_files(cell))
        return [*self._dataset(cell.dataset), *weights]

    def need(self, files: Sequence[str]) -> list[str]:
        """The manifest, last of an artefact's files, stands for all of them; one that is missing is named as well.

        Inside a job on a cluster all of them are named: each must have become visible there.
        """
        if self.in_job:
            return list(files)
        *others, manifest = files
        if not os.path.exists(manifest):
            return [manifest]
        return [manifest, *(path for path in others if not os.path.exists(path))]

    @functools.cached_property
    def _dataset(self) -> Callable[[str], list[str]]:
        return functools.cache(lambda dataset: self.need(self.study.data_files(dataset)))

    # --- target lists -------------------------------------------------------------------------------------------------
    # Functions of wildcards: one that is not planned costs nothing, and each job's own Snakemake reads all rules.

    def datasets(self, wildcards: Any) -> list[str]:
        """Every prepared dataset."""
        return [path for dataset in self.study.datasets for path in self._dataset(dataset)]

    def probes(self, wildcards: Any) -> list[str]:
        """Every verdict on a system's causality."""
        return [path for cell in self.study.probes for path in self.need(self.study.probe_files(cell))]

    def trained(self, wildcards: Any) -> list[str]:
        """Every trained cell."""
        return self._trained(self.study.cells)

    def scores(self, wildcards: Any) -> list[str]:
        """The scores of every cell and baseline."""
        return self._scores(self.study.scored)

    def of(self, study: str) -> Callable[[Any], list[str]]:
        """Every trained cell of one study, its scores, and those of the baselines on its datasets."""

        def files(wildcards: Any) -> list[str]:
            scored = self.study.study_scored(study)
            return [*self._trained(cell for cell in scored if not cell.is_baseline), *self._scores(scored)]

        return files

    def lost(self, wildcards: Any) -> list[str]:
        """What finished cells no longer have; nothing where the tables are to be made, which ask for the same."""
        if not self.study.tables_manifest.exists():
            return []
        return [*self.lost_trainings(wildcards), *filter(_is_missing, self._scores(self.study.scored))]

    def lost_trainings(self, wildcards: Any) -> list[str]:
        """What training has left and is gone, of cells whose scores are there: nobody else would ask for it."""
        scored = (cell for cell in self.study.cells if not _is_missing(self.study.score_files(cell)[-1]))
        return [path for cell in scored for path in self.study.run_files(cell) if _is_missing(path)]

    def _trained(self, cells: Iterable[Cell]) -> list[str]:
        return [path for cell in cells for path in self.need(self.study.run_files(cell))]

    def _scores(self, cells: Iterable[Cell]) -> list[str]:
        return [path for cell in cells for path in self.need(self.study.score_files(cell))]

    # --- what a job asks for: workings in framecast.cluster.request, the site's words in slurm/site.yaml --------------

    def resources(self, phase: Phase, *, gpu: bool = True) -> dict[str, Any]:
        """The resources of a rule: numbers of the cell, words of the site where it has them, a GPU for each job.

        On this machine a GPU is one of ``--resources gpu=N``, and nothing else is counted.
        """
        where = self.cluster
        if not (self.in_job or self.counts_nodes):
            return {"gpu": 1} if gpu else {}
        numbers = {"mem_mb": self._number(phase, "mem_mb"), "runtime": self._number(phase, "minutes")}
        words: dict[str, str | int] = {"slurm_account": where.account, "qos": where.qos, "slurm_extra": where.extra}
        if gpu:
            words |= {"slurm_partition": where.partition, "gpu_model": where.gpu_type, "constraint": where.constraint}
            words |= {"gpu": where.gpus, "cpus_per_task": where.cpus}
        else:
            words |= {"slurm_partition": where.cpu_partition or where.partition}
        return {**(numbers if self.counts_nodes else {}), **{name: word for name, word in words.items() if word}}

    def _number(self, phase: Phase, what: str) -> Callable[..., int]:
        """A number of the request for a cell's next job; 0 where jobs run here, since to work it out takes time."""

        def number(wildcards: Any, attempt: int) -> int:
            return 0 if self._workflow.local_exec else getattr(self._wanted(named(wildcards), phase, attempt), what)

        number.__signature__ = inspect.signature(number)  # type: ignore[attr-defined]
        return number

    @functools.cached_property
    def _wanted(self) -> Callable[[Cell, Phase, int], Request]:
        return functools.cache(lambda cell, phase, attempt: request(self.study, cell, phase, self.cluster))

    @functools.cached_property
    def threads(self) -> Any:
        """A number where every cell is trained with the same, else a function."""
        params = self.study.params
        counts = {
            (cell.dataset, cell.model): params.recipe(cell.model, cell.dataset).threads for cell in self.study.cells
        }
        if len(set(counts.values())) == 1:
            return next(iter(counts.values()))

        def threads(wildcards: Any) -> int:
            return counts[wildcards.dataset, wildcards.model]

        threads.__signature__ = inspect.signature(threads)  # type: ignore[attr-defined]
        return threads

    @functools.cached_property
    def precedence(self) -> Any:
        """Of a training, between 0 and 1: the more, the more often it updates its weights for each of its sequences.

        What a step takes is not known beforehand. With the long ones first, none is left for the end, while other cores
        have nothing to do.
        """
        params = self.study.params
        recipes = {
            pair: params.recipe(pair[1], pair[0]) for pair in {(one.dataset, one.model) for one in self.study.cells}
        }
        passes = {pair: recipe.epochs / recipe.batch_size for pair, recipe in recipes.items()}

        def precedence(wildcards: Any) -> float:
            updates = passes[wildcards["dataset"], wildcards["model"]]
            return updates / (1 + updates)

        precedence.__signature__ = inspect.signature(precedence)  # type: ignore[attr-defined]
        return precedence

    def options(self, *more: str) -> str:
        """What a verb is told inside a Slurm job, with a space before it."""
        return "".join(f" {word}" for word in ("--device", self.cluster.device, *more)) if self.in_job else ""


def named(wildcards: Any) -> Cell:
    """The cell that a job's wildcards name."""
    return _cell(*map(wildcards.get, ("dataset", "model", "depth", "loss", "seed")))


@functools.cache
def _cell(dataset: str, model: str, depth: str | None, loss: str | None, seed: str | None) -> Cell:
    return Cell(dataset, model, int(depth) if depth else None, loss, int(seed) if seed else None)


def _is_missing(path: str) -> bool:
    return not os.path.exists(path)
