"""docs/cluster.md, as a new user would follow it: every command on the page, in its order, on a real Slurm."""

import re
import subprocess

from tests.conftest import ROOT, STUCK_SECONDS
from tests.slurm.conftest import ClusterStudy

INSTALLING = ("git clone", "make .venv", "source ")  #: what the harness has done already
IN_ORDER = ["doctor", "-- data", "plan", "--profile slurm", "status --watch", "logs", "efficiency", "verify", "commit"]


def commands() -> list[str]:
    """The lines of every block of shell commands."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [line for line in lines if not line.startswith(INSTALLING)]


def test_the_page_works_as_it_is_written(study: ClusterStudy) -> None:
    told = commands()
    found = iter(told)
    assert all(any(words in line for line in found) for words in IN_ORDER), told
    study("dvc", "config", "--local", "core.no_scm", "true")  # the harness' folder is no git clone
    script = "\n".join(["set -euo pipefail", *(f"echo '$ {line}'\n{line}" for line in told)])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=study.folder,
        env=study.whole_environment,
        capture_output=True,
        text=True,
        timeout=STUCK_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = dict(re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    assert "gpu" in printed["framecast doctor"]
    assert "counted" in printed["framecast plan --profile slurm"]
    assert "5 cells at scale tiny: done 5" in printed["framecast status --watch"]
    assert "done" in printed["framecast logs generated_sins/seq2seq_lstm/depth-1/mse/seed-1"]
    assert (study.folder / "reports" / "report.html").exists()
    assert (study.folder / "dvc.lock").exists()
    jobs = study.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert len(jobs) == 8, "three trainings and five scores, each submitted once"
