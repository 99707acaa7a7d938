"""A page of how the grid fares, and one table of all that was scored."""

import csv

import pytest

from framecast import artifacts
from framecast.errors import UserError
from framecast.report import export, status_page
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from framecast.upkeep.status import WATCH_SECONDS, State
from tests.conftest import one_line
from tests.report.test_report import Page

DONE = State(Cell("moving_mnist", "simvp", 3, "mse", 1), "done")
FAILED = State(Cell("moving_mnist", "simvp", 3, "mse", 2), "failed", "<b>attempt</b> 1: out of memory", "snakemake")


def refreshes(html):
    return [a["content"] for tag, a in Page(html).tags if tag == "meta" and a.get("http-equiv") == "refresh"]


def test_it_is_loaded_again_until_every_cell_is_done():
    html = status_page.page([DONE, FAILED], "laptop", "2026-11-28 12:00:00")
    page = Page(html)
    assert refreshes(html) == [str(WATCH_SECONDS)]
    assert "1 of 2 cells done" in page.text
    assert FAILED.detail in page.text  # as text
    assert FAILED.cell.name in page.text
    assert FAILED.command in page.text
    assert not [tag for tag, _ in page.tags if tag in ("script", "b", "img")]
    assert not [a for _, a in page.tags if a.get("src") or a.get("href", "data:,") != "data:,"]
    assert refreshes(status_page.page([DONE], "laptop", "2026-11-28 12:00:00")) == []


def test_it_is_written_whole_beside_the_report(study, framecast):
    """Of a study in which nothing has been run; so is the other way of looking at it, which says so."""
    assert framecast("status", "--html").stdout.split() == ["reports/status.html"]
    assert f"0 of {Grid(reading.load()).count} cells done" in (study / "reports" / "status.html").read_text("utf-8")
    assert [path.name for path in (study / "reports").iterdir()] == ["status.html"]  # no half of one
    assert "no cell is scored yet" in one_line(framecast("export", "csv", check=False))
    assert "allowed: csv" in one_line(framecast("export", "parquet", check=False))


def test_every_number_of_every_scored_cell_is_in_the_table(study):
    """With what makes it comparable: by hand, of one cell."""
    grid = Grid(reading.load())
    cell = grid.baselines[0]
    folder = grid.score_folder(cell)
    folder.mkdir(parents=True)
    scores = "mode,metric,step,value\nfree-running,mse_pix01,1,0.25\nfree-running,mse_pix01,all,0.125\n"
    (folder / "scores.csv").write_text(scores, encoding="utf-8")
    facts = {"dataset": cell.dataset, "model": cell.model, "depth": None, "loss": None, "seed": None}
    facts["key"] = grid.score_key(cell)
    manifest = {**facts, "sha256": {"scores.csv": artifacts.sha256_of(folder / "scores.csv")}}
    artifacts.write_json(folder / "score.json", manifest)
    with export.export(grid, "csv", study / "all.csv").open(encoding="utf-8", newline="") as file:
        first, whole = csv.DictReader(file)
    assert (first["step"], first["value"], whole["step"], whole["value"]) == ("1", "0.25", "all", "0.125")
    assert (first["better"], first["key"], first["depth"], first["model"]) == (
        "lower",
        grid.score_key(cell),
        "",
        cell.model,
    )
    (folder / "scores.csv").write_text(scores.replace("0.25", "0.2"), encoding="utf-8")
    with pytest.raises(UserError):
        export.export(grid, "csv", study / "none.csv")
    assert not (study / "none.csv").exists()
