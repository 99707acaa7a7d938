"""What clusters do to jobs, done by a real Slurm: each fault is outlived, named, and leaves the bytes of a calm run.

The cells are of a model that dawdles between its steps and hoards memory, inside jobs only and as it is told to, so
that a fault can strike in the middle of a training and the same training takes a moment where nothing disturbs it.
"""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from framecast.artifacts import read_json, sha256_of
from framecast.cluster.journal import Attempt
from tests.conftest import STUCK_SECONDS, run, until
from tests.pipeline.conftest import Clone
from tests.pipeline.test_local_faults import LATE
from tests.slurm.conftest import ClusterStudy
from tests.slurm.one_node import Job, OneNode

SEEDS = (1, 2, 3, 4, 5, 6)
STEPS = 160
STUDY = f"""
scale: tiny
seeds: {list(SEEDS)}
studies: {{slow: {{datasets: [generated_sins], models: [dawdler], depths: [1], losses: [mse]}}}}
datasets: {{generated_sins: {{kind: generated_sins, context: 5, horizon: 5, train: 64, validation: 16, test: 16}}}}
models: {{dawdler: {{kind: dawdler, training: {{batch_size: 16}}}}}}
baselines: [copy_last]
losses: {{mse: {{mse: 1.0}}}}
training: {{epochs: {STEPS // 4}, batch_size: 4, learning_rate: 1.0e-3, betas: [0.9, 0.98], log_every: 50}}
evaluation: {{metrics: [mse_pix01], primary: mse_pix01, batch_size: 8, clips: 2, resamples: 200}}
figures: {{}}
scales: {{tiny: {{}}}}
"""
DAWDLER = '''
"""A Seq2Seq LSTM that, in a job of a cluster, is slow or takes memory for as long as a file says so."""

import os
import sys
import time
from pathlib import Path

from framecast.models.seq2seq_lstm import Seq2SeqLSTM
from framecast.ranges import PositiveInt

FRAMES = "series"


class Dawdler(Seq2SeqLSTM):
    """While dawdle/<seed> exists half a second a step, and five from the sixtieth on, so that a busy machine finds it
    running, too; a tenth of the MB that hoard/<seed> tells in each step.
    """

    def __init__(self, frame_shape: tuple[int, ...], *, depth: PositiveInt, hidden_size: PositiveInt = 8) -> None:
        super().__init__(frame_shape, depth=depth, hidden_size=hidden_size)
        self.hoard = []
        self.dawdled = 0

    def forward(self, *arguments):
        if self.training and "SLURM_JOB_ID" in os.environ:
            seed = Path(sys.argv[2]).name
            if (Path("dawdle") / seed).exists():
                self.dawdled += 1
                time.sleep(0.5 if self.dawdled < 60 else 5)
            if (told := Path("hoard") / seed).exists() and len(self.hoard) < 20:
                self.hoard.append(bytes([1]) * (int(told.read_text()) * 10**5 if len(self.hoard) < 10 else 0))
                time.sleep(0.3)  # Slurm looks once a second
        return super().forward(*arguments)
'''
SEVERAL = (
    "import sys; from framecast.cli import app; [app(line.split(), standalone_mode=False) for line in sys.argv[1:]]"
)
LOW = {"FRAMECAST_PARTITION": "low", "FRAMECAST_CPUS": "3"}  #: one job on each node


def name(seed: int) -> str:
    return f"generated_sins/dawdler/depth-1/mse/seed-{seed}"


@pytest.fixture(scope="module")
def calm(fresh: Callable[[], Clone]) -> Clone:
    """The study with its data prepared and every cell trained in peace. Shared: look, do not touch."""
    clone = fresh()
    (clone.folder / "params.yaml").write_text(STUDY)
    (clone.folder / "src/framecast/models/dawdler.py").write_text(DAWDLER)
    wanted = ["prepare generated_sins", *(f"train {name(seed)}" for seed in SEEDS), "plan"]
    clone("python", "-c", SEVERAL, *wanted)
    return clone


@dataclass(frozen=True)
class Grid:
    """Some cells of the study, in a cluster, with nothing of them trained."""

    study: ClusterStudy
    calm: Path

    def __call__(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the study, whether it succeeds or not."""
        return run(*command, cwd=self.study.folder, check=False, **{**self.study.environment, **environment})

    def shim(self, folder: Path, program: str, script: str) -> dict[str, str]:
        """A program of the test's own in the place of Slurm's, which it knows as ``$real``: the PATH that has it."""
        real = shlex.quote(str(self.study.cluster.folder / "bin" / program))
        (folder / program).write_text(f"#!/bin/bash\nreal={real}\n{script}\n", encoding="utf-8")
        (folder / program).chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{self.study.environment['PATH']}"}

    def targets(self, *seeds: int) -> list[str]:
        """What Snakemake is asked for."""
        return [str(self._run(seed).relative_to(self.calm)) for seed in seeds]

    def same_as_calm(self, *seeds: int) -> None:
        """These cells are trained, and their files are those of a calm run."""
        for seed in seeds:
            for calm in self._run(seed).parent.iterdir():
                assert sha256_of(self.study.folder / calm.relative_to(self.calm)) == sha256_of(calm), calm

    def dawdle(self, *seeds: int) -> None:
        """Let cells take their time, until ``hurry``."""
        for seed in seeds:
            self._told("dawdle", seed).touch()

    def hurry(self, *seeds: int) -> None:
        for seed in seeds:
            self._told("dawdle", seed).unlink()

    def hoard(self, seed: int, mb: int) -> None:
        """Let a cell take memory beyond what can be foreseen."""
        self._told("hoard", seed).write_text(str(mb))

    def attempts(self, seed: int) -> list[Attempt]:
        """How a cell fared, as it is written down, oldest first."""
        where = self.study.folder / "logs/attempts/train" / name(seed)
        paths = sorted(where.glob("*/*.json"), key=lambda path: int(path.stem))
        return [Attempt(**{key: value for key, value in read_json(path).items() if key != "seal"}) for path in paths]

    def endings(self, seed: int) -> list[str]:
        return [attempt.ending for attempt in self.attempts(seed)]

    def one_writer(self, *seeds: int) -> None:
        """No two attempts at a cell were alive at the same time."""
        for seed in seeds:
            made = self.attempts(seed)
            for before, after in itertools.pairwise(made):
                assert before.heartbeat <= after.begun + 1, (before, after)

    def job(self, seed: int) -> Job:
        """The job that trains a cell, waiting or running."""
        [found] = [job for job in self.study.jobs() if f"_mse_{seed}_" in job.comment and not job.finished]
        return found

    def reached(self, seed: int, attempts: int = 1) -> bool:
        """Whether a cell is in the middle of an attempt, or was in that of a later one."""
        return len(made := self.attempts(seed)) >= attempts and made[-1].rate > 0

    def reach(self, seed: int, attempts: int = 1) -> None:
        """Wait until a cell is in the middle of an attempt."""
        until(lambda: self.reached(seed, attempts), f"attempt {attempts} at {seed}")

    def hurry_from(self, attempts: int, *seeds: int) -> None:
        """Let each of these cells hurry as soon as it is in the middle of that attempt, whichever comes first."""
        left = list(seeds)

        def all_hurry() -> bool:
            for seed in [seed for seed in left if self.reached(seed, attempts)]:
                self.hurry(seed)
                left.remove(seed)
            return not left

        until(all_hurry, f"attempt {attempts} at each of {seeds}")

    def status(self, **environment: str) -> dict[str, str]:
        """What ``framecast status`` says of each cell that it names."""
        told = self("framecast", "status", **environment).stdout.splitlines()
        return {line.split()[0]: " ".join(line.split()[1:]) for line in told}

    def _run(self, seed: int) -> Path:
        [path] = (self.calm / "data/runs" / name(seed)).glob("*/run.json")
        return path

    def _told(self, what: str, seed: int) -> Path:
        (self.study.folder / what).mkdir(exist_ok=True)
        return self.study.folder / what / f"seed-{seed}"


@pytest.fixture
def grid(study: ClusterStudy, calm: Clone) -> Grid:
    ignored = shutil.ignore_patterns("runs", "checkpoints", "attempts", ".git", ".snakemake")
    shutil.copytree(calm.folder, study.folder, dirs_exist_ok=True, ignore=ignored)
    return Grid(study, calm.folder)


# --- time, memory, signals ----------------------------------------------------------------------------


def test_signals_limits_and_cancelling_are_outlived_and_named(grid: Grid, slurm: OneNode) -> None:
    """Six cells of one grid: SIGTERM, SIGUSR1, scancel, Slurm's time limit, and twice too much memory."""
    term, usr1, cancelled, late, fat, fattest = SEEDS
    grid.dawdle(term, usr1, cancelled, late)
    grid.hoard(fat, 1000)
    grid.hoard(fattest, 2500)
    retried = ("--retries", "2")
    limits = {"FRAMECAST_CPUS": "1", "FRAMECAST_MEMORY_MB": "2000"}
    driver = grid.study.driver(*retried, *grid.targets(*SEEDS), **limits)
    strikes: dict[int, Callable[[], object]] = {
        term: lambda: slurm.run("scancel", "--signal=TERM", f"{grid.job(term).id}.0"),
        usr1: lambda: slurm.run("scancel", "--signal=USR1", f"{grid.job(usr1).id}.0"),
        cancelled: lambda: slurm.run("scancel", str(grid.job(cancelled).id)),
        late: lambda: slurm.expire(grid.job(late).id),
    }
    for seed in strikes:
        grid.reach(seed)
        if seed == term:
            told = grid.status()[name(term)]
            assert re.fullmatch(rf"running step \d+/{STEPS}, \d+ s left, job \d+ on \S+", told), told
        strikes[seed]()
    grid.hurry_from(2, *strikes)
    assert driver.wait(timeout=STUCK_SECONDS) == 1
    done, total = map(int, re.findall(r"(\d+) of (\d+) steps \(\d+%\) done", grid.study.printed())[-1])
    assert done == total - 1, (done, total)

    assert re.search(rf"train generated_sins/dawdler/1/mse/{cancelled}/\w+: .*'CANCELLED'", grid.study.printed())

    status = grid.status(**limits)
    expected = {
        term: ["stopped", "done"],
        usr1: ["stopped", "done"],
        cancelled: ["cancelled", "done"],
        late: ["out of time", "done"],
        fat: ["out of memory", "done"],
        fattest: ["out of memory"] * 3,
    }
    for seed, endings in expected.items():
        assert grid.endings(seed) == endings, (seed, grid.attempts(seed))
    for seed in strikes:
        first, last = grid.attempts(seed)
        assert 0 < first.step < STEPS
        assert f"saved at step {first.step} of {STEPS}" in first.reason
        assert first.job != last.job
    for seed, words in {term: "received SIGTERM", usr1: "received SIGUSR1", cancelled: "Slurm says CANCELLED"}.items():
        assert words in grid.attempts(seed)[0].reason
    assert grid.attempts(late)[1].asked_minutes == 2 * grid.attempts(late)[0].asked_minutes
    asked = grid.attempts(fat)[0].asked_mb
    assert [attempt.asked_mb for attempt in grid.attempts(fat)] == [asked, 2 * asked]
    assert [attempt.asked_mb for attempt in grid.attempts(fattest)] == [asked, 2000, 2000]
    peak = grid.attempts(fattest)[-1].peak_mb
    assert peak > 1000
    assert f"out of memory: peak {peak:.0f} MB of 2000 MB" in status[name(fattest)]
    assert status[name(fattest)].endswith("→ FRAMECAST_MEMORY_MB=4000 snakemake --profile slurm")
    assert "out of memory" in grid.study("framecast", "logs", name(fattest)).stdout
    grid.same_as_calm(term, usr1, cancelled, late, fat)
    grid.one_writer(*SEEDS)
    assert not list(grid.study.folder.glob(f"data/runs/{name(fattest)}/*/*"))

    efficiency = grid.study("framecast", "efficiency").stdout
    assert re.search(rf"train +{name(fat)} +done +\d+% +\d+% of 2000 MB +\d+% \d+ s", efficiency)
    plan = grid("framecast", "plan", "--profile", "slurm")
    assert re.search(r"train +\S+ +1 +4000 .* measured: \S+ steps/s on cpu", plan.stdout), plan.stdout
    assert "8 jobs (1 train, 7 evaluate), 0 further slices" in plan.stdout
    grid.hoard(fattest, 0)
    small = grid("framecast", "plan", "--profile", "slurm", FRAMECAST_PARTITION="nowhere", FRAMECAST_MEMORY_MB="64000")
    assert small.returncode == 1
    assert "does not fit: partition 'nowhere' is not one of gpu, high, low, main" in small.stdout


def test_a_cell_longer_than_a_job_trains_in_slices(grid: Grid, tmp_path: Path) -> None:
    """One job's slices by requeue; where Slurm refuses that, Snakemake's retries; and outputs that are seen late.

    What a training is told of the time that its job has left is ten seconds more than the margin, whenever it asks:
    the real limit would also count how long this machine takes to start it.
    """
    requeued, refused = SEEDS[:2]
    (tmp_path / "sitecustomize.py").write_text(LATE)
    late = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{grid.study.environment['PYTHONPATH']}",
        "TOLD": str(tmp_path / "told"),
    }
    asks = f'case "$1 $(tr "\\0" " " < /proc/$PPID/cmdline)" in requeue*seed-{refused}*)'
    path = grid.shim(tmp_path, "scontrol", f'{asks} echo it is disabled >&2; exit 1;; esac\nexec "$real" "$@"')
    left = f'"$real" "$@" | tee -a {tmp_path}/left | sed "s/[^|]*$/30:10/"'
    grid.shim(tmp_path, "squeue", f'case "$*" in *%L*) {left};; *) exec "$real" "$@";; esac')
    grid.dawdle(requeued, refused)
    limits = {"FRAMECAST_CPUS": "1", "FRAMECAST_WALLTIME": "60", "FRAMECAST_MARGIN": "1800"}
    driver = grid.study.driver("--retries", "9", *grid.targets(requeued, refused), **limits, **late, **path)
    grid.hurry_from(2, requeued, refused)
    assert driver.wait(timeout=STUCK_SECONDS) == 0

    for seed in (requeued, refused):
        *slices, last = grid.attempts(seed)
        assert last.outcome == "done"
        for one in slices:
            assert one.outcome == "stopped"
            assert "the time budget of" in one.reason
        assert 0 < slices[0].step < STEPS
    assert len({attempt.job for attempt in grid.attempts(requeued)}) == 1
    assert len({attempt.job for attempt in grid.attempts(refused)}) == len(grid.attempts(refused))
    assert grid.study.printed().count("Trying to restart") == len(grid.attempts(refused)) - 1
    assert "will not requeue this job: it is disabled" in grid("framecast", "logs", name(refused)).stdout
    told = (tmp_path / "told").read_text().splitlines()
    assert told.count("4 files of train are late") == 2
    for line in (tmp_path / "left").read_text().splitlines():
        assert re.fullmatch(r"\d+M\|36:00\|1\|\d+:\d\d", line), line
    grid.same_as_calm(requeued, refused)
    grid.one_writer(requeued, refused)


# --- machines -----------------------------------------------------------------------------------------


def test_lost_machines_and_outranked_jobs_are_queued_again_and_nobody_writes_twice(grid: Grid, slurm: OneNode) -> None:
    first, second = SEEDS[:2]
    grid.dawdle(first, second)
    driver = grid.study.driver(*grid.targets(first, second), **LOW)
    for seed in (first, second):
        grid.reach(seed)
    there = {seed: grid.job(seed).nodes for seed in (first, second)}
    assert set(there.values()) == set(slurm.nodes)
    slurm.kill_node(there[first])
    urgent = slurm.submit("sleep 1", "--partition=high", "--exclusive", f"--nodelist={there[second]}")
    slurm.wait(urgent)
    until(lambda: grid.job(first).state == "PENDING", "the lost job is queued again")
    waits = grid.status()[name(first)]
    assert re.match(rf"waiting job {grid.job(first).id} is pending \(\w+\)", waits), waits
    slurm.start_node(there[first])
    for seed in (first, second):
        grid.reach(seed, attempts=2)

    node = grid.job(first).nodes
    grid.hurry(second)
    slurm.kill_node(node, jobs=False)
    until(lambda: "is training it" in grid("framecast", "logs", name(first)).stdout, "a second writer is refused")
    grid.hurry(first)
    assert driver.wait(timeout=STUCK_SECONDS) == 0
    grid("framecast", "efficiency")
    assert grid.endings(second) == ["requeued", "done"]
    assert grid.endings(first)[:2] == ["requeued", "done"]
    for seed in (first, second):
        assert "Slurm took job" in grid.attempts(seed)[0].reason
        assert len({attempt.job for attempt in grid.attempts(seed)[:2]}) == 1
    grid.same_as_calm(first, second)
    grid.one_writer(first, second)


# --- the controller -----------------------------------------------------------------------------------


def test_refused_submissions_and_a_controller_that_dies_cost_no_cell(
    grid: Grid, slurm: OneNode, tmp_path: Path
) -> None:
    """Every second submission fails; then all jobs are forgotten; then the controller is away for a while."""
    seeds = SEEDS[:4]
    failing = 'exec 9> "$0.lock"; flock 9; echo >> "$0.calls"; (( $(wc -l < "$0.calls") % 2 )) && fails=1'
    words = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    path = grid.shim(
        tmp_path, "sbatch", f'{failing}\n[ "$fails" ] && {{ echo "{words}" >&2; exit 1; }}\nexec "$real" "$@"'
    )
    grid.dawdle(*seeds)
    slurm.drain(*slurm.nodes)  # what runs already would be found again
    driver = grid.study.driver(*grid.targets(*seeds), FRAMECAST_CPUS="1", **path)
    until(lambda: grid.study.printed().count("has been submitted") == 4, "four submissions")
    slurm.kill_controller(saved=False)
    slurm.start_controller()
    forgotten = 4 - len(grid.study.jobs())
    assert forgotten
    until(lambda: grid.study.printed().count("has been submitted") == 4 + forgotten, "the forgotten ones again")
    slurm.resume_drained()
    for seed in seeds:
        grid.reach(seed)
    slurm.kill_controller()
    grid.hurry(*seeds)
    time.sleep(5)
    slurm.start_controller()
    assert driver.wait(timeout=STUCK_SECONDS) == 0
    printed = grid.study.printed()
    assert printed.count("Slurm no longer knows job") == printed.count("Trying to restart") == forgotten
    assert "Unable to contact slurm controller (connect failure); trying again in 0.04 s (1 of 8)" in printed
    assert all(grid.endings(seed) == ["done"] for seed in seeds)
    grid.same_as_calm(*seeds)


def test_what_slurm_will_never_accept_ends_at_once_in_its_own_words(grid: Grid, tmp_path: Path) -> None:
    away, refused = SEEDS[:2]
    words = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    fails = f'[[ "$*" == *_mse_{away}_* ]] && {{ echo "{words}" >&2; exit 1; }}'
    path = grid.shim(tmp_path, "sbatch", f'{fails}\nexec "$real" "$@"')
    arguments = ("--slurm-patient-patience", "0.01", "--retries", "1", *grid.targets(away, refused))
    done = grid.study.submit(*arguments, check=False, FRAMECAST_PARTITION="nowhere", **path)
    assert done.returncode == 1
    told = re.findall(r"^sbatch refused .*", done.stderr, re.MULTILINE)
    assert sum("invalid partition specified: nowhere" in line for line in told) == 1, told
    assert sum("also after 8 more attempts in 2.42 s" in line for line in told) == 2, told
