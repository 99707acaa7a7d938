"""docs/cluster.md, as a new user would follow it: every command on the page, in its order, on a real Slurm.

What comes of it is the tiny study through ``snakemake --profile slurm``: the same bytes as on one machine.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from framecast.artifacts import sha256_of
from tests import pages, warm
from tests.conftest import BIN, STUCK_SECONDS
from tests.pipeline.conftest import KEYED, Clone
from tests.slurm.conftest import ClusterStudy
from tests.slurm.one_node import Job, OneNode

IN_ORDER = ["doctor", "-- data", "plan", "--profile slurm", "status --watch", "logs", "efficiency", "verify", "commit"]


@dataclass(frozen=True)
class Followed:
    """A study after every command on the page."""

    study: ClusterStudy
    code: int
    out: str
    err: str
    jobs: list[Job]


@pytest.fixture(scope="module")
def followed(slurm: OneNode, fresh: Callable[[], Clone]) -> Followed:
    """The page, followed from its first line to its last by the real programs."""
    folder = fresh().folder
    shutil.rmtree(folder / ".git")
    study = ClusterStudy(folder, slurm)
    study.edit("slurm/config.yaml", ("seconds-before-status-checks: 10", "seconds-before-status-checks: 1"))
    with (folder / "slurm" / "config.yaml").open("a") as profile:
        profile.write("slurm-patient-patience: 0.02\n")  # eight jobs, and not hundreds
    study("dvc", "config", "--local", "core.no_scm", "true")  # the harness' folder is no git clone
    path = study.environment["PATH"].replace(str(BIN), str(warm.programs()))  # warm processes, in the jobs too
    told = (f"echo '$ {line}'\n{line}" for line in pages.commands("docs/cluster.md"))
    script = "\n".join(["set -euo pipefail", *told])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=study.folder,
        env={**os.environ, **study.environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=STUCK_SECONDS,
        check=False,
    )
    return Followed(study, done.returncode, done.stdout, done.stderr, study.jobs())


def test_the_page_works_as_it_is_written(followed: Followed) -> None:
    told = pages.commands("docs/cluster.md")
    found = iter(told)
    assert all(any(words in line for line in found) for words in IN_ORDER), told
    assert followed.code == 0, followed.out + followed.err
    printed = dict(re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", followed.out, re.DOTALL | re.MULTILINE))
    assert "gpu" in printed["framecast doctor"]
    assert "counted" in printed["framecast plan --profile slurm"]
    assert "5 cells at scale tiny: done 5" in printed["framecast status --watch"]
    assert "done" in printed["framecast logs generated_sins/seq2seq_lstm/depth-1/mse/seed-1"]
    assert (followed.study.folder / "reports" / "report.html").exists()
    assert (followed.study.folder / "dvc.lock").exists()
    assert {job.state for job in followed.jobs} == {"COMPLETED"}
    assert len(followed.jobs) == 8, "three trainings and five scores, each submitted once"


MADE = [*(f"data/{phase}" for phase in KEYED), "reports"]


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every artefact, by path."""
    files = (path for made in MADE for path in (folder / made).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files if path.name != ".gitignore"}


def test_the_cluster_makes_what_one_machine_makes(followed: Followed, built: Clone) -> None:
    assert followed.code == 0, followed.out + followed.err
    rules = {job.comment.partition("_wildcards_")[0] for job in followed.jobs}
    assert rules == {"rule_train", "rule_evaluate", "rule_evaluate_baseline"}
    study = followed.study
    assert hashes(study.folder) == hashes(built.folder)
    assert (study.folder / "dvc.lock").read_text() == (built.folder / "dvc.lock").read_text()
    for profile in ((), ("--profile", "slurm")):
        assert "Nothing to be done" in study("snakemake", *profile, "--dry-run").stdout
    assert "Data and pipelines are up to date." in study("dvc", "status").stdout
