"""A grid of thousands of cells: planned as exactly its jobs, and no work done twice. Counted, never timed."""

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks.scale import MODELS
from benchmarks.scale import study as study_of
from framecast.study import grid, reading
from framecast.study.grid import Grid
from tests.conftest import ROOT, run

CELLS = 2_000


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> tuple[Grid, Counter[str]]:
    """A grid of many cells, and how often each kind of key is hashed."""
    hashed: Counter[str] = Counter()
    key = grid._key

    def counting(kind: str, *parts: object) -> str:
        hashed[kind] += 1
        return key(kind, *parts)

    monkeypatch.setattr(grid, "_key", counting)
    return Grid(reading.resolve(yaml.safe_load(study_of(2 * CELLS)))), hashed


def test_every_key_is_hashed_once(large: tuple[Grid, Counter[str]]) -> None:
    study, hashed = large
    for cells in (study.scored, [replace(cell) for cell in study.scored]):  # also asked with cells of the asker's own
        for cell in cells:
            assert study.run_files(cell)
            assert study.probe_files(cell)
            assert study.score_key(cell) in study.score_files(cell)[0]
        assert study.report_files()
    recipes = len({(cell.model, cell.loss) for cell in study.cells})
    models = len({cell.model for cell in study.cells})
    once = {"data": 1, "probe": models, "recipe": recipes, "measures": models, "tables": 1, "report": 1}
    assert hashed == Counter(run=CELLS, score=CELLS, **once)


@pytest.mark.slow
def test_a_large_grid_is_planned_as_exactly_its_jobs(tmp_path: Path) -> None:
    for name in ("Snakefile", "workflow", "profiles", "slurm"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    (tmp_path / "params.yaml").write_text(study_of(2 * CELLS), encoding="utf-8")
    done = run("snakemake", "--dry-run", cwd=tmp_path)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    once = dict.fromkeys(("all", "prepare", "report", "tables"), "1")
    total = 2 * CELLS + MODELS + len(once)
    many = {"train": CELLS, "evaluate": CELLS, "probe": MODELS, "total": total}
    assert counts == once | {name: str(count) for name, count in many.items()}
