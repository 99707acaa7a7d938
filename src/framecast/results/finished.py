"""Where the artefacts of a grid's cells lie, for whoever reads them."""

from typing import TYPE_CHECKING

from framecast.results import CellFiles

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid


def cell_files(grid: "Grid", cell: "Cell") -> CellFiles:
    """A cell with its folders; those that do not exist yet are None."""
    run = None if cell.is_baseline else grid.run_folder(cell)
    score = grid.score_folder(cell)
    return CellFiles(
        cell.name,
        cell.dataset,
        cell.model,
        cell.depth,
        cell.loss,
        cell.seed,
        run if run and (run / "run.json").exists() else None,
        score if (score / "score.json").exists() else None,
    )
