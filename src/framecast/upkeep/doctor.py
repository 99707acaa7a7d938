"""Look at everything that a run needs, before the run does: one line per check, and what to do where it is not ok.

``ok`` is fine or not needed here, ``warning`` may matter later, ``problem`` stops a run. Every check stands alone:
where something is broken, the others still tell what they find. Nothing is written, and besides Slurm's controller
nobody on the network is asked; its commands have ten seconds each.
"""

import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from framecast.errors import UserError

if TYPE_CHECKING:
    from framecast.cluster.site import Site
    from framecast.study.grid import Grid

AFFECTS_NUMBERS = False
Level = Literal["ok", "warning", "problem"]

PYTHON = (3, 11)
REQUIREMENTS = Path("requirements.lock")
PROGRAMS = {  #: distribution → the module that must import
    "snakemake": "snakemake.api",
    "snakemake-executor-plugin-slurm": "snakemake_executor_plugin_slurm",
    "framecast": "snakemake_executor_plugin_slurm_patient",
    "dvc": "dvc.repo",
}
COMMANDS = ("sbatch", "squeue", "scontrol", "sinfo", "srun")
CONFIGURATION = Path("/etc/slurm/slurm.conf")
PATIENCE_SECONDS = 10
FREE_GB = 5
WRITTEN = ("data", "logs", "reports")
MEND = "install again from requirements.lock (`make demo` and `make test` do)"


@dataclass(frozen=True)
class Line:
    """What one check found; ``cure`` says what to do where it is not ok."""

    level: Level
    about: str
    found: str
    cure: str = ""

    def __str__(self) -> str:
        told = f"{self.level:<8} {self.about}: {self.found}"
        return " ".join(f"{told}; {self.cure}".split("\n")) if self.cure else told


@dataclass(frozen=True)
class Partition:
    """A partition as the controller describes it; memory and CPUs are of its largest node."""

    name: str
    is_default: bool
    is_up: bool
    limit: str
    memory_mb: int
    cpus: int
    gpus: tuple[str, ...]

    def __str__(self) -> str:
        gpus = ", ".join(self.gpus) or "none"
        node = f"nodes up to {self.memory_mb} MB and {self.cpus} CPUs, GPUs per node: {gpus}"
        return f"{'default, ' if self.is_default else ''}{'up' if self.is_up else 'down'}, limit {self.limit}, {node}"

    @property
    def minutes(self) -> int | None:
        """The time limit; None where there is none, or none that we can read."""
        days, _, clock = self.limit.rpartition("-")
        numbers = [days or "0", *["0", "0", *clock.split(":")][-3:]]  # sinfo writes days-hours:minutes:seconds
        if not all(number.isdecimal() for number in numbers):
            return None
        return int(numbers[0]) * 1440 + int(numbers[1]) * 60 + int(numbers[2])


class Refused(Exception):
    """A command that is missing, failed, or did not answer in time, in one line."""


class Surroundings:
    """What several checks ask about, found out once; each raises what it met."""

    @cached_property
    def grid(self) -> "Grid":
        """The study of ``params.yaml``."""
        from framecast.study import reading
        from framecast.study.grid import Grid

        return Grid(reading.load())

    @cached_property
    def has_slurm(self) -> bool:
        """Whether any of Slurm's commands is installed."""
        return any(map(shutil.which, COMMANDS))

    @property
    def partitions(self) -> dict[str, Partition]:
        """Every partition that the controller knows; Refused where it does not answer, and it is asked only once."""
        if isinstance(self._answer, Refused):
            raise self._answer
        return self._answer

    @cached_property
    def _answer(self) -> "dict[str, Partition] | Refused":
        try:
            told = _ask("sinfo", "--noheader", "--format=%P|%a|%l|%m|%c|%G")
        except Refused as refusal:
            return refusal
        rows = [line.strip().split("|") for line in told.splitlines()]
        found: dict[str, Partition] = {}
        for name, state, limit, memory, cpus, gres in (row for row in rows if len(row) == 6):
            plain = name.rstrip("*")
            before = found.get(plain)
            gpus = {part.split("(")[0] for part in gres.split(",") if part.startswith("gpu")}
            found[plain] = Partition(
                plain,
                name.endswith("*"),
                state == "up",
                limit,
                max(_number(memory), before.memory_mb if before else 0),
                max(_number(cpus), before.cpus if before else 0),
                tuple(sorted(gpus.union(before.gpus if before else ()))),
            )
        return found


def doctor() -> None:
    """Print one line per check. Raises UserError with their number when there are problems."""
    surroundings, problems = Surroundings(), 0
    for check in CHECKS:
        for line in _safely(check, surroundings):
            problems += line.level == "problem"
            print(line, flush=True)
    if problems:
        counted = "1 problem" if problems == 1 else f"{problems} problems"
        raise UserError(f"doctor: found {counted}; each line that starts with `problem` says what to do")


def _safely(check: "Check", surroundings: Surroundings) -> Iterator[Line]:
    """A check that cannot be made is told like any other finding."""
    about = check.__name__.strip("_").replace("_", " ")
    try:
        yield from check(surroundings)
    except UserError as error:
        yield Line("problem", about, str(error))
    except Exception as error:  # a doctor that falls ill over what is broken here would help nobody
        found = f"the check failed with {type(error).__name__}: {' '.join(str(error).split())}"
        yield Line("problem", about, found, "mend what it names, or report it as a fault of framecast")


# --- the environment --------------------------------------------------------------------------------


def _python(_: Surroundings) -> Iterator[Line]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        yield Line("problem", "Python", found, f"use {PYTHON[0]}.{PYTHON[1]} or newer: make PYTHON=python3.11")
    else:
        yield Line("ok", "Python", f"{found} ({sys.executable})")


def _torch(_: Surroundings) -> Iterator[Line]:
    installed = _distribution("torch", "torch")
    yield installed
    if installed.level == "problem":
        return
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(number)
            yield Line("ok", f"CUDA device {number}", f"{device.name}, {device.total_memory / 1e9:.0f} GB")
    elif shutil.which("nvidia-smi") is None:
        yield Line("ok", "CUDA", "no device on this machine; training here uses the CPU")
    elif torch.version.cuda is None:
        cure = "install the build of torch for CUDA, or train on the CPU"
        yield Line("warning", "CUDA", f"nvidia-smi is here, and this torch ({torch.__version__}) cannot use it", cure)
    else:
        yield Line("warning", "CUDA", "nvidia-smi is here, and torch finds no device", "see what `nvidia-smi` says")


def _programs(_: Surroundings) -> Iterator[Line]:
    for name, module in PROGRAMS.items():
        yield _distribution(name, module)


def _distribution(name: str, module: str) -> Line:
    """Whether a distribution imports, and has the version that ``requirements.lock`` names."""
    try:
        importlib.import_module(module)
        found = importlib.metadata.version(name)
    except Exception as error:  # a broken installation may raise anything
        return Line("problem", name, f"cannot be imported ({type(error).__name__}: {_first(error)})", MEND)
    locked = _locked().get(name)
    if locked is None or locked == found.split("+")[0]:
        return Line("ok", name, f"{found}, as locked" if locked else found)
    return Line("warning", name, f"{found}, and {REQUIREMENTS} has {locked}; numbers may differ in last digits", MEND)


def _locked() -> dict[str, str]:
    """Distribution → version of ``requirements.lock``; empty where that is not here."""
    try:
        lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


# --- the study --------------------------------------------------------------------------------------


def _study(surroundings: Surroundings) -> Iterator[Line]:
    grid = surroundings.grid
    yield Line("ok", "params.yaml", f"valid: {grid.count} cells at scale {grid.params.scale}")


def _raw_data(surroundings: Surroundings) -> Iterator[Line]:
    from framecast.study import catalogue

    try:
        grid = surroundings.grid
    except UserError:
        yield Line("warning", "raw data", "not looked at, since params.yaml is not valid", "mend that first")
        return
    for dataset in grid.datasets:
        entry = grid.params.datasets[dataset]
        wanted = catalogue.raw_sources(entry.kind, entry.arguments)
        if not wanted:
            yield Line("ok", f"dataset {dataset}", "needs no raw files")
        for source in wanted:
            yield from _raw_files(dataset, source, catalogue.constant(f"data.{entry.kind}", "RAW_INDEX"))


def _raw_files(dataset: str, source: str, index: str | None) -> Iterator[Line]:
    """Whether the files of a source are there and have their size; ``prepare`` looks at their sha256."""
    from framecast.data.fetching import fetch
    from framecast.data.formats.sha256sums import read_sums
    from framecast.study.grid import RAW

    about, cure = f"dataset {dataset}", f"run `framecast fetch {source}`"
    if index is not None and not (RAW / index).is_file():
        wanted = [RAW / index]
    elif index is not None:
        wanted = [(RAW / index).with_name(name) for name in read_sums(RAW / index)]
    else:
        files = fetch.SOURCES[source].files
        paths = {RAW / source / file.name: file.size for file in files}
        wanted = list(paths)
        for path, size in paths.items():
            if path.is_file() and path.stat().st_size != size:
                found = f"{path}: expected {size} bytes, found {path.stat().st_size}"
                yield Line("problem", about, found, f"delete it and {cure}")
    missing = [path for path in wanted if not path.is_file()]
    if not missing:
        yield Line("ok", about, f"{len(wanted)} raw files of {source}")
    elif os.environ.get(fetch.MIRROR, "").strip():
        where = f"`framecast prepare` takes it from {fetch.MIRROR}, if that has it; else {cure}"
        yield Line("warning", about, f"{missing[0]} is not here", where)
    else:
        yield Line("problem", about, f"{missing[0]} is not here ({len(missing)} missing)", cure)


def _mirror(_: Surroundings) -> Iterator[Line]:
    from framecast.data.fetching.fetch import MIRROR

    written = os.environ.get(MIRROR, "").strip()
    if not written:
        return
    address = urllib.parse.urlsplit(written)
    folder = Path(urllib.request.url2pathname(address.path)) if address.scheme == "file" else Path(written)
    if folder.is_dir():
        yield Line("ok", MIRROR, str(folder))
    else:
        yield Line("problem", MIRROR, f"found {written!r}", "allowed: a folder that is there, or its file:// address")


# --- disk -------------------------------------------------------------------------------------------


def _disk(_: Surroundings) -> Iterator[Line]:
    free = shutil.disk_usage(".").free / 1e9
    if free < FREE_GB:
        yield Line("warning", "disk", f"{free:.1f} GB free here", f"make room: a study may need {FREE_GB} GB or more")
    else:
        yield Line("ok", "disk", f"{free:.0f} GB free here, {FREE_GB} GB wanted")


def _permissions(_: Surroundings) -> Iterator[Line]:
    for name in WRITTEN:
        nearest = next(path for path in (Path(name), Path()) if path.exists())
        if not nearest.is_dir():
            yield Line("problem", f"{name}/", "found a file", "move it away: a folder of this name is needed")
        elif not os.access(nearest, os.W_OK | os.X_OK):
            yield Line("problem", f"{name}/", f"{nearest.resolve()} cannot be written", f"chmod -R u+w {name}, or move")
        else:
            yield Line("ok", f"{name}/", "can be written")


# --- Slurm ------------------------------------------------------------------------------------------


def _slurm(surroundings: Surroundings) -> Iterator[Line]:
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


def _site(surroundings: Surroundings) -> Iterator[Line]:
    from framecast.cluster.site import SITE, load

    file = os.environ.get("FRAMECAST_SITE", str(SITE))
    if not Path(file).exists() and not surroundings.has_slurm:
        return
    site = load()
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


def _ask(*command: str) -> str:
    """What a command prints; Refused in one line when it does not."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise Refused(f"`{command[0]}` said nothing for {PATIENCE_SECONDS} s") from None
    except OSError as error:
        raise Refused(f"`{command[0]}`: {error.strerror}") from None
    if told.returncode != 0:
        said = [line for line in (told.stderr or told.stdout).splitlines() if line.strip(" :")]
        raise Refused(f"`{command[0]}` ended with exit code {told.returncode}: {said[-1] if said else 'no word'}")
    return told.stdout


def _number(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0


# --- DVC and what dead processes left ---------------------------------------------------------------


def _dvc_remote(_: Surroundings) -> Iterator[Line]:
    if not Path(".dvc").is_dir():
        yield Line("warning", "DVC", "no .dvc folder here, so nothing is recorded", "go to the root of the repository")
        return
    config = ConfigParser(interpolation=None)
    for path in (Path(".dvc", "config"), Path(".dvc", "config.local")):
        try:
            config.read(path, encoding="utf-8")
        except (ConfigParserError, UnicodeDecodeError) as error:
            yield Line("problem", "DVC", f"{path} cannot be read ({_first(error)})", f"mend it: `git diff {path}`")
            return
    name = config.get("core", "remote", fallback="")
    if not name:
        cure = "`dvc remote add --default NAME ADDRESS` makes one; without it results are kept on this disk alone"
        yield Line("warning", "DVC remote", "none is set", cure)
        return
    section = next((one for one in config.sections() if one.strip("'") == f'remote "{name}"'), "")
    written = config.get(section, "url", fallback="") if section else ""
    if not written:
        found = f"{name} is the default and has no address"
        yield Line("problem", "DVC remote", found, f"`dvc remote add {name} ADDRESS`")
        return
    address = urllib.parse.urlsplit(written)
    if address.scheme and address.scheme != "file":
        place = f"{address.scheme}://{address.hostname or ''}{address.path}"  # without a user's name or password
        yield Line("ok", "DVC remote", f"{name} at {place}, not contacted")
        return
    yield _folder_remote(name, Path(".dvc", address.path if address.scheme else written))


def _folder_remote(name: str, folder: Path) -> Line:
    """A remote that is a folder, which ``dvc push`` makes where it is not there yet."""
    folder = Path(os.path.normpath(folder))
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Line("ok", "DVC remote", f"{name} in {folder}")
    if folder.exists():
        return Line("problem", "DVC remote", f"{name} in {folder}, which cannot be written", "mend its permissions")
    if folder.parent.is_dir() and os.access(folder.parent, os.W_OK):
        return Line("ok", "DVC remote", f"{name} in {folder}, which the first `dvc push` makes")
    return Line("problem", "DVC remote", f"{name} in {folder}, which is not there", "mount it, or change the address")


def _leftovers(_: Surroundings) -> Iterator[Line]:
    drivers = [pid for pid, command in _processes_here() if "snakemake" in command]
    locks = sorted(Path(".snakemake", "locks").glob("*.lock"))
    if locks and not drivers:
        found = f"a lock in {locks[0].parent}, and no Snakemake runs in this folder on this machine"
        yield Line("problem", "Snakemake", found, "run `framecast resume`, unless one runs on another machine")
    elif locks:
        yield Line("ok", "Snakemake", f"process {drivers[0]} runs here and holds the lock")
    yield from _dvc_lock()


def _dvc_lock() -> Iterator[Line]:
    path = Path(".dvc", "tmp", "rwlock")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        pids = {int(holder["pid"]) for holder in _holders(held)}
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield Line("problem", "DVC", f"{path} cannot be read", "run `framecast resume`")
        return
    alive = sorted(pid for pid in pids if _is_alive(pid))
    if alive:
        yield Line("ok", "DVC", f"process {alive[0]} runs here and holds {path}")
    elif pids:
        found = f"{path} is held by process {min(pids)}, which is dead on this machine"
        yield Line("warning", "DVC", found, "run `framecast resume`, unless one runs on another machine")


def _holders(held: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Who reads and writes: DVC keeps one holder or a list of them per path."""
    for places in held.values():
        for holders in places.values():
            yield from holders if isinstance(holders, list) else [holders]


def _processes_here() -> Iterator[tuple[int, str]]:
    """(pid, command) of every process of ours whose working folder is this one, as far as /proc tells."""
    here = Path.cwd()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() == here and int(folder.name) != os.getpid():
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(folder.name), " ".join(Path(word).name for word in command[:4])
        except OSError:
            continue


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


Check = Callable[[Surroundings], Iterable[Line]]
CHECKS: tuple[Check, ...] = (
    _python,
    _torch,
    _programs,
    _study,
    _raw_data,
    _mirror,
    _disk,
    _permissions,
    _dvc_remote,
    _leftovers,
    _slurm,
    _site,
)
