"""One figure of one cell: as the report would draw it if this were the only cell that was trained."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from framecast import artifacts
from framecast.errors import UserError
from framecast.evaluation.tables import tabulate
from framecast.figures.activations import animation
from framecast.figures.base import drawn
from framecast.report.write import PARTIAL, read_results
from framecast.study import catalogue

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid


def draw(grid: "Grid", cell: "Cell", figure: str, output: str = "") -> list[Path]:
    """Write ``figure`` of a cell, beside it of ``activations`` a GIF of the same name, and say where.

    Baselines of its dataset that are scored stand in it too. Raises UserError for a figure that there is not or that
    does not suit the dataset, a baseline, a cell without a score, a model that shows nothing, and an output that is
    named neither .svg nor .png.
    """
    path = Path(output or PARTIAL / cell.name / f"{figure}.svg")
    _check(grid, cell, figure, path)
    baselines = [baseline for baseline in grid.baselines if baseline.dataset == cell.dataset]
    scored = [cell, *(one for one in baselines if (grid.score_folder(one) / "score.json").exists())]
    with TemporaryDirectory() as folder:
        tabulate(grid, scored, Path(folder))
        results = read_results(grid, Path(folder), scored)
        made = {path: drawn(figure, results, cell.dataset, path.suffix[1:])}
    if figure == "activations":
        made = {path.with_suffix(".gif"): animation(results.cells[0]), **made}
    for name, content in made.items():
        with artifacts.replacing(name) as partial:
            partial.write_bytes(content)
    return sorted(made, reverse=True)


def _check(grid: "Grid", cell: "Cell", figure: str, path: Path) -> None:
    if figure not in catalogue.names("figures"):
        raise UserError(
            f"figure {figure}: there is none of that name; allowed: {', '.join(catalogue.names('figures'))}"
        )
    wants, has = catalogue.frames("figures", figure), grid.params.frames(cell.dataset)
    if wants not in ("any", has):
        raise UserError(
            f"figure {figure}: it draws {wants}, and {cell.dataset} holds {has}; choose another figure or cell"
        )
    if cell.is_baseline:
        raise UserError(f"cell {cell.name}: a baseline has no run; name a trained cell, baselines are drawn beside it")
    if path.suffix not in (".svg", ".png"):
        raise UserError(f"--output: found {path}; allowed: a file name that ends in .svg or .png")
