"""What it costs to find out that nothing is to be done."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.base import ROOT, TINY, Row, scratch, used_by
from framecast.study import reading
from framecast.study.grid import Grid

REPEATS = 3
ENGINES = ("Snakefile", "workflow", "profiles", "src", "dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config")

TOY_SNAKEFILE = """
rule all:
    input: expand("out/{{job}}", job=range({jobs}))
rule one:
    output: "out/{{job}}"
    shell: "touch {{output}}"
"""
TOY_STAGES = "stages:" + "".join(f"\n  stage{i}: {{cmd: echo > out-{i}, outs: [out-{i}]}}" for i in range(4)) + "\n"
SNAKEMAKE, PLAN, DVC = ("snakemake", "--cores", "1"), ("snakemake", "--cores", "1", "--dry-run"), ("dvc", "repro")


def rows() -> list[Row]:
    """The tiny study, made and asked again; then the plan of the real grid, of which nothing is made.

    Each in turn with a bare workflow of as many jobs, or of as many stages, that does nothing but touch files.
    """
    with _study(TINY) as study, _toy(jobs := _jobs(study)) as toy:
        used_by(*DVC, cwd=study)
        used_by(*SNAKEMAKE, cwd=toy)
        used_by(*DVC, cwd=toy)
        measured = [
            _row(f"no-op snakemake, {jobs} jobs", SNAKEMAKE, study, toy),
            _row("no-op dvc repro, 4 stages", DVC, study, toy),
        ]
    with _study((ROOT / "params.yaml").read_text(encoding="utf-8")) as study, _toy(jobs := _jobs(study)) as toy:
        return [*measured, _row(f"snakemake --dry-run, {jobs} jobs", PLAN, study, toy)]


def _jobs(study: Path) -> int:
    """Datasets, cells and scores have a job each, and so have the tables, the report and the target."""
    grid = Grid(reading.load(study / "params.yaml"))
    return len(grid.datasets) + len(grid.cells) + len(grid.scored) + 3


@contextmanager
def _study(params_yaml: str) -> Iterator[Path]:
    with scratch(*ENGINES, params=params_yaml) as folder:
        used_by("git", "init", "--quiet", cwd=folder)
        yield folder


@contextmanager
def _toy(jobs: int) -> Iterator[Path]:
    with scratch(".dvc/config", params=TINY) as folder:
        used_by("git", "init", "--quiet", cwd=folder)
        (folder / "Snakefile").write_text(TOY_SNAKEFILE.format(jobs=jobs - 1), encoding="utf-8")
        (folder / "dvc.yaml").write_text(TOY_STAGES, encoding="utf-8")
        yield folder


def _row(name: str, command: tuple[str, ...], study: Path, toy: Path) -> Row:
    pairs = [(used_by(*command, cwd=study).wall, used_by(*command, cwd=toy).wall) for _ in range(REPEATS)]
    ours, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Row(name, f"{ours:.2f} s", f"{bare:.2f} s (bare toy of the same size)", ours / bare, "×", "", None)
