"""What a hundred cells cost a real controller: one submission per cell, array jobs, groups. Ten minutes, on request.

The cells are as small as a cell can be, so that what is measured is submission, start and end of jobs.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import yaml

from benchmarks.base import ROOT, TINY, Row, scratch, used_by
from tests.slurm.one_node import OneNode

ON_REQUEST = True
CELLS = 100
ENGINE = ("Snakefile", "workflow", "profiles", "slurm")
TRAIN = (
    "snakemake",
    "--profile",
    "slurm",
    "--slurm-patient-init-seconds-before-status-checks",
    "5",
    "--quiet=all",
)
WAYS = {
    "one by one": (),
    "array jobs of 50": ("--slurm-patient-array-jobs", "train", "--slurm-patient-array-limit", "50"),
    "groups of 10": ("--groups", "train=cells", "--group-components", "cells=10"),
}


def rows() -> list[Row]:
    """Seconds until every cell is trained, and what the controller saw, beside one submission per cell."""
    with _cluster() as cluster:
        seen = {way: _trained(cluster, options) for way, options in WAYS.items()}
    plain = seen["one by one"][0]
    return [
        Row(
            f"{CELLS} cells, {way}",
            f"{wall:.0f} s, driver {cpu:.0f} s of CPU, {calls} calls to and {load:.1f} s of CPU of the controller",
            f"{plain:.0f} s (one by one)",
            wall / plain,
            "×",
            "",
            None,
        )
        for way, (wall, cpu, calls, load) in seen.items()
    ]


def _trained(cluster: OneNode, options: tuple[str, ...]) -> tuple[float, float, int, float]:
    """Wall and CPU seconds of the driver; calls that the controller has answered; its own CPU seconds."""
    with scratch(*ENGINE, params=_study()) as folder:
        used_by("snakemake", "--quiet=all", "--", "data", cwd=folder)
        calls, load = _calls(cluster), _cpu_seconds(cluster)
        used = used_by(*TRAIN, *options, "--", "train_all", cwd=folder)
        made = len(list((folder / "data" / "runs").rglob("run.json")))
        if made != CELLS:
            raise RuntimeError(f"{made} cells were trained, expected {CELLS}")
        return used.wall, used.cpu, _calls(cluster) - calls, _cpu_seconds(cluster) - load


def _study() -> str:
    tree = yaml.safe_load(TINY)
    tree["seeds"] = list(range(1, CELLS + 1))
    tree["training"] |= {"epochs": 1}
    lists = {"datasets": ["generated_sins"], "depths": [1], "models": ["seq2seq_lstm"], "losses": ["mse"]}
    return yaml.safe_dump(tree | {"studies": {"one": lists}, "baselines": [], "figures": {}}, sort_keys=False)


@contextmanager
def _cluster() -> Iterator[OneNode]:
    """A private cluster, and the environment in which programs speak to it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    cluster = OneNode(folder, nodes=1, cpus=16, gpus=8, memory=64000)
    cluster.start()
    site = {"FRAMECAST_DEVICE": "cpu", "FRAMECAST_CPUS": "1", "PYTHONPATH": str(ROOT / "src")}
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    try:
        with patch.dict(os.environ, {**cluster.environment(), **site, "PATH": path}):
            yield cluster
    finally:
        cluster.stop(purge=True)
        shutil.rmtree(folder, ignore_errors=True)


def _calls(cluster: OneNode) -> int:
    """Remote calls that the controller has answered."""
    told = subprocess.run(
        ["sdiag"], env={**os.environ, **cluster.environment()}, capture_output=True, text=True, check=True
    )
    return sum(
        int(line.split("count:")[1].split()[0])
        for line in told.stdout.splitlines()
        if "count:" in line and "REQUEST_" in line
    )


def _cpu_seconds(cluster: OneNode) -> float:
    """CPU time of slurmctld so far."""
    pid = int((cluster.folder / "run" / "slurmctld.pid").read_text())
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
