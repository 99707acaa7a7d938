"""Slurm, and whether ``slurm/site.yaml`` asks for what the cluster has."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.errors import UserError
from framecast.upkeep.doctor.findings import Level, Line
from framecast.upkeep.doctor.surroundings import COMMANDS, Partition, Refused, Surroundings

if TYPE_CHECKING:
    from framecast.cluster.site import Site

AFFECTS_NUMBERS = False
CONFIGURATION = Path("/etc/slurm/slurm.conf")


def slurm(surroundings: Surroundings) -> Iterator[Line]:
    """Whether Slurm's commands are here, its controller answers, and its partitions are up."""
    if not surroundings.has_slurm:
        yield Line("ok", "Slurm", "not on a cluster (no Slurm commands); `snakemake` runs everything here")
        return
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        cure = "`snakemake --profile slurm` needs all of them: load the cluster's module, or mend PATH"
        yield Line("problem", "Slurm", f"commands missing: {', '.join(missing)}", cure)
    try:
        partitions = surroundings.partitions
    except Refused as refusal:
        is_meant = "SLURM_CONF" in os.environ or CONFIGURATION.exists()
        cure = "go to a login node, or ask the cluster's staff; without a cluster, `snakemake` runs everything here"
        yield Line("problem" if is_meant else "warning", "Slurm controller", f"no answer: {refusal}", cure)
        return
    if not partitions:
        yield Line("problem", "Slurm controller", "answers, with no partition", "ask the cluster's staff for one")
    for name, partition in partitions.items():
        level: Level = "ok" if partition.is_up else "warning"
        yield Line(level, f"partition {name}", str(partition), "" if partition.is_up else "choose another, or wait")


def site(surroundings: Surroundings) -> Iterator[Line]:
    """Whether the site file is valid, and fits the partitions."""
    from framecast.cluster.site import SITE, load, refuse_flags

    file = os.environ.get("FRAMECAST_SITE", str(SITE))
    if not Path(file).exists() and not surroundings.has_slurm:
        return
    site = load()
    try:
        refuse_flags(site)
    except UserError as error:
        yield Line("problem", "site", str(error))
    named = [name for name in (site.partition, site.cpu_partition) if name]
    yield Line("ok", file, f"valid: partition {' and '.join(named) or 'the default'}, {site.gpus} GPUs per job")
    try:
        partitions = surroundings.partitions if surroundings.has_slurm else {}
    except Refused:
        return
    if partitions:
        yield from _fit(file, site, partitions)


def _fit(file: str, site: "Site", partitions: dict[str, Partition]) -> Iterator[Line]:
    """Whether the partitions of a site file exist and can give what it asks for."""
    for key, name in (("partition", site.partition), ("cpu_partition", site.cpu_partition)):
        if name and not set(name.split(",")) <= partitions.keys():
            yield Line("problem", file, f"{key}: found {name!r}", f"allowed: {', '.join(partitions)}")
    defaults = [name for name, partition in partitions.items() if partition.is_default]
    if not site.partition and not defaults:
        yield Line("problem", file, "partition: found none, and the cluster has no default", "name one of those above")
    for name in site.partition.split(",") if site.partition else defaults:
        if (partition := partitions.get(name)) is not None:
            yield from _limits(file, site, partition)


def _limits(file: str, site: "Site", partition: Partition) -> Iterator[Line]:
    where = f"partition {partition.name}"
    if site.gpus and not partition.gpus:
        cure = "name a partition with GPUs, or set gpus: 0 and device: cpu"
        yield Line("problem", file, f"gpus: {site.gpus}, and {where} has none", cure)
    elif site.gpus and site.gpu_type and not any(site.gpu_type in gpu.split(":") for gpu in partition.gpus):
        found = f"gpu_type: {site.gpu_type}, and {where} has {', '.join(partition.gpus)}"
        yield Line("problem", file, found, "name one of these")
    if site.memory_mb > partition.memory_mb:
        found = f"memory_mb: {site.memory_mb}, and nodes of {where} have at most {partition.memory_mb}"
        yield Line("warning", file, found, f"set memory_mb: {partition.memory_mb}, so that no job waits for ever")
    if partition.minutes is not None and site.walltime > partition.minutes:
        found = f"walltime: {site.walltime} minutes, and {where} allows {partition.minutes}"
        yield Line("warning", file, found, f"set walltime: {partition.minutes}; longer cells train in slices")
    if site.cpus > partition.cpus:
        yield Line("problem", file, f"cpus: {site.cpus}, and nodes of {where} have {partition.cpus}", "set fewer")
