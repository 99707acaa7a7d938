"""The study, its wildcards and its target lists. What exists and where it lies is asked of framecast.study.grid."""

import functools
import gc
import os
import shlex
import signal
import sys
from pathlib import Path

from framecast.study import reading
from framecast.upkeep import driver, links
from framecast.cluster import site
from framecast.cluster.request import request
from framecast.errors import UserError
from framecast.study.grid import (
    BASELINE,
    CELL,
    DATA_FILES,
    PROBE,
    PROBE_FILES,
    RUN_FILES,
    SCORE_FILES,
    Cell,
    Grid,
)

# A plan is millions of objects that stay: to look for garbage among them again and again takes a sixth of its time.
gc.set_threshold(100_000, 50, 1000)

# A signal to a job's step reaches every process in it. The verb saves and leaves; this one waits for it.
if workflow.remote_exec:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)

# Jobs find the framecast of this environment, also where it was not activated. A prefix of ours replaces Snakemake's
# own, whose pipefail keeps `… | tee` from hiding a failure, so it is said again.
shell.prefix(
    f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
)

if workflow.config_settings.config:
    sys.exit(
        "framecast: --config: found a value, allowed: none; the jobs read params.yaml, so change it there"
    )

try:
    study = Grid(reading.load())
    cluster = site.load()
    if workflow.is_main_process:
        links.refuse_wrong_links()
        driver.refuse_a_second(sys.argv)
except UserError as error:
    sys.exit(f"framecast: {error}")


wildcard_constraints:
    dataset="[a-z0-9_]+",
    model="[a-z0-9_]+",
    depth=r"\d+",
    loss="[a-z0-9_]+",
    seed=r"\d+",
    key="[0-9a-f]{8}",


def cell(wildcards):
    """The cell that a job's wildcards name."""
    if "depth" not in wildcards.keys():
        return Cell(wildcards.dataset, wildcards.model)
    return Cell(
        wildcards.dataset,
        wildcards.model,
        int(wildcards.depth),
        wildcards.loss,
        int(wildcards.seed),
    )


def need(files):
    """The manifest, last of an artefact's files, stands for all of them; one that has gone missing is named as well.

    Snakemake pays for every file that it is told of: with this, a grid of 10 000 jobs is planned in half the time.
    """
    if (
        workflow.remote_exec
    ):  # inside a job on a cluster: all of them must have become visible
        return files
    *others, manifest = files
    if not os.path.exists(manifest):
        return [manifest]
    return [manifest, *(path for path in others if not os.path.exists(path))]


def probe_before_training(wildcards):
    """Nothing for a trained cell: Snakemake trains anew for an input that is not there yet, be it ancient or not."""
    this = cell(wildcards)
    if all(map(os.path.exists, study.run_files(this))):
        return []
    return need(study.probe_files(this))


# Functions of wildcards, because a job that is not planned then costs nothing: each job's own Snakemake reads this file.


def every_prepared_dataset(wildcards):
    return [
        path for dataset in study.datasets for path in need(study.data_files(dataset))
    ]


def every_probe(wildcards):
    return [path for cell in study.probes for path in need(study.probe_files(cell))]


def every_trained_cell(wildcards):
    return [path for cell in study.cells for path in need(study.run_files(cell))]


def every_score(wildcards):
    return [path for cell in study.scored for path in need(study.score_files(cell))]


# --- what a job asks a cluster for: workings in framecast.cluster.request, the site's words in slurm/site.yaml --------


@functools.cache
def wanted(named, phase, attempt):
    return request(study, named, phase, cluster)


def asks(phase, what):
    """A number of the request for a cell's next job; 0 on this machine, where working it out would only take time."""

    def number(wildcards, attempt):
        if workflow.local_exec:
            return 0
        return getattr(wanted(cell(wildcards), phase, attempt), what)

    return number


def gpu(wildcards):
    """Each job its own GPU: Slurm's on a cluster, one of `--resources gpu=N` on this machine."""
    return (1 if workflow.local_exec else cluster.gpus) or None


def asked(phase, **words):
    """The resources of a rule: numbers of the cell, words of the site where it has them."""
    numbers = {}
    if (
        workflow.resource_settings.nodes is not None
    ):  # a number costs 60 µs a job, also where nobody asks for it
        numbers = {"mem_mb": asks(phase, "mem_mb"), "runtime": asks(phase, "minutes")}
    return {**numbers, **{name: word for name, word in words.items() if word}}


def in_job(wildcards):
    """What a verb is told inside a Slurm job."""
    return f" --device {cluster.device}" if workflow.remote_exec else ""
