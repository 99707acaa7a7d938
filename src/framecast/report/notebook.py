"""A notebook about one cell: its weights loaded, test sequences forecast and drawn, ready to be changed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbformat import v4

from framecast import artifacts
from framecast.errors import UserError
from framecast.report.alone import FIGURES
from framecast.report.write import PARTIAL
from framecast.study.grid import DATA_FILES

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

SEQUENCES = 4

INTRODUCTION = """# `{cell}`

{summary} Written by `framecast notebook`; run it with the Python of the repository's environment. The numbers that
count are those of `framecast evaluate`; here is where to look closer."""

SETUP = """import os
from pathlib import Path

import numpy as np
import torch

if not Path("params.yaml").exists():  # a notebook starts in its own folder
    os.chdir({root!r})

from framecast import assemble
from framecast.errors import UserError
from framecast.evaluation.evaluate import forecast_in
from framecast.evaluation.score import applicable, score
from framecast.predict.systems import trained
from framecast.report.alone import alone, forecast_of, picture
from framecast.results.finished import cell_files
from framecast.study import reading
from framecast.study.grid import Grid

grid = Grid(reading.load())
cell = grid.find({cell!r})
if grid.run_key(cell) != {key!r}:
    raise UserError("params.yaml or the code has changed since this notebook was written; write it again")"""

TRAINED = """model = trained(grid, cell)
files = cell_files(grid, cell)
f"{files.run['parameter_count']:,} parameters, step {files.run['best_step']} of {files.run['steps']}\""""

HISTORY = """picture("training_curves", alone(files), cell.dataset)"""

FORECAST = """data = assemble.Prepared(grid, cell.dataset)
mode, observed = next(iter(grid.params.protocols(cell.dataset).items()))  # the mode that leads tables and figures
sequences = data.split("test", 0, torch.device("cpu")).batch(np.arange({sequences}))  # (n, T, *frame) in [0, 1]
context, target = sequences[:, :observed], sequences[:, observed:]
with torch.no_grad():
    forecast = forecast_in(mode, model, sequences, observed).float()
f"{{mode}}: {{observed}} observed, {{forecast.shape[1]}} forecast\""""

STORED = """stored = torch.from_numpy(files.clips["forecast"])
count = min(len(stored), len(forecast))
apart = float((stored[:count].clamp(0, 1) - forecast[:count].clamp(0, 1)).abs().max())
f"at most {apart:.2g} from what `framecast evaluate` stored (which rounds images to 1/255)\""""

FIGURE = """shown = forecast_of(grid, cell, context, target, forecast)
picture({figure!r}, alone(shown), cell.dataset)"""

SCORES = """told = score(
    [(forecast, target, context)],
    applicable(grid.params.evaluation.metrics, grid.params.frames(cell.dataset)),
    horizon=target.shape[1],
    frame_shape=data.dataset.frame_shape,
    compared=(),
    taught=mode == "teacher-forced",
)
told.overall"""


def write(grid: "Grid", cell: "Cell", output: str = "") -> Path:
    """Write the notebook of a finished cell, not yet run, and say where.

    Raises UserError for a baseline, a cell that is not trained or not scored, data that are not there, and an output
    that exists or is not called .ipynb.
    """
    path = Path(output or PARTIAL / cell.name / "notebook.ipynb")
    _check(grid, cell, path)
    note = nbformat.writes(_notebook(grid, cell, path))
    artifacts.write_text(path, note.rstrip("\n") + "\n")
    return path


def _notebook(grid: "Grid", cell: "Cell", path: Path) -> nbformat.NotebookNode:
    root = os.path.relpath(Path.cwd(), path.resolve().parent)
    key = grid.run_key(cell)
    parts = [
        ("", SETUP.format(root=root, cell=cell.name, key=key)),
        ("## The network that was trained", TRAINED),
        ("How its loss fell:", HISTORY),
        ("## Forecasts of test sequences", FORECAST.format(sequences=SEQUENCES)),
        ("They are those that were scored:", STORED),
        ("", FIGURE.format(figure=FIGURES[grid.params.frames(cell.dataset)])),
        ("## Scores of these few sequences", SCORES),
    ]
    told = INTRODUCTION.format(cell=cell.name, summary=f"Scale {grid.params.scale}, key `{key}`.")
    cells = [v4.new_markdown_cell(told)]
    for text, code in parts:
        cells += [v4.new_markdown_cell(text)] * bool(text) + [v4.new_code_cell(code)]
    for number, one in enumerate(cells):
        one["id"] = f"cell-{number}"  # nbformat draws them at random
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def _check(grid: "Grid", cell: "Cell", path: Path) -> None:
    if cell.is_baseline:
        raise UserError(f"cell {cell.name}: a baseline has no weights to load; name a trained cell")
    needed = (
        (grid.data_folder(cell.dataset) / DATA_FILES[-1], f"prepare {cell.dataset}"),
        (grid.run_folder(cell) / "run.json", f"train {cell.name}"),
        (grid.score_folder(cell) / "score.json", f"evaluate {cell.name}"),
    )
    for manifest, verb in needed:
        if not manifest.exists():
            raise UserError(f"cell {cell.name}: {manifest.parent} is not there; run `framecast {verb}`")
    if path.suffix != ".ipynb":
        raise UserError(f"--output: found {path}; allowed: a file name that ends in .ipynb")
    if path.exists():
        raise UserError(f"--output: {path} exists, and may hold changes of yours; delete it or name another file")
