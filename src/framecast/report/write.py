"""From the files of a study to its figures and its report: the only place of the report that knows where things lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framecast import artifacts
from framecast.errors import UserError
from framecast.evaluation.tables import tabulate
from framecast.figures.base import svg
from framecast.report.render import render
from framecast.results import Results, records
from framecast.results.finished import cell_files
from framecast.study.grid import FIGURES, REPORTS
from framecast.upkeep.status import states

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

PARTIAL = REPORTS / "partial"


def write_report(grid: "Grid") -> None:
    """Draw every figure, write ``reports/report.html``, then the manifest that says what they belong to."""
    for manifest in FIGURES.glob("report-*.json"):  # it must not outlive its report: going back would stop at it
        manifest.unlink()
    recorded, results = records.load_all(), read_results(grid)
    figures = dict(zip(grid.figures(), map(Path, grid.figure_files()), strict=True))
    for (figure, dataset), path in figures.items():
        artifacts.write_text(path, svg(figure, results, dataset).decode("utf-8"))
    page = REPORTS / "report.html"
    told = render(results, figures, grid.params.studies, grid.params.scale, records=recorded)
    artifacts.write_text(page, told)
    _remove_others(grid)
    made = {path.name: artifacts.sha256_of(path) for path in [*figures.values(), page]}
    artifacts.write_json(grid.report_manifest, {"key": grid.report_key, "sha256": made})


def write_partial_report(grid: "Grid") -> Path:
    """Tables, figures and report of the cells that are scored, in a folder of their own that no engine knows.

    A cell without a score is a hole in its table, and stands at the top with the reason. Raises UserError when no cell
    is scored.
    """
    finished = [cell for cell in grid.scored if (grid.score_folder(cell) / "score.json").exists()]
    if not finished:
        raise UserError("report: no cell is scored yet, so there is nothing to tell; `framecast status` says why")
    recorded = records.load_all()
    tabulate(grid, finished, PARTIAL)
    results = read_results(grid, PARTIAL, finished)  # one scored since then has no row in the tables
    figures = {}
    for figure, dataset in grid.figures():
        if any(cell.dataset == dataset and not cell.is_baseline for cell in finished):
            figures[figure, dataset] = PARTIAL / "figures" / f"{figure}-{dataset}.svg"
            artifacts.write_text(figures[figure, dataset], svg(figure, results, dataset).decode("utf-8"))
    holes = [
        (found.cell.name, f"{found.state}: {found.detail}" if found.detail else found.state)
        for found in states(grid)
        if found.state != "done"
    ]
    page = PARTIAL / "report.html"
    told = render(results, figures, grid.params.studies, grid.params.scale, holes, recorded, "../records")
    artifacts.write_text(page, told)
    return page


def read_results(grid: "Grid", tables: Path = REPORTS, cells: "Sequence[Cell] | None" = None) -> Results:
    """The tables of a folder and the folders of these cells, by default of every cell that has been made."""
    return Results.load(
        tables / "scores.csv",
        tables / "horizon.csv",
        tables / "comparisons.csv",
        [cell_files(grid, cell) for cell in cells or grid.scored],
    )


def read_finished(grid: "Grid") -> Results | None:
    """The results of the whole grid, or None while its tables are not those of what ``params.yaml`` asks for."""
    return read_results(grid) if grid.tables_manifest.exists() else None


def _remove_others(grid: "Grid") -> None:
    """Figures of what the study no longer has."""
    kept = set(map(Path, grid.figure_files()))
    for path in set(FIGURES.glob("*.svg")) - kept:
        path.unlink()
