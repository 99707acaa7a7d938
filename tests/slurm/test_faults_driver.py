"""The driver of a grid dies, or meets another, while Slurm has its jobs: ``framecast resume`` with a real Slurm."""

import json
import re
import shutil
import subprocess

import pytest

from framecast.upkeep import driver
from tests.conftest import ROOT, one_line
from tests.pipeline.conftest import CONVLSTM, LSTM, Clone, pulled, pulled_once
from tests.pipeline.test_resume import (
    RESUME,
    Gate,
    Start,
    attempts,
    frozen,
    gate,
    hashes,
    record,
    remains,
    start,
    until,
    without,
)
from tests.slurm.conftest import SNAKEMAKE, ClusterStudy
from tests.slurm.one_node import Job, OneNode

__all__ = ["gate", "pulled", "pulled_once", "start"]  # fixtures

#: Ours, where the Snakefile asks before anything else; else Snakemake's own.
REFUSED = re.compile(r"already being run here|a driver was killed here|Directory cannot be locked")
CELLS = (LSTM.format(1), LSTM.format(2), CONVLSTM)


@pytest.fixture
def grid(slurm: OneNode, pulled: Clone) -> ClusterStudy:
    """A study whose data and baselines are made and whose cells are not, in a folder that git knows nothing of."""
    shutil.rmtree(pulled.folder / ".git")
    shutil.copytree(ROOT / "slurm", pulled.folder / "slurm", dirs_exist_ok=True)
    return ClusterStudy(pulled.folder, slurm)


def trained(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if job.comment.startswith("rule_train_")]


def states(study: ClusterStudy) -> list[str]:
    return sorted(job.state for job in study.jobs())


def test_the_driver_killed_with_jobs_pending_and_running(
    grid: ClusterStudy, built: Clone, gate: Gate, start: Start
) -> None:
    before = without(grid, *CELLS)
    first = start(grid, *SNAKEMAKE, **gate.close(*CELLS), FRAMECAST_CPUS="4")  # one job fills a node
    until(lambda: states(grid) == ["PENDING", "RUNNING", "RUNNING"], "two jobs run, one waits")
    until(lambda: sum(gate.holds(cell) for cell in CELLS) == 2, "both train")

    ids = [job.id for job in grid.jobs()]
    beside = grid(*SNAKEMAKE, check=False)
    assert beside.returncode
    assert REFUSED.search(beside.stderr)
    first.kill()

    seen = frozen(grid.folder)
    refusal = one_line(grid(*RESUME, check=False))
    assert f"still alive: 3 Slurm jobs (scancel {' '.join(map(str, ids))})" in refusal
    assert refusal.endswith("wait with `framecast resume --wait`, or end them first")
    again = grid(*SNAKEMAKE, check=False)
    assert again.returncode
    assert REFUSED.search(again.stderr)
    assert frozen(grid.folder) == seen
    assert [job.id for job in grid.jobs()] == ids

    resumed = start(grid, *RESUME, "--wait")
    until(lambda: "waiting for 3 Slurm jobs" in resumed.printed(), "it waits")
    assert json.loads((grid.folder / driver.RECORD).read_text())["environment"]["FRAMECAST_CPUS"] == "4"
    gate.open()
    told = resumed.ends_well()
    assert "removed Snakemake's lock" in told
    assert f"going on with {' '.join(SNAKEMAKE)}" in told

    assert set(states(grid)) == {"COMPLETED"}
    assert [job.id for job in trained(grid.jobs())] == ids
    assert attempts(grid.folder) == {cell: ["done"] for cell in CELLS}
    assert attempts(grid.folder, "evaluate") == {cell: ["done"] for cell in CELLS}
    assert hashes(grid.folder) == hashes(built.folder)
    assert before.items() <= grid.artefacts().items()
    assert remains(grid.folder) == []
    assert "Nothing to be done" in grid(*SNAKEMAKE, "--dry-run").stdout


def test_a_controller_that_does_not_answer(grid: ClusterStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.folder)
    record(command=" ".join(SNAKEMAKE))
    seen = frozen(grid.folder)
    grid.cluster.kill_controller(saved=False)
    with grid.cluster.short_of_patience():
        refusal = one_line(grid(*RESUME, check=False))
    assert refusal == (
        "framecast: resume: the Slurm controller does not answer, so its jobs may be alive; try again when it does"
    )
    assert frozen(grid.folder) == seen


def test_other_folders_jobs_are_none_of_ours(
    grid: ClusterStudy, slurm: OneNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(grid.folder)
    record(command="snakemake --profile slurm --dry-run")
    above, here = (slurm.submit("sleep 600", f"--chdir={place}") for place in (grid.folder.parent, grid.folder))
    refusal = one_line(grid(*RESUME, check=False))
    assert f"still alive: 1 Slurm job (scancel {here});" in refusal
    slurm.run("scancel", str(here))
    slurm.wait(here)
    done: subprocess.CompletedProcess[str] = grid(*RESUME)
    assert "going on with snakemake --profile slurm --dry-run" in done.stderr
    assert not slurm.jobs()[above].finished
