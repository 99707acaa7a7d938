"""A cell made anew, beside what was recorded of it: by the programs themselves, as a user makes it."""

import re
import subprocess
from pathlib import Path

import pytest

from framecast.evaluation.tables import tabulate
from framecast.study import reading
from framecast.study.grid import REPORTS, Grid
from tests.conftest import ROOT, one_line, run
from tests.upkeep.test_diff import commit, git

CELL = "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"
BASELINE = "generated_sins/copy_last"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study with one trained cell and one baseline, tabulated and committed."""
    place = tmp_path_factory.mktemp("made")
    (place / "params.yaml").write_text((ROOT / "tests" / "params.yaml").read_text())
    for verb in (["prepare", "generated_sins"], ["train", CELL], ["evaluate", CELL], ["evaluate", BASELINE]):
        run("framecast", *verb, cwd=place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        who = {f"GIT_{role}_{what}": f"{what}@test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        for name, value in {**who, "GIT_CONFIG_GLOBAL": "/dev/null"}.items():
            patch.setenv(name, value)
        grid = Grid(reading.load())
        tabulate(grid, [grid.find(name) for name in (CELL, BASELINE)], REPORTS, ("scores.csv",))
        git("init", "--quiet")
        Path(".gitignore").write_text("data\nlogs\n")
        commit()
    return place


@pytest.fixture
def study(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That study, its tables as they were committed."""
    monkeypatch.chdir(made)
    git("checkout", "--quiet", "--", ".")
    return made


def again(cell: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run("framecast", "reproduce", cell, *options, cwd=Path.cwd(), check=False)


def files() -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path().rglob("*") if ".git" not in path.parts}


def test_a_cell_gives_the_recorded_bits_and_touches_nothing(study: Path) -> None:
    before = files()
    done = again(CELL)
    first, *others = done.stdout.splitlines()
    assert first.startswith(f"{CELL}: recorded in working tree  (tables of ")
    assert others == ["weights: the same bits", "numbers: 1 of 1 number to the last bit"]
    assert done.returncode == 0
    assert files() == before


def test_a_number_that_is_another_is_told_with_its_distance(study: Path) -> None:
    path = REPORTS / "scores.csv"
    line = next(line for line in path.read_text().splitlines() if ",mse_pix01," in line and "seq2seq" in line)
    fields = line.split(",")
    fields[7] = repr(float(fields[7]) + 0.25)
    path.write_text(path.read_text().replace(line, ",".join(fields)))
    done = again(CELL)
    assert done.returncode == 1
    assert any("free-running mse_pix01" in line and " -0.25 " in line for line in done.stdout.splitlines())
    assert done.stdout.splitlines()[-1] == "numbers: 0 of 1 number to the last bit"


def test_what_changed_since_it_was_recorded_is_told(study: Path) -> None:
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("hidden_size: 8", "hidden_size: 6"))
    done = again(CELL)
    assert done.returncode == 1
    assert re.fullmatch(r"recorded under key \w{8}, made under \w{8}:", done.stdout.splitlines()[1])
    assert done.stdout.splitlines()[2] == "  model.hidden_size 8 → 6"


def test_a_folder_that_is_named_keeps_what_was_made(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    done = again(BASELINE, "--folder", str(folder), "--against", "HEAD")
    assert done.returncode == 0
    assert "weights: a baseline has none" in done.stdout
    assert [path.name for path in folder.rglob("*.csv")] == ["scores.csv"]


def test_what_nothing_is_recorded_of_is_refused_before_it_is_made(study: Path) -> None:
    told = one_line(again(CELL.replace("depth-1", "depth-2")))
    assert "working tree has no number of it; allowed: --against a commit that has" in told
    path = REPORTS / "scores.csv"
    path.write_text(path.read_text().replace(",tiny,", ",paper,"))
    assert "working tree has it at scale paper, and params.yaml is at tiny" in one_line(again(CELL))
