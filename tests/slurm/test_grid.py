"""The tiny study through ``snakemake --profile slurm``: the same bytes as on one machine."""

from pathlib import Path

from framecast.artifacts import sha256_of
from tests.pipeline.conftest import KEYED, Clone
from tests.slurm.conftest import ClusterStudy

MADE = [*(f"data/{phase}" for phase in KEYED), "reports"]


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every artefact, by path."""
    files = (path for made in MADE for path in (folder / made).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files if path.name != ".gitignore"}


def test_the_cluster_makes_what_one_machine_makes(study: ClusterStudy, built: Clone) -> None:
    study("snakemake", "--profile", "slurm")
    assert {job.state for job in study.jobs()} == {"COMPLETED"}
    rules = {job.comment.partition("_wildcards_")[0] for job in study.jobs()}
    assert rules == {"rule_train", "rule_evaluate", "rule_evaluate_baseline"}

    assert (study.folder / "reports" / "report.html").exists()
    assert hashes(study.folder) == hashes(built.folder)
    study("dvc", "config", "--local", "core.no_scm", "true")
    study("dvc", "commit", "--force")
    assert (study.folder / "dvc.lock").read_text() == (built.folder / "dvc.lock").read_text()

    for profile in ((), ("--profile", "slurm")):
        assert "Nothing to be done" in study("snakemake", *profile, "--dry-run").stdout
    assert "Data and pipelines are up to date." in study("dvc", "status").stdout
