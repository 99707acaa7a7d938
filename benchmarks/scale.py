"""How planning, listing and submitting grow with the number of jobs, beside a bare Snakemake workflow of as many.

Half of the jobs train and half evaluate, in both. Nothing is computed: a stand-in for Slurm (``stand_in_slurm/``) takes
each job and has its empty outputs there at once, so that what is measured is the driver's own work.
"""

import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import yaml

from benchmarks.base import TINY, Row, Usage, scratch, used_by
from framecast.study.grid import CELL, RUN_FILES, RUNS, SCORE_FILES, SCORES

SIZES = {100: 3, 1_000: 3, 10_000: 1}  #: jobs → how often planning is measured
SUBMITTED = (100, 1_000)  #: jobs; more take many minutes: ``submission_scale``
MODELS, LOSSES = 5, 2
MOST, MOST_MB = 2.0, 2048  #: times the CPU seconds of the bare workflow; MiB
ENGINE = ("Snakefile", "workflow", "profiles", "slurm")
STAND_IN = Path(__file__).parent / "stand_in_slurm"

PLAN = ("snakemake", "--cores", "1", "--dry-run")
VERBS = ("grid", "status", "plan")
WAITS = (("init-seconds-before-status-checks", "2"), ("status-command", "squeue"))
SUBMIT = ("--jobs", "1000", "--scheduler", "greedy", "--latency-wait", "60")
OURS = ("snakemake", "--profile", "slurm", "--until", "evaluate")
BARE = ("snakemake", "--executor", "slurm", "--default-resources", "mem_mb=1", "runtime=1", "slurm_partition=stand_in")

TOY = """
CELLS = expand("{{model}}/{{loss}}/seed-{{seed}}", model=range({models}), loss=range({losses}), seed=range({seeds}))
rule all:
    default_target: True
    input: expand("scores/{{cell}}/scores.csv", cell=CELLS)
rule train:
    output: "runs/{{model}}/{{loss}}/seed-{{seed}}/model"
    shell: "touch {{output}}"
rule evaluate:
    input: "runs/{{model}}/{{loss}}/seed-{{seed}}/model"
    output: "scores/{{model}}/{{loss}}/seed-{{seed}}/scores.csv"
    shell: "touch {{output}}"
"""
TOY_OUTPUTS = {
    "train": "runs/{model}/{loss}/seed-{seed}/model",
    "evaluate": "scores/{model}/{loss}/seed-{seed}/scores.csv",
}
OUTPUTS = {
    "train": " ".join(f"{RUNS}/{CELL}/{{key}}/{name}" for name in RUN_FILES),
    "evaluate": " ".join(f"{SCORES}/{CELL}/{{key}}/{name}" for name in SCORE_FILES),
}


def study(jobs: int) -> str:
    """The tiny study with so many seeds that training and evaluating take this number of jobs."""
    tree = yaml.safe_load(TINY)
    tree["seeds"] = list(range(1, jobs // (2 * MODELS * LOSSES) + 1))
    tree["models"] = {f"lstm_{size}": {"kind": "seq2seq_lstm", "hidden_size": size} for size in range(1, MODELS + 1)}
    tree["losses"] = {f"mse_{weight}": {"mse": weight} for weight in range(1, LOSSES + 1)}
    lists = {"datasets": ["generated_sins"], "depths": [1], "models": [*tree["models"]], "losses": [*tree["losses"]]}
    return yaml.safe_dump(tree | {"studies": {"one": lists}, "baselines": [], "figures": {}}, sort_keys=False)


def rows() -> list[Row]:
    """Planning and submission beside the bare workflow's, the verbs alone; then how planning grows."""
    plans = {jobs: _plans(jobs, repeats) for jobs, repeats in SIZES.items()}
    measured = [_row(f"snakemake -n, {jobs:,} jobs", *plan) for jobs, plan in plans.items()]
    measured += [_alone(verb, jobs) for verb in VERBS for jobs in SIZES]
    measured += [submission(jobs) for jobs in SUBMITTED]
    return [*measured, _growth(plans)]


def submission(jobs: int) -> Row:
    """Submitting so many to a stand-in for Slurm and seeing each of them end, beside the bare workflow."""
    return _row(f"submission of {jobs:,} jobs to a stand-in", *_submissions(jobs))


def _plans(jobs: int, repeats: int) -> tuple[Usage, Usage]:
    with _study(jobs) as ours, _toy(jobs) as toy:
        pairs = [(used_by(*PLAN, cwd=ours), used_by(*PLAN, cwd=toy)) for _ in range(repeats)]
    mine, theirs = zip(*pairs, strict=True)
    return _middle(mine), _middle(theirs)


def _submissions(jobs: int) -> tuple[Usage, Usage]:
    with _study(jobs) as ours, _standing_in(ours, OUTPUTS):
        used_by("snakemake", "--cores", "1", "--until", "prepare", "probe", cwd=ours)  # not submission
        used_by("framecast", "plan", cwd=ours)  # counts each network once, and has a row of its own
        mine = used_by(*OURS, *_waits("slurm-patient"), *SUBMIT, cwd=ours)
        _expect_taken(ours, jobs)
    with _toy(jobs) as toy, _standing_in(toy, TOY_OUTPUTS):
        theirs = used_by(*BARE, *_waits("slurm"), *SUBMIT, cwd=toy)
        _expect_taken(toy, jobs)
    return mine, theirs


def _row(name: str, ours: Usage, bare: Usage) -> Row:
    ratio = ours.cpu / bare.cpu
    meets = ratio <= MOST and ours.peak <= MOST_MB
    return Row(name, _told(ours), f"{_told(bare)} (bare toy)", ratio, "× CPU", f"≤ {MOST:g} ×, ≤ {MOST_MB} MiB", meets)


def _alone(verb: str, jobs: int) -> Row:
    with _study(jobs) as folder:
        used = used_by("framecast", verb, cwd=folder)
    told = f"{used.wall:.2f} s, {used.peak:.0f} MiB"
    goal = f"≤ {MOST_MB} MiB"
    return Row(f"framecast {verb}, {jobs:,} jobs", told, "", used.cpu, "s of CPU", goal, used.peak <= MOST_MB)


def _growth(plans: dict[int, tuple[Usage, Usage]]) -> Row:
    """Of ten times as many jobs, the largest two sizes compared."""
    *_, fewer, more = plans
    ours, bare = ((large.cpu / small.cpu) for large, small in zip(plans[more], plans[fewer], strict=True))
    name = f"growth of snakemake -n, {fewer:,} to {more:,} jobs"
    return Row(name, f"{ours:.1f} ×", f"{bare:.1f} × (bare toy)", ours / bare, "× the toy's growth", "", None)


def _told(used: Usage) -> str:
    return f"{used.cpu:.1f} s of CPU, {used.wall:.1f} s, {used.peak:.0f} MiB"


def _middle(usages: tuple[Usage, ...]) -> Usage:
    return Usage(*(statistics.median(getattr(used, name) for used in usages) for name in ("wall", "cpu", "peak")))


@contextmanager
def _study(jobs: int) -> Iterator[Path]:
    with scratch(*ENGINE, params=study(jobs)) as folder:
        yield folder


@contextmanager
def _toy(jobs: int) -> Iterator[Path]:
    with scratch(params=TINY) as folder:
        text = TOY.format(models=MODELS, losses=LOSSES, seeds=jobs // (2 * MODELS * LOSSES))
        (folder / "Snakefile").write_text(text, encoding="utf-8")
        yield folder


@contextmanager
def _standing_in(folder: Path, outputs: dict[str, str]) -> Iterator[None]:
    """The stand-ins before everything of that name on PATH; a rule's outputs with its wildcards as shell variables."""
    taken = folder / "jobs"
    taken.touch()
    taken.with_suffix(".last").write_text("0\n", encoding="utf-8")
    told = {f"STAND_IN_{rule}": paths.replace("{", "${") for rule, paths in outputs.items()}
    path = f"{STAND_IN}{os.pathsep}{os.environ['PATH']}"
    with patch.dict(os.environ, told | {"STAND_IN_JOBS": str(taken), "PATH": path}):
        yield


def _waits(executor: str) -> list[str]:
    return [word for option, value in WAITS for word in (f"--{executor}-{option}", value)]


def _expect_taken(folder: Path, jobs: int) -> None:
    if (taken := len((folder / "jobs").read_text(encoding="utf-8").splitlines())) != jobs:
        raise RuntimeError(f"the stand-in took {taken} jobs, expected {jobs}")
