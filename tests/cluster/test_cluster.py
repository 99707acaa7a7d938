"""What a cell asks for, what a site says, what state a cell is in, and a report with holes; no cluster is needed."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from framecast.cluster import journal, site
from framecast.cluster.demand import demand
from framecast.cluster.request import request
from framecast.errors import UserError
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from framecast.upkeep.status import state
from tests.conftest import ROOT, one_line

Run = Callable[..., subprocess.CompletedProcess[str]]
LSTM = "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"
CONVLSTM = Cell("moving_mnist", "seq2seq_convlstm", 1, "mse", 1)
CPU = site.Site(device="cpu", gpus=0, memory_mb=100_000)


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """The shipped study at the published scale; nothing of it is there."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("scale: laptop", "scale: paper", 1)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Grid(reading.load())


def record(grid: Grid, cell: Cell, **facts: object) -> None:
    """Write an attempt at a cell, as one that was killed leaves it."""
    where = journal.folder("train", cell.name, grid.run_key(cell))
    where.mkdir(parents=True, exist_ok=True)
    now = time.time()
    written = {"number": 1, "host": "gone", "pid": 1, "job": None, "begun": now - 1800, "heartbeat": now - 600, **facts}
    (where / f"{written['number']}.json").write_text(json.dumps(written), encoding="utf-8")


# --- what is asked for ------------------------------------------------------------------------------


def test_the_count_is_that_of_the_published_network(paper: Grid) -> None:
    """models.md gives 42 GMAC a sample forward for depth 1; 4 samples, 2 operations a MAC, 3 passes a step."""
    found = demand(paper, replace(CONVLSTM, depth=1))
    assert found.parameters == 1_036_097
    assert found.flops == pytest.approx(42e9 * 2 * 3 * 4, rel=0.02)
    maps = 4 * 20 * 2 * 64 * 64 * 64 * 4 / 1e6  # batch, steps, cells, maps, float32: one map of each kind
    assert 6 * maps < found.tensors_mb < 14 * maps


def test_the_request_follows_from_the_cell(paper: Grid) -> None:
    """More layers ask for more; the site's limits are never passed; without data the time is not known."""
    shallow, deep = (request(paper, replace(CONVLSTM, depth=depth), "train", CPU) for depth in (1, 3))
    assert shallow.mem_mb < deep.mem_mb < CPU.memory_mb
    assert shallow.hours is None
    assert shallow.minutes == CPU.walltime
    folder = paper.data_folder("moving_mnist")
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"splits": {"train": 60000, "validation": 1, "test": 1}}')
    counted = request(paper, CONVLSTM, "train", CPU)
    assert counted.hours is not None
    assert counted.source.startswith("counted")
    assert counted.slices(CPU) == -(-counted.hours * 3600 // (60 * counted.minutes - CPU.margin)) > 1
    tight = CPU.model_copy(update={"memory_mb": 1000, "walltime": 60})
    assert (request(paper, CONVLSTM, "train", tight).mem_mb, request(paper, CONVLSTM, "train", tight).minutes) == (
        1000,
        60,
    )


def test_what_was_measured_takes_the_place_of_what_was_counted(paper: Grid) -> None:
    folder = paper.data_folder("moving_mnist")
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"splits": {"train": 4000, "validation": 1, "test": 1}}')
    record(paper, replace(CONVLSTM, seed=2), outcome="done", rate=10.0, peak_mb=2000.0, steps=10_000, step=10_000)
    found = request(paper, CONVLSTM, "train", CPU)
    assert found.source == "measured: 10 steps/s on cpu"
    assert found.hours == pytest.approx(10_000 / 10 / 3600)
    assert found.mem_mb == 3400  # half as much again, and the two Snakemakes around it


@pytest.mark.parametrize(
    ("facts", "ending", "more"),
    [
        ({"asked_mb": 4000, "peak_mb": 3900.0, "asked_minutes": 60}, "out of memory", {"mem_mb": 8000}),
        ({"asked_mb": 4000, "peak_mb": 900.0, "asked_minutes": 20}, "out of time", {"minutes": 40}),
        ({"asked_mb": 4000, "peak_mb": 900.0, "asked_minutes": 600}, "lost", {}),
    ],
)
def test_an_attempt_that_was_killed_is_judged_by_its_last_heartbeat(
    study: Path, facts: dict[str, float], ending: str, more: dict[str, int]
) -> None:
    grid = Grid(reading.load())
    cell = grid.find(LSTM)
    (grid.data_folder(cell.dataset)).mkdir(parents=True)
    (grid.data_folder(cell.dataset) / "manifest.json").write_text(
        '{"splits": {"train": 64, "validation": 1, "test": 1}}'
    )
    before = request(grid, cell, "train", CPU)
    record(grid, cell, **facts)
    [found] = journal.explained(grid, cell, "train")
    assert found.ending == ending
    after = request(grid, cell, "train", CPU)
    assert {"mem_mb": after.mem_mb, "minutes": after.minutes} == {
        "mem_mb": before.mem_mb,
        "minutes": before.minutes,
        **more,
    }
    told = state(grid, cell)
    assert told.state == "failed"
    assert told.detail.startswith(f"train, attempt 1: {ending}")
    assert told.command == f"framecast train {LSTM}"


# --- what a site says -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("FRAMECAST_GPUS", "many", 'environment: FRAMECAST_GPUS: found "many"; allowed: a whole number'),
        ("FRAMECAST_PARTITION", "gpu; rm -rf /", "environment: FRAMECAST_PARTITION: found"),
        ("FRAMECAST_EXTRA", "--qos=$(id)", "environment: FRAMECAST_EXTRA: found"),
        ("FRAMECAST_DEVICE", "tpu", "environment: FRAMECAST_DEVICE: found"),
        ("FRAMECAST_MARGIN", "86400", "margin: found 86400 s with a walltime of 1440 minutes; allowed: less than that"),
        ("FRAMECAST_SITE", "/nowhere.yaml", "/nowhere.yaml: not found"),
    ],
)
def test_a_wrong_site_is_one_line(study: Path, framecast: Run, variable: str, value: str, told: str) -> None:
    shutil.copytree(ROOT / "slurm", study / "slurm")
    assert told in one_line(framecast("plan", "--profile", "slurm", check=False, **{variable: value}))


def test_the_environment_lies_over_the_site_file(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "slurm", study / "slurm")
    assert site.load() == site.Site()  # the file says what the defaults are
    (study / "mine.yaml").write_text("partition: a100\nwalltime: 600\n")
    monkeypatch.setenv("FRAMECAST_SITE", "mine.yaml")
    monkeypatch.setenv("FRAMECAST_WALLTIME", "90")
    assert site.load() == site.Site(partition="a100", walltime=90)
    (study / "mine.yaml").write_text("partitoin: a100\n")
    with pytest.raises(UserError, match=r"mine\.yaml: partitoin: found .partitoin. .did you mean partition"):
        site.load()


# --- states, and a report with holes ----------------------------------------------------------------


@pytest.mark.slow
def test_states_and_the_partial_report_of_a_grid_that_is_not_finished(study: Path, framecast: Run) -> None:
    assert "no cell is scored yet" in one_line(framecast("report", "--partial", check=False))
    framecast("prepare", "generated_sins")
    framecast("train", LSTM)
    assert f"{LSTM}  trained" in framecast("status").stdout
    framecast("evaluate", LSTM)
    framecast("evaluate", "generated_sins/zeros")
    stopped = LSTM.replace("seed-1", "seed-2")
    assert framecast("train", stopped, "--time-budget", "0.001", check=False).returncode == 75
    told = framecast("status", "--all").stdout
    assert re.search(rf"{LSTM} +done", told)
    assert re.search(rf"{stopped} +unfinished +saved at step \d+", told)
    assert re.search(r"moving_mnist/zeros +never run", told)
    assert told.splitlines()[-1] == "11 cells at scale tiny: done 2, unfinished 1, never run 8"

    page = Path(framecast("report", "--partial").stdout.strip())
    assert page == Path("reports/partial/report.html")
    text = page.read_text(encoding="utf-8")
    assert "9 cells have no number yet" in text
    assert re.search(rf"{stopped}</th><td class=\"text\">unfinished: saved at step \d+", text)
    assert [path.name for path in Path("reports").iterdir()] == ["partial"]
    table = Path("reports/partial/scores.csv").read_text(encoding="utf-8")
    assert {line.split(",")[1] for line in table.splitlines()[1:]} == {"seq2seq_lstm", "zeros"}

    text = Path("params.yaml").read_text(encoding="utf-8").replace("hidden_size: 8", "hidden_size: 6")
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert re.search(rf"{LSTM} +stale +changed: model.hidden_size 8 → 6", framecast("status").stdout)
    assert f"{stopped}  stale       training was stopped under another key" in framecast("status").stdout
    assert re.search(r"train +generated_sins/seq2seq_lstm/depth-1/mse +2 ", framecast("plan").stdout)
