"""The rules and the DVC stages: in form, in step with each other, and plain about what is wrong."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from framecast.study import reading
from framecast.study.grid import Grid
from tests import warm
from tests.conftest import ROOT, run, until
from tests.pipeline.conftest import CONVLSTM, Clone
from tests.pipeline.test_resume import Gate, Start, gate, start

__all__ = ["gate", "start"]  # fixtures

GRID = Grid(reading.load(ROOT / "tests" / "params.yaml"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
WRITTEN = {
    "data": [file for dataset in GRID.datasets for file in GRID.data_files(dataset)],
    "train": [file for cell in GRID.probes for file in GRID.probe_files(cell)]
    + [file for cell in GRID.cells for file in GRID.run_files(cell)],
    "evaluate": [file for cell in GRID.scored for file in GRID.score_files(cell)] + GRID.table_files(),
    "report": GRID.report_files(),
}
TARGETS = {"data": "data", "train": "train_all", "evaluate": "evaluate_all", "report": "report"}


def outputs(stage: str) -> list[Path]:
    """What DVC records after a stage."""
    listed = [entry for kind in ("outs", "metrics", "plots") for entry in STAGES[stage].get(kind, ())]
    return [Path(name) for entry in listed for name in ([entry] if isinstance(entry, str) else entry)]


def test_every_file_of_a_phase_is_an_output_of_its_stage_and_of_no_other() -> None:
    assert STAGES.keys() == WRITTEN.keys()
    for phase, files in WRITTEN.items():
        for file in files:
            held = [stage for stage in STAGES if any(Path(file).is_relative_to(out) for out in outputs(stage))]
            assert held == [phase], file


def test_dvc_never_removes_what_snakemake_would_have_to_make_again() -> None:
    for stage, entry in STAGES.items():
        for kind in ("outs", "metrics", "plots"):
            assert all(options["persist"] for out in entry.get(kind, ()) for options in out.values()), stage


NO_TIMERS = """
import sys
from snakemake import cli
from snakemake.scheduling.job_scheduler import JobScheduler

def refuse(self, delay):
    raise AssertionError("Snakemake starts a timer after a job")

JobScheduler._schedule_reevalutation = refuse
sys.argv[0] = "snakemake"
cli.main()
"""


@pytest.mark.slow
def test_the_driver_starts_no_timer_for_each_job(fresh: Callable[[], Clone]) -> None:
    clone = fresh()
    clone("python", "-c", NO_TIMERS, "data")
    assert list(clone.folder.glob("data/processed/*/*/manifest.json"))


@pytest.mark.slow
def test_each_stage_asks_snakemake_for_its_own_phase(built: Clone) -> None:
    rules = built("snakemake", "--list-target-rules").stdout.split()
    for stage, target in TARGETS.items():
        assert STAGES[stage]["cmd"].split(" && ")[0] == f"snakemake -- {target}"
        assert target in rules


def test_what_every_parameter_can_change_watches_all_of_them() -> None:
    for stage in ("evaluate", "report"):
        assert STAGES[stage]["params"] == [{"params.yaml": None}]


@pytest.mark.slow
def test_code_and_rules_are_in_form(built: Clone) -> None:
    for check in ("ruff check", "ruff format --check", "snakefmt --check Snakefile workflow", "mypy", "codespell"):
        run(*check.split(), cwd=ROOT)
    lint = built("snakemake", "--lint")
    assert "Congratulations, your workflow is in a good condition!" in lint.stdout + lint.stderr


@pytest.mark.slow
def test_a_wrong_params_yaml_stops_every_program_with_the_same_line(pulled: Clone) -> None:
    before = pulled.artefacts()
    pulled.edit("params.yaml", ("epochs: 2", "epochs: none"))
    line = 'framecast: params.yaml: training.epochs: found "none"; allowed: a whole number'
    for program in (("framecast", "grid"), ("snakemake",), ("snakemake", "--dry-run"), ("dvc", "repro")):
        done = pulled(*program, check=False)
        assert done.returncode not in (0, 75)
        assert (done.stdout + done.stderr).splitlines().count(line) == 1
        assert "Traceback" not in done.stderr
    assert not pulled.made_since(before)


@pytest.mark.slow
def test_a_file_that_is_no_yaml_stops_every_program_with_one_reason(pulled: Clone) -> None:
    (pulled.folder / "params.yaml").write_text("training:\n\tepochs: 1\n")
    for program, reason in {
        ("framecast", "grid"): "line 2: found character '\\t' that cannot start any token",
        ("snakemake",): "line 2: found character '\\t' that cannot start any token",
        ("dvc", "repro"): "YAML file structure is corrupted",
    }.items():
        done = pulled(*program, check=False)
        assert done.returncode not in (0, 75)
        assert (done.stdout + done.stderr).count(reason) == 1
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_the_jobs_or_dvc_would_not_see_is_refused_before_anything_runs(
    fresh: Callable[[], Clone], tmp_path: Path
) -> None:
    clone = fresh()
    other = clone.folder / "other.yaml"
    other.write_text((clone.folder / "params.yaml").read_text(encoding="utf-8").replace("train: 64", "train: 32"))
    for option, found in {("--config", "seeds=[2]"): "seeds", ("--configfile", "other.yaml"): str(other)}.items():
        done = clone("snakemake", "data", *option, check=False)
        assert done.returncode == 1
        assert f"framecast: {option[0]}: found {found}; allowed: none" in done.stderr
    assert not (clone.folder / "data").exists()
    (clone.folder / "data").symlink_to(tmp_path)
    done = clone("snakemake", "data", check=False)
    assert done.returncode == 1
    assert f"framecast: data: found a link to {tmp_path}, below which DVC records nothing; " in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_another_copys_source_is_refused_by_every_verb_and_both_engines(fresh: Callable[[], Clone]) -> None:
    """The environment is that of the first checkout, the work is done in the second."""
    first, second = fresh(), fresh()
    line = f"framecast: {second.folder}: found another copy's source, {first.folder}/src/framecast; allowed: its own"
    elsewhere = {**second.environment, "PYTHONPATH": first.environment["PYTHONPATH"]}
    for program in (("framecast", "grid"), ("framecast", "doctor"), ("snakemake", "--dry-run"), ("dvc", "repro")):
        done = run(*program, cwd=second.folder, check=False, **elsewhere)
        assert done.returncode not in (0, 75)
        assert (done.stdout + done.stderr).count(line) == 1, done.stderr
        assert "Traceback" not in done.stderr
    assert not (second.folder / "dvc.lock").exists()
    rules = ("--dry-run", "--snakefile", str(second.folder / "Snakefile"))
    assert line in run("snakemake", *rules, cwd=first.folder, check=False, **elsewhere).stderr


@pytest.mark.slow
def test_a_study_can_be_run_alone(fresh: Callable[[], Clone]) -> None:
    clone = fresh()
    study = Grid(reading.load(clone.folder / "params.yaml"))
    done = clone("snakemake", "--dry-run", "study_sequence_depth")
    planned = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    cells = sum(cell.dataset == "generated_sins" for cell in study.cells)
    assert 0 < cells < len(study.cells)
    wanted = {"prepare": 1, "probe": cells, "train": cells, "evaluate": cells, "evaluate_baseline": 1}
    wanted |= {"study_sequence_depth": 1, "total": sum(wanted.values()) + 1}
    assert planned == {name: str(jobs) for name, jobs in wanted.items()}


@pytest.mark.slow
def test_a_second_start_of_either_engine_is_told_so_and_the_first_goes_on(
    pulled: Clone, gate: Gate, start: Start
) -> None:
    pulled.edit("params.yaml", ("hidden_channels: 4", "hidden_channels: 2"))
    gate.close(CONVLSTM)
    first = start(pulled, "snakemake", place=warm.programs())
    until(lambda: gate.holds(CONVLSTM), "a cell in training")
    second = pulled("snakemake", check=False)
    third = pulled("dvc", "repro", check=False)
    gate.open()
    first.ends_well()
    assert second.returncode == 1
    assert "framecast: this grid is already being run here, by process" in second.stderr
    assert "Traceback" not in second.stderr
    assert third.returncode not in (0, 75)
    assert "framecast: this grid is already being run here, by process" in third.stderr
    assert pulled.planned() == set()
