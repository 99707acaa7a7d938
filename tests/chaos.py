"""Break everything at random while a small grid runs through Slurm, and compare what it makes with an undisturbed run.

    python -m tests.chaos 20             twenty minutes; the seed of each round is printed
    python -m tests.chaos 1 --seed 7     begin with that round again

A private cluster of two nodes runs ``snakemake --profile slurm`` under cancelled jobs, signals, SIGKILL of training, of
the driver and of the controller, lost nodes and requeues. A driver that was killed is followed by ``framecast resume``,
one that gave up by another. A round ends when the grid is complete: every artefact must have the reference's sha256,
every cell one training that came to its end and never two at a time, and no lock, lease or half-written file may lie
there. (What Slurm itself queues again in the last second of its job is made twice, and is counted; so is a score.)
"""

import argparse
import contextlib
import itertools
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from framecast.artifacts import read_json, sha256_of
from framecast.upkeep import driver
from tests.conftest import compile_source
from tests.slurm.one_node import Job, OneNode, SlurmError

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
HASTE = (
    "--slurm-patient-init-seconds-before-status-checks",
    "1",
    "--slurm-patient-patience",
    "0.05",
)  #: a small cluster
SNAKEMAKE = ("snakemake", "--profile", "slurm", *HASTE)
NODES, CPUS, GPUS, MEMORY = 2, 4, 2, 8000
FAULTS = 10  #: in a round; after so many it may end in peace
ROUND_SECONDS = 3600  #: a round that takes longer is stuck, on a slow machine, too
PATIENCE = 45  #: seconds until an administrator releases a job that Slurm has put on hold
PAUSE = (0.5, 4.0)  #: seconds between faults
MADE = ("data/processed", "data/runs", "data/scores", "reports")

#: Of the tests' params.yaml: some ten seconds for a cell, and fewer cells.
GRID = {
    "epochs: 2": "epochs: 250",
    "seeds: [1, 2]": "seeds: [1]",
    "baselines: [copy_last, zeros, least_squares]": "baselines: [copy_last]",
}
RULE = {"framecast train ": "framecast train --checkpoint-minutes 0.02 "}  #: saves its state every second


class Difference(Exception):
    """A round did not end as it must; the message says what was found."""


@dataclass
class Study:
    """The grid in a folder of its own."""

    folder: Path
    cluster: OneNode
    programs: Path = BIN  #: the folder of those that are started here
    extra: dict[str, str] = field(default_factory=dict)  #: of a round: how long its slices are

    def environment(self) -> dict[str, str]:
        """What every program here needs."""
        site = {"DEVICE": "cpu", "GPUS": "1", "CPUS": "1", "MEMORY_MB": str(MEMORY)}
        return {
            **os.environ,
            **self.cluster.environment(),
            "PYTHONPATH": str(self.folder / "src"),
            "PATH": os.pathsep.join([str(self.cluster.folder / "bin"), str(BIN), os.environ.get("PATH", os.defpath)]),
            **{f"FRAMECAST_{key}": value for key, value in site.items()},
            **self.extra,
        }

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program here, in a session of its own; it prints to ``chaos.log``."""
        with self.log() as log:
            log.write(f"\n=== {' '.join(command)}\n".encode())
            log.flush()
            return subprocess.Popen(
                [self.programs / command[0], *command[1:]],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> IO[bytes]:
        return (self.folder / "chaos.log").open("ab")

    def note(self, line: str) -> None:
        """Write down what is done to it."""
        with self.log() as log:
            log.write(f"### {time.strftime('%H:%M:%S')} {line}\n".encode())

    def jobs(self) -> list[Job]:
        """Its jobs that wait or run."""
        found = sorted(self.cluster.jobs().items())
        return [job for _, job in found if job.folder == str(self.folder) and not job.finished]

    def trainings(self) -> list[int]:
        """Processes that train or score one of its cells."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                words = process.cmdline()
                if words[1:2] == [str(BIN / "framecast")] and words[2:3] in (["train"], ["evaluate"]):
                    found += [process.pid] * (Path(process.cwd()) == self.folder)
        return found

    def hashes(self) -> dict[str, str]:
        """sha256 of every artefact, by path."""
        files = (path for made in MADE for path in (self.folder / made).rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): sha256_of(path) for path in files}

    def remains(self) -> list[str]:
        """What only a killed process leaves."""
        patterns = (".snakemake/locks/*", "data/**/lease.json", "data/**/.*.partial", "reports/**/.*.partial")
        found = [path for pattern in (*patterns, driver.RECORD.as_posix()) for path in self.folder.glob(pattern)]
        return [path.relative_to(self.folder).as_posix() for path in found]

    def attempts(self) -> dict[str, list[dict[str, object]]]:
        """Every attempt at every cell, by phase and cell, in their order."""
        place, found = self.folder / "logs" / "attempts", {}
        for path in sorted(place.rglob("*.json"), key=lambda path: int(path.stem)):
            found.setdefault(path.parent.parent.relative_to(place).as_posix(), []).append(read_json(path))
        return found


def new_cluster() -> OneNode:
    """A cluster that has yet to be started."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    return OneNode(folder, nodes=NODES, cpus=CPUS, gpus=GPUS, memory=MEMORY)


def new_source(folder: Path, grid: dict[str, str]) -> Path:
    """A folder with a small grid of which nothing is made."""
    folder.mkdir()
    for name in ("workflow", "profiles", "slurm", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copy(ROOT / "tests" / "params.yaml", folder)
    for file, changes in {"params.yaml": grid, "workflow/rules/train.smk": RULE}.items():
        text = (folder / file).read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, f"{file}: {old!r}"
            text = text.replace(old, new)
        (folder / file).write_text(text, encoding="utf-8")
    compile_source(folder)
    return folder


# --- faults -----------------------------------------------------------------------------------------


class Round:
    """One run of the grid under faults that a seed decides."""

    def __init__(self, study: Study, seed: int, faults: int) -> None:
        self.study, self.cluster, self.seed, self.left = study, study.cluster, seed, faults
        self.chance, self.counts = random.Random(seed), Counter[str]()
        self.driver: subprocess.Popen[bytes] | None = None
        self.held: dict[int, float] = {}
        if self.chance.random() < 0.5:
            study.extra = self._slices()
            self.counts["in slices"] += 1

    def _slices(self) -> dict[str, str]:
        """Slices of ten seconds of training, however long this machine takes to start one.

        A job has an hour. A training that asks what is left of it is told ten seconds more than the margin.
        """
        folder = self.study.folder / "bin"
        folder.mkdir()
        real = shlex.quote(str(self.cluster.folder / "bin" / "squeue"))
        left = f'{real} "$@" | sed "s/[^|]*$/30:10/"'
        (folder / "squeue").write_text(f'#!/bin/bash\ncase "$*" in *%L*) {left};; *) exec {real} "$@";; esac\n')
        (folder / "squeue").chmod(0o755)
        path = f"{folder}{os.pathsep}{self.study.environment()['PATH']}"
        return {"FRAMECAST_WALLTIME": "60", "FRAMECAST_MARGIN": "1800", "PATH": path}

    def run(self) -> None:
        """From an empty folder to a complete grid, or Difference."""
        end = time.monotonic() + ROUND_SECONDS
        self.driver = self.study.start(*SNAKEMAKE)
        while not self._is_over():
            if time.monotonic() > end:
                raise Difference(f"not complete after {ROUND_SECONDS} s; jobs: {self.study.jobs()}")
            time.sleep(self.chance.uniform(*PAUSE))
            self._tend()
            if self.left and self._begun():
                self._fault()

    def _tend(self) -> None:
        """What an administrator does: a node that Slurm has drained after all this is used again."""
        with contextlib.suppress(SlurmError, subprocess.TimeoutExpired):
            for name in self.cluster.resume_drained():
                self.study.note(f"{name} is drained, and resumed")
                self.counts["drained nodes resumed"] += 1
            for job in self.study.jobs():
                now = time.monotonic()
                if "held" in job.reason and now - self.held.setdefault(job.id, now) > PATIENCE:
                    del self.held[job.id]
                    self.study.note(f"{job.id} is held ({job.reason}), and released")
                    self.cluster.run("scontrol", "release", str(job.id))
                    self.counts["held jobs released by hand"] += 1

    def stop(self) -> None:
        """End what is left of a round that failed."""
        if self.driver is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()

    def _begun(self) -> bool:
        """Faults begin with the first job: before, there is nothing to lose."""
        return bool(list((self.study.folder / "logs").glob("attempts"))) or bool(self.study.jobs())

    def _is_over(self) -> bool:
        """Whether the driver has ended well. One that gave up is followed by another, a refusal by patience."""
        assert self.driver is not None
        if (code := self.driver.poll()) is None:
            return False
        if code == 0:
            return True
        self.study.note(f"the driver ended with {code}")
        if self._is_recorded():
            self.counts["resume refused"] += 1
            self.driver = self.study.start("framecast", "resume", "--wait")
        else:
            self.counts["driver gave up"] += 1
            self.driver = self.study.start(*SNAKEMAKE)
        return False

    def _fault(self) -> None:
        faults: list[Callable[[], str]] = [
            self._cancel,
            self._kill_training,
            self._kill_training,
            self._signal,
            self._signal,
            self._kill_driver,
            self._kill_controller,
            self._lose_node,
            self._requeue,
        ]
        try:
            done = self.chance.choice(faults)()
        except (SlurmError, subprocess.TimeoutExpired) as error:  # the job was faster
            self.study.note(f"not done: {error}")
            return
        if done:
            self.left -= 1
            self.counts.update([done, "faults"])

    def _any_job(self, *states: str) -> str:
        """The number of a random job of this study; empty where there is none."""
        jobs = [str(job.id) for job in self.study.jobs() if job.state in states]
        return self.chance.choice(jobs) if jobs else ""

    def _cancel(self) -> str:
        if job := self._any_job("RUNNING", "PENDING"):
            self.study.note(f"scancel {job}")
            self.cluster.run("scancel", job)
        return "scancel" * bool(job)

    def _signal(self) -> str:
        name = self.chance.choice(["TERM", "USR1"])
        if job := self._any_job("RUNNING"):
            self.study.note(f"scancel --signal={name} {job}")
            self.cluster.run("scancel", f"--signal={name}", job)
        return f"SIG{name} to a job" * bool(job)

    def _requeue(self) -> str:
        if job := self._any_job("RUNNING"):
            self.study.note(f"scontrol requeue {job}")
            self.cluster.run("scontrol", "requeue", job)
        return "requeue" * bool(job)

    def _kill_training(self) -> str:
        if not (found := self.study.trainings()):
            return ""
        pid = self.chance.choice(found)
        self.study.note(f"SIGKILL of process {pid}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return "SIGKILL of a cell"

    def _kill_driver(self) -> str:
        assert self.driver is not None
        self.study.note("SIGKILL of the driver")
        self.driver.kill()
        if self.driver.wait() != -signal.SIGKILL:  # it had just ended by itself
            return ""
        time.sleep(self.chance.uniform(0, 3))
        wait = ("--wait",) * self.chance.randrange(2)  # without, it may refuse: jobs are alive
        command = () if self._is_recorded() else SNAKEMAKE  # killed before it had begun
        self.driver = self.study.start("framecast", "resume", *wait, *command)
        return "SIGKILL of the driver"

    def _is_recorded(self) -> bool:
        return (self.study.folder / driver.RECORD).exists()

    def _kill_controller(self) -> str:
        saved = self.chance.random() < 0.7
        self.study.note(f"SIGKILL of slurmctld, its state {'saved' if saved else 'perhaps not saved'}")
        self.cluster.kill_controller(saved=saved)
        time.sleep(self.chance.uniform(0, 5))
        self.cluster.start_controller()
        return "SIGKILL of slurmctld"

    def _lose_node(self) -> str:
        name = self.chance.choice(self.cluster.nodes)
        self.study.note(f"{name} is lost")
        self.cluster.kill_node(name)
        time.sleep(self.chance.uniform(0, 5))
        self.cluster.start_node(name)
        self.study.note(f"{name} is back")
        return "node lost"


# --- judging ----------------------------------------------------------------------------------------


def judge(study: Study, expected: dict[str, str]) -> None:
    """Raise Difference for the first thing that is not as it must be."""
    if (found := study.hashes()) != expected:
        names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise Difference(f"these differ from the reference: {', '.join(names)}")
    for cell, tries in study.attempts().items():
        endings = [str(one["outcome"]) for one in tries]
        jobs = {str(one["job"]) for one in tries if one["outcome"] == "done"}
        if not jobs or (cell.startswith("train/") and len(jobs) > 1):
            raise Difference(f"{cell}: expected one attempt that is done, found {endings}")
        for before, after in itertools.pairwise(tries):
            if float(str(before["heartbeat"])) > float(str(after["begun"])) + STARTING_SECONDS:
                raise Difference(f"{cell}: attempts {before['number']} and {after['number']} overlap")
    if left := study.remains():
        raise Difference(f"left behind: {', '.join(left)}")


STARTING_SECONDS = 10  #: an attempt counts from its process, which then loads its libraries before it takes the cell


def reference(source: Path, folder: Path, cluster: OneNode, programs: Path) -> dict[str, str]:
    """Make the grid on this machine in peace; gives the sha256 of all that it makes."""
    study = Study(shutil.copytree(source, folder), cluster, programs)
    if (code := study.start("snakemake", "--cores", "2").wait()) != 0:
        raise Difference(f"the undisturbed run ended with {code}")
    return study.hashes()


def soak(
    place: Path,
    cluster: OneNode,
    *,
    seconds: float,
    seed: int,
    faults: int = FAULTS,
    grid: dict[str, str] = GRID,
    programs: Path = BIN,
) -> Counter[str]:
    """Rounds until the time is up, at least one; the counts of what was done. Difference at the first that is wrong.

    The undisturbed run is that of ``programs``; the rounds are the real ones'.
    """
    counts, began = Counter[str](), time.monotonic()
    source = new_source(place / "source", grid)
    expected = reference(source, place / "calm", cluster, programs)
    print(f"reference: {len(expected)} files in {time.monotonic() - began:.0f} s", flush=True)
    end = time.monotonic() + seconds
    while not counts["rounds"] or time.monotonic() < end:
        begun, study = time.monotonic(), Study(shutil.copytree(source, place / f"round-{seed}"), cluster)
        one = Round(study, seed, faults)
        try:
            one.run()
            judge(study, expected)
        except Difference as difference:
            raise Difference(f"seed {seed}: {difference}; see {study.folder}/chaos.log") from None
        finally:
            one.stop()
        tries = study.attempts()
        one.counts["made twice"] = sum(_done(made) - 1 for made in tries.values())
        one.counts |= Counter({"rounds": 1, "cells": len(tries), "attempts": sum(map(len, tries.values()))})
        print(f"seed {seed}: equal after {time.monotonic() - begun:.0f} s: {_told(one.counts)}", flush=True)
        counts += one.counts
        cluster.heal()
        shutil.rmtree(study.folder)
        seed += 1
    return counts


def _done(tries: list[dict[str, object]]) -> int:
    return sum(one["outcome"] == "done" for one in tries)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def main() -> None:
    """Soak for as many minutes as told; exit 1 at the first difference, its folder and the cluster's logs kept."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the first round")
    told = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    cluster = new_cluster()
    began = time.monotonic()
    try:
        cluster.start()
        counts = soak(place, cluster, seconds=told.minutes * 60, seed=told.seed)
    except Difference as difference:
        cluster.stop()
        sys.exit(f"{difference}\nkept: {place}, {cluster.folder}/log")
    except BaseException:
        cluster.stop(purge=True)
        raise
    cluster.stop(purge=True)
    shutil.rmtree(place)
    print(f"all equal in {time.monotonic() - began:.0f} s: {_told(counts)}")


if __name__ == "__main__":
    main()
